"""Sites in processes of their own, by Ray: one actor a site, as long as the run.

Ray is the extra ``ray``, and imported here alone, when it is asked for. It stays on this machine:
loopback only, behind a token, without dashboard, reports to its makers or files that remain.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from flwr.app import Context, Message
from threadpoolctl import threadpool_limits

from motet.errors import EngineError, WorkerDiedError
from motet.flower.inprocess import App, InProcessGrid
from motet.supervise import started

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a late call, after the end, would start it once more
    "RAY_AUTH_MODE": "token",  # whoever reaches Ray's ports runs code: other users of the machine
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's word for listening on loopback only
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without a share, a site sees the GPUs there are
}
LOOPBACK = "127.0.0.1"
FOLDER = "motet-ray-"


class Site(Protocol):
    """What lives in an actor."""

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message."""
        ...

    def account(self) -> Any:
        """What it has to say at the end."""
        ...


class SiteProcess:
    """The inside of an actor: hands on what it is asked to its site, once that is settled."""

    def settle(self, settler: Callable[[], Site]) -> None:
        """Make the site, which lives as long as this process."""
        self._site = settler()

    def answer(self, message: Message, context: Context) -> Message:
        """Answer, with one thread of linear algebra as everywhere: the last bits are the same."""
        with threadpool_limits(1, user_api="blas"):
            return self._site(message, context)

    def account(self) -> Any:
        """What the site has to say."""
        return self._site.account()


def check_installed() -> None:
    """Refuse, in a sentence, where the extra is not installed.

    Raises
    ------
    EngineError
    """
    if find_spec("ray") is None:
        raise EngineError(
            "This engine needs Ray, which is not installed here.",
            do="Install it with: pip install 'motet[ray]'; or take the engine 'inprocess'.",
        )


def turns(room: Mapping[str, float], *, sites: int, cpus: float, gpus: float) -> int:
    """How many sites work side by side where there is `room`, as Ray counts it.

    Parameters
    ----------
    room : mapping of str to float
        ``CPU`` and ``GPU`` of this machine.
    sites : int
    cpus, gpus : float
        What a site takes.

    Raises
    ------
    EngineError
        When not one site can work, or the sites together want more GPUs than there are.
    """
    cores, cards = room.get("CPU", 0.0), room.get("GPU", 0.0)
    if not 0 < cpus <= cores:
        raise EngineError(
            f"A site cannot take {cpus:g} cores: there are {cores:g}.",
            do=f"Ask for more than 0 and at most {cores:g} with --cpus-per-site.",
        )
    if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
        raise EngineError(
            f"A site cannot take {gpus:g} GPUs.",
            do="Ask for a part of one, or for whole ones, with --gpus-per-site.",
        )
    # What several sites share is one card, never parts of two.
    fit = cards * math.floor(1 / gpus + 1e-9) if 0 < gpus <= 1 else cards // max(gpus, 1)
    if gpus and fit < sites:
        share = math.floor(100 / math.ceil(sites / cards)) / 100 if cards else 0
        raise EngineError(
            f"{sites} sites of {gpus:g} GPU each find no room: there are {cards:g} GPUs.",
            do=f"Let them share: --gpus-per-site {share:g}."
            if share
            else "Leave --gpus-per-site out.",
        )
    return int(cores / cpus + 1e-9)


class RayGrid(InProcessGrid):
    """Starts Ray, settles every site in an actor, and hands messages on; a context manager.

    Parameters
    ----------
    settlers : mapping of str to callable
        Site -> what makes it, called in its process.
    cpus, gpus : float
        What a site takes.

    Raises
    ------
    EngineError
        Within ``with``, when Ray does not start as it should, or there is too little room.
    """

    def __init__(
        self, settlers: Mapping[str, Callable[[], Site]], *, cpus: float, gpus: float
    ) -> None:
        self._settlers, self._cpus, self._gpus = settlers, cpus, gpus
        self._ray: Any = None
        self._actors: dict[str, Any] = {}
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stop()
        self.close()

    def account(self, site: str) -> Any:
        """What a site has to say.

        Raises
        ------
        WorkerDiedError
            When its process is gone.
        """
        return self._get(site, self._actors[site].account.remote())

    def _get(self, site: str, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None  # the site's own, without Ray's words around it
        except self._ray.exceptions.RayActorError as error:
            raise WorkerDiedError(
                "The process of the site has ended: it was killed, or had no memory left.",
                do="Let fewer work side by side: a larger --cpus-per-site.",
                site=site,
            ) from error

    def _start(self) -> None:
        os.environ.update(ENVIRONMENT)
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        import ray

        if ray.is_initialized():
            raise EngineError("Ray runs in this process already.", do="Call ray.shutdown() first.")
        self._ray = ray
        self._folder = _folder()
        with _uninterrupted():
            ray.init(
                address="local",  # never a cluster that happens to be near
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(self._folder),
            )
        if ray.util.get_node_ip_address() != LOOPBACK:
            raise EngineError(
                "Ray would listen beyond this machine.",
                do="Run the study in a process that has not imported Ray before.",
            )
        room = ray.cluster_resources()
        at_once = turns(room, sites=len(self._settlers), cpus=self._cpus, gpus=self._gpus)
        # An actor takes no core where it lies idle; turns are the grid's.
        kind = ray.remote(SiteProcess).options(num_cpus=0, num_gpus=self._gpus)
        self._actors = {site: kind.remote() for site in self._settlers}
        settled = {s: self._actors[s].settle.remote(how) for s, how in self._settlers.items()}
        for site, reference in settled.items():
            self._get(site, reference)
        apps = {site: self._asking(site) for site in self._actors}
        super().__init__(apps, turns=at_once, longest_wait=None)

    def _asking(self, site: str) -> App:
        def app(message: Message, context: Context) -> Message:
            reply: Message = self._get(site, self._actors[site].answer.remote(message, context))
            return reply

        return app

    def _stop(self) -> None:
        with _uninterrupted():
            if self._ray is not None:
                for actor in self._actors.values():  # first: who waits for a reply gets an error
                    self._ray.kill(actor)
                self._ray.shutdown()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold a Ctrl-C back: while Ray starts or ends, it would crash and leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def _folder() -> Path:
    """A folder for Ray's sockets, logs and what finds no room in memory: tables of people.

    What processes that were killed have left is removed.
    """
    home = Path("/tmp")  # noqa: S108 - as Ray itself does: names of sockets have to be short
    for left in home.glob(f"{FOLDER}*-*"):
        process = left.name.removeprefix(FOLDER).split("-")[0]
        if process.isdigit() and not started(int(process)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=home))
