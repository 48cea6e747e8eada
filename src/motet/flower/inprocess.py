"""A Flower grid within one process: the same ServerApp and ClientApp, about 1 ms a round.

Every site has a Context of its own, and messages are complete Flower messages, so nothing is
shared between sites but the thread pool they run on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from motet.flower.grid import PushPullGrid

LONGEST_WAIT = 0.1
"""Seconds a site waits for a core where all share one process."""

App = Callable[[Message, Context], Message]
"""A ClientApp, or what hands on to one."""

RUN_ID = 1
CLIENT_APP_RAISED = 2


class InProcessGrid(PushPullGrid):
    """Calls a ClientApp for each site in a thread pool.

    Parameters
    ----------
    apps : mapping of str to callable
        Site name -> its app. Nodes get the ids 1, 2, ... in the sites' sorted order.
    turns : int, optional
        Sites that work at a time; default: as many as there are cores. More would only take each
        other's caches.
    longest_wait : float or None
        Seconds a site waits for its turn; then it starts all the same. None: until it comes.

    Attributes
    ----------
    sites : dict of int to str
        Node id -> site.
    """

    def __init__(
        self,
        apps: Mapping[str, App],
        *,
        turns: int | None = None,
        longest_wait: float | None = LONGEST_WAIT,
    ) -> None:
        if TaskIdentity._run_id is None:  # noqa: SLF001 - a process of ours, not of Flower's
            TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, 0
        self.sites = dict(enumerate(sorted(apps), start=1))
        self._apps = {}
        for node, site in self.sites.items():
            context = Context(
                run_id=RUN_ID,
                node_id=node,
                node_config={"site": site},
                state=RecordDict(),
                run_config={},
            )
            self._apps[node] = (apps[site], context)
        # A thread a site: one that never answers must not keep another from being heard.
        self._pool = ThreadPoolExecutor(max(1, len(apps)))
        self._turns = threading.Semaphore(turns or os.cpu_count() or 1)
        self._longest_wait = longest_wait
        self._replies: dict[str, Future[Message]] = {}

    def set_run(self, run: Run) -> None:
        """Nothing to set: the process is the run."""

    @property
    def run(self) -> Run:
        """An empty run of the right number."""
        return Run.create_empty(RUN_ID)

    def get_node_ids(self) -> Iterable[int]:
        """Ids of all sites."""
        return list(self._apps)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand each message to its site's thread."""
        identifiers = []
        for message in messages:
            identifier = uuid4().hex
            message.metadata.__dict__["_message_id"] = identifier
            self._replies[identifier] = self._pool.submit(self._call, message)
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that are there, each once; waits up to 50 ms for the first."""
        waiting = {i: self._replies[i] for i in message_ids if i in self._replies}
        wait(waiting.values(), timeout=0.05, return_when=FIRST_COMPLETED)
        done = [i for i, reply in waiting.items() if reply.done()]
        return [self._replies.pop(i).result() for i in done]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _call(self, message: Message) -> Message:
        app, context = self._apps[message.metadata.dst_node_id]
        turn = self._turns.acquire(timeout=self._longest_wait)
        try:
            return app(message, context)
        except Exception as error:  # noqa: BLE001 - as Flower's own node does
            return Message(Error(CLIENT_APP_RAISED, type(error).__name__), reply_to=message)
        finally:
            if turn:
                self._turns.release()
