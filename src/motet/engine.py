"""Where the sites of a simulation work: an engine settles each, and gives the grid they are on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Context, Message

from motet.bids.table import Table
from motet.client.app import client_app
from motet.client.finishing import Sink
from motet.client.worker import SiteWorker
from motet.errors import MotetError
from motet.flower.inprocess import InProcessGrid
from motet.flower.ray import RayGrid, check_installed
from motet.harmonizer import SiteModel
from motet.training.where import Device


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a site says to whom all data belong: in simulation only.

    Attributes
    ----------
    model : SiteModel or None
        What stays there; None before it has harmonized.
    warnings : tuple of str
        What the site said to itself.
    error : Exception or None
        Its last error, of which the coordinator knows the code alone.
    """

    model: SiteModel | None = None
    warnings: tuple[str, ...] = ()
    error: Exception | None = None


class Settled:
    """A site at work: its worker behind the ClientApp, which lives as long as the run.

    The parameters are those of :class:`~motet.client.worker.SiteWorker`; `table` is open.
    """

    def __init__(
        self,
        *,
        name: str,
        table: Table,
        sink: Sink,
        folder: Path | None,
        fingerprint: str,
        secret: bytes,
        device: Device = "cpu",
    ) -> None:
        self._said: dict[str, None] = {}  # a run that starts over says it again
        self._error: Exception | None = None

        def open_table(params: Any, biology: Sequence[str] = ()) -> Table:
            return table

        self._worker = worker = SiteWorker(
            name=name,
            open_table=open_table,
            sink=sink,
            folder=folder,
            fingerprint=fingerprint,
            secret=secret,
            device=device,
            say=self._say,
            failed=self._failed,
        )
        self._app = client_app(lambda context: worker)

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message."""
        return self._app(message, context)

    def account(self) -> Account:
        """What the site has to say so far."""
        return Account(model=self._worker.model, warnings=tuple(self._said), error=self._error)

    def _say(self, sentence: str) -> None:
        self._said[sentence] = None

    def _failed(self, site: str, error: Exception) -> None:
        self._error = error


@dataclass(frozen=True, kw_only=True)
class Running:
    """Sites that are settled.

    Attributes
    ----------
    grid : InProcessGrid
        It runs here, wherever the sites do.
    account : callable
        Site -> its account.
    """

    grid: InProcessGrid
    account: Callable[[str], Account]


Engine = Callable[[Mapping[str, Callable[[], Settled]]], AbstractContextManager[Running]]
"""``{site: settle} -> running``, where ``settle`` is called at the place where the site works."""


@contextmanager
def in_process(settlers: Mapping[str, Callable[[], Settled]]) -> Iterator[Running]:
    """All sites in this process, each on a thread."""
    settled = {site: settle() for site, settle in settlers.items()}
    grid = InProcessGrid(settled)
    try:
        yield Running(grid=grid, account=lambda site: settled[site].account())
    finally:
        grid.close()


def on_ray(*, cpus_per_site: float = 1.0, gpus_per_site: float = 0.0) -> Engine:
    """Each site in a process of its own, an actor of Ray's, on this machine.

    Parameters
    ----------
    cpus_per_site : float
        Cores that a site takes while it works: so many sites work side by side as there is room.
    gpus_per_site : float
        GPUs that a site has for itself; 0.5 where two share one. 0: each sees all there are.

    Returns
    -------
    Engine

    Raises
    ------
    EngineError
        When Ray is not installed; and as a study begins, when the machine has too little.
    """
    check_installed()

    @contextmanager
    def engine(settlers: Mapping[str, Callable[[], Settled]]) -> Iterator[Running]:
        with RayGrid(settlers, cpus=cpus_per_site, gpus=gpus_per_site) as grid:

            def account(site: str) -> Account:
                try:
                    told: Account = grid.account(site)
                except MotetError as error:
                    return Account(error=error)
                return told

            yield Running(grid=grid, account=account)

    return engine
