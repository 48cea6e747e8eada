"""Orders: what ``motet server run`` asked for, and what the run says of itself.

The run is a process of Flower's, started by the superexec; it learns from its configuration the
name of an order and nothing else, since every site can read a run's configuration.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from motet.config import Study, parse_study
from motet.errors import DeploymentError, MotetError
from motet.server.events import Event, Kind
from motet.store import noted, read_json, write_json
from motet.supervise import started


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order, in a folder of its own: a study, or rounds that only say hello.

    Attributes
    ----------
    folder : Path
    sites : tuple of str
        Enrolled sites that should take part.
    wait : float
        Seconds to wait for sites that are not connected.
    study : Study or None
        Without folders: sites know their own.
    out : Path
        Where the coordinator's result goes.
    rounds : int
        Rounds of hello, where there is no study.
    """

    folder: Path
    sites: tuple[str, ...]
    wait: float
    study: Study | None = None
    out: Path = Path()
    rounds: int = 0

    @property
    def name(self) -> str:
        """What a run's configuration holds."""
        return self.folder.name

    def write(self) -> None:
        """Put it where the run finds it."""
        write_json(
            self.folder / "order.json",
            {
                "study": None if self.study is None else self.study.public(),
                "sites": list(self.sites),
                "wait": self.wait,
                "out": str(self.out),
                "rounds": self.rounds,
            },
        )

    @classmethod
    def read(cls, folder: Path) -> Order:
        """Read what :meth:`write` wrote."""
        document = read_json(folder / "order.json")
        return cls(
            folder=folder,
            sites=tuple(document["sites"]),
            wait=float(document["wait"]),
            study=None if document["study"] is None else parse_study(document["study"]),
            out=Path(document["out"]),
            rounds=int(document["rounds"]),
        )

    def tell(self, event: Event) -> None:
        """Add an event for whoever follows."""
        line = json.dumps(asdict(event), ensure_ascii=False) + "\n"
        with (self.folder / "events.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(line)
            stream.flush()

    def events(self, start: int = 0) -> Iterator[tuple[int, Event]]:
        """Events from a position on: (position behind it, event)."""
        try:
            with (self.folder / "events.jsonl").open("rb") as stream:
                stream.seek(start)
                for line in stream:
                    if not line.endswith(b"\n"):
                        return
                    start += len(line)
                    said = json.loads(line)
                    yield start, Event(**{**said, "kind": Kind(said["kind"])})
        except FileNotFoundError:
            return

    def conclude(self, **result: Any) -> None:
        """Say how it ended: ``sha256`` and ``missing``, or ``error``."""
        write_json(self.folder / "outcome.json", result)

    def outcome(self) -> dict[str, Any] | None:
        """How it ended, or None while it runs."""
        file = self.folder / "outcome.json"
        return dict(read_json(file)) if file.is_file() else None

    def note(self, **more: Any) -> None:
        """Remember the run and the process that serve this order."""
        write_json(self.folder / "run.json", {**self.noted(), **more})

    def noted(self) -> dict[str, Any]:
        """What :meth:`note` remembered."""
        return noted(self.folder / "run.json")


def new_folder(orders: Path) -> Path:
    """A folder for the next order."""
    number = 1 + max((int(p.name.split("-")[0]) for p in _folders(orders)), default=0)
    folder = orders / f"{number:04d}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    return folder


def all_orders(orders: Path) -> list[Order]:
    """Every order that can be read, oldest first."""
    found = []
    for folder in _folders(orders):
        try:
            found.append(Order.read(folder))
        except (MotetError, KeyError, TypeError, ValueError):
            continue  # of another version, or half-written when the machine went down
    return found


def _folders(orders: Path) -> list[Path]:
    return sorted(path.parent for path in orders.glob("[0-9]*-*/order.json"))


def chosen(study: Study | None, enrolled: tuple[str, ...]) -> tuple[str, ...]:
    """The sites of a run: those that the study names, or all that are enrolled.

    Raises
    ------
    DeploymentError
        When a named site is not enrolled, or fewer than two are.
    """
    named = tuple(sorted(study.sites if study else ())) or enrolled
    if unknown := [site for site in named if site not in enrolled]:
        raise DeploymentError(
            f"The study names the site '{unknown[0]}', which is not enrolled "
            f"({', '.join(enrolled) or 'none is'}).",
            do="Enrol it with 'motet server provision', or take it out of the study file.",
        )
    if len(named) < 2:
        raise DeploymentError(
            f"{len(named)} site(s) are enrolled: a federation needs two or more.",
            do="Enrol sites with 'motet server provision FOLDER SITE KEY'.",
        )
    return named


def starts(order: Order, *, within: float) -> bool:
    """Whether an order was given in the last `within` seconds and has no process yet."""
    file = order.folder / "run.json"
    if order.outcome() is not None or not file.is_file() or "pid" in order.noted():
        return False
    return time.time() - file.stat().st_mtime < within


def runs(order: Order) -> bool:
    """Whether the process that serves an order runs: the same process, not one of its number."""
    noted = order.noted()
    if order.outcome() is not None or "pid" not in noted:
        return False
    return started(int(noted["pid"])) == noted.get("started") != ""
