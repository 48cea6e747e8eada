"""Flower's grid of a deployed run, with its long waits cut and small messages in one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import time

from flwr.app import Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest, PullAppMessagesResponse
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
)
from flwr.supercore.run import Run
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.superlink.grid import HttpGrid

from motet.flower.grid import PushPullGrid
from motet.flower.parcels import parcel

LONGEST_SILENCE = 1.0
"""Seconds without news after which replies are looked for all the same."""
AT_A_TIME = 4
"""Objects that are asked for at a time."""


@dataclass
class Coming:
    """A reply that is announced, and what has come of it."""

    answers: str
    missing: list[str]
    objects: dict[str, bytes] = field(default_factory=dict)


class RemoteGrid(PushPullGrid):
    """The grid that Flower hands to a ServerApp, as our round loop wants it.

    Flower's own waits until all objects of an announced reply are there, 1 s, then 2, 4 …; where
    the sender was killed in the middle that is three minutes, for all sites. Here what has come is
    kept, and the rest is asked for with every look.

    Parameters
    ----------
    grid : Grid
    kick : callable
        Told of the nodes that messages were sent to.
    wait : callable
        ``seconds``: returns when a reply may have come, or after that time.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        kick: Callable[[Iterable[int]], None],
        wait: Callable[[float], None],
    ) -> None:
        assert isinstance(grid, HttpGrid)
        self._grid, self._kick, self._wait = grid, kick, wait
        self._coming: dict[str, Coming] = {}
        self._pool = ThreadPoolExecutor(AT_A_TIME)

    @property
    def _client(self) -> RuntimeHttpClient:
        """Flower's client of the SuperLink; it tries again by itself while that is down."""
        return self._grid._runtime_client  # noqa: SLF001 - Flower's pull blocks, see the class

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The run."""
        return self._grid.run

    def get_node_ids(self) -> Iterable[int]:
        """Ids of the nodes that are connected."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; their ids, in order.

        A push that was repeated because its answer was lost in an outage gets no new id from
        Flower; a message's id is that of its content, and known here.
        """
        sent = list(messages)
        for message in sent:
            message.content = parcel(message.content)
        identifiers = list(self._grid.push_messages(sent))
        self._kick([message.metadata.dst_node_id for message in sent])
        return [
            identifier or message.metadata.message_id
            for identifier, message in zip(identifiers, sent, strict=True)
        ]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that are there, each once; waits up to a second for the first."""
        self._wait(LONGEST_SILENCE)
        asked = set(message_ids)
        self._coming = {name: c for name, c in self._coming.items() if c.answers in asked}
        # A request of which the reply was announced is forgotten by the SuperLink.
        if silent := asked - {coming.answers for coming in self._coming.values()}:
            self._announced(self._client.PullMessages(PullAppMessagesRequest(message_ids=silent)))
        whole = []
        for name, coming in list(self._coming.items()):
            try:
                if self._whole(coming):
                    whole.append(self._taken(name))
            except ObjectPullError:  # its upload has ended: the SuperLink says so when asked again
                del self._coming[name]
        return whole

    def _announced(self, response: PullAppMessagesResponse) -> None:
        for head, tree in zip(response.messages_list, response.message_object_trees, strict=True):
            objects = [node.object_id for node in iterate_object_tree(tree)]
            about = head.metadata
            self._coming[about.message_id] = Coming(about.reply_to_message_id, objects)

    def _whole(self, coming: Coming) -> bool:
        """Ask for what is missing of a reply; whether it is whole then."""
        pull = make_pull_object_fn_protobuf(
            self._client.PullObject, self._grid.node, self.run.run_id
        )

        def content(identifier: str) -> bytes | None:
            try:
                return pull(identifier)
            except ObjectUnavailableError:
                return None

        while batch := coming.missing[:AT_A_TIME]:
            for identifier, one in zip(batch, self._pool.map(content, batch), strict=True):
                if one is not None:
                    coming.objects[identifier] = one
                    coming.missing.remove(identifier)
            if coming.missing[: len(batch)] == batch:
                return False
        return True

    def _taken(self, identifier: str) -> Message:
        """A reply that is whole; the SuperLink is told that it may forget it."""
        coming = self._coming.pop(identifier)
        self._client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(
                node=self._grid.node, run_id=self.run.run_id, message_object_id=identifier
            )
        )
        try:
            message = inflate_object_from_contents(identifier, coming.objects)
        except Exception:  # noqa: BLE001 - whatever a site made: it fails by name, nobody else does
            message = None
        if (
            not isinstance(message, Message)
            or message.metadata.reply_to_message_id != coming.answers
        ):
            return self._nothing(coming.answers)
        message.metadata.__dict__["_message_id"] = identifier
        return message

    def _nothing(self, answers: str) -> Message:
        """A reply without records, in the place of one that cannot be read."""
        node = self._grid.node.node_id
        about = Metadata(
            run_id=self.run.run_id,
            message_id="",
            src_node_id=node,
            dst_node_id=node,
            reply_to_message_id=answers,
            group_id="",
            created_at=time(),
            ttl=1.0,
            message_type="query",
        )
        return make_message(metadata=about, content=RecordDict())
