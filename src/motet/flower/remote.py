"""Flower's grid of a deployed run, with its long waits cut and small messages in one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.run import Run

from motet.flower.grid import PushPullGrid
from motet.flower.parcels import parcel

FIRST_WAIT, LONGEST_WAIT, TRIES = 0.02, 0.5, 1000
"""Seconds, seconds, and looks for one object: Flower waits 1 s, then 2, 4 … up to 500 times."""

LONGEST_SILENCE = 1.0
"""Seconds without news after which replies are looked for all the same."""


def quick_pulls() -> None:
    """Shorten, in this process, the waits for a reply whose metadata came before its objects.

    They are keyword defaults of one function of the pinned version, and are set where they stand,
    since Flower's grid calls it without arguments.

    Raises
    ------
    RuntimeError
        When Flower has no such keywords any more.
    """
    defaults = inflatable_utils.pull_objects.__kwdefaults__ or {}
    bounds = {
        "initial_backoff": FIRST_WAIT,
        "backoff_cap": LONGEST_WAIT,
        "max_tries_per_object": TRIES,
    }
    if missing := sorted(set(bounds) - set(defaults)):
        raise RuntimeError(f"Flower's pull_objects has no {', '.join(missing)}: see motet.flower.")
    defaults.update(bounds)


class RemoteGrid(PushPullGrid):
    """The grid that Flower hands to a ServerApp, as our round loop wants it.

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
        quick_pulls()
        self._grid, self._kick, self._wait = grid, kick, wait

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
        return self._grid.pull_messages(message_ids)
