"""What our grids have in common: messages are made by their class, and sent by push and pull."""

from __future__ import annotations

import time
from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid


class PushPullGrid(Grid):
    """A Flower grid of which the other methods follow from ``push_messages`` and ``pull_messages``.

    ``pull_messages`` waits a little for the first reply.
    """

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message to a node."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, and pull until all have replied; `timeout` in seconds."""
        waiting = set(self.push_messages(messages))
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        replies: list[Message] = []
        while waiting and time.monotonic() < until:
            arrived = list(self.pull_messages(sorted(waiting)))
            waiting -= {message.metadata.reply_to_message_id for message in arrived}
            replies += arrived
        return replies
