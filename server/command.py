"""What the commands ``motet server run`` and ``status`` do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet.config import load_study, naming
from motet.errors import DeploymentError, ModelError
from motet.flower import superlink
from motet.plan import parse_params
from motet.server.events import Kind, Observer
from motet.server.home import ServerHome
from motet.server.orders import Order, alive, all_orders, chosen, new_folder
from motet.server.result import StudyFolder
from motet.store import read_json

LOOK = 0.2
"""Seconds between looks for news of a run."""
STARTS = 60.0
"""Seconds that a run has to start."""


def submit(home: ServerHome, study: Path, *, out: Path, wait: float) -> Order:
    """Order a study from the running coordinator.

    Raises
    ------
    StudyFileError, DeploymentError, OutputFolderError
        When the study, the sites or the folder will not do, or no coordinator runs.
    """
    with naming(study):
        read = load_study(study)
        parse_params(read)
    _running(home)
    sites = chosen(read, tuple(home.enrolled()))
    StudyFolder(out).check(read)
    order = Order(
        folder=new_folder(home.path / "orders"), study=read, sites=sites, out=out, wait=wait
    )
    return _ordered(home, order)


def submit_check(home: ServerHome, *, rounds: int, wait: float) -> Order:
    """Order rounds that only say hello: who answers, and how fast."""
    _running(home)
    sites = chosen(None, tuple(home.enrolled()))
    order = Order(folder=new_folder(home.path / "orders"), sites=sites, wait=wait, rounds=rounds)
    return _ordered(home, order)


def _running(home: ServerHome) -> None:
    if not home.status.is_file():
        home.settings  # noqa: B018 - says first if this is no coordinator's folder
        raise DeploymentError(
            "The coordinator is not running.", do=f"Start it: motet server start {home.path}."
        )


def _ordered(home: ServerHome, order: Order) -> Order:
    order.write()
    order.note(run=superlink.run(home.flower, home.app, {"order": order.name}))
    return order


def follow(order: Order, observe: Observer) -> dict[str, Any]:
    """Tell `observe` of every event until the order is concluded; return the outcome.

    Raises
    ------
    DeploymentError
        With the run's own sentence when it failed, or when its process is gone.
    """
    seen, began = 0, time.monotonic()
    while True:
        outcome = order.outcome()
        for position, event in list(order.events(seen)):
            observe(event)
            seen = position
        if outcome is not None:
            if "error" in outcome:
                raise DeploymentError(str(outcome["error"]))
            return outcome
        process = order.noted().get("pid")
        if process is None and time.monotonic() - began > STARTS:
            raise DeploymentError(
                f"The run did not start within {STARTS:.0f} s.",
                do="See log/superexec.out in the coordinator's folder.",
            )
        if process is not None and not alive(process) and order.outcome() is None:
            raise DeploymentError(
                "The run's process ended before the study was done.",
                do="The same command goes on where it was.",
            )
        time.sleep(LOOK)


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What ``motet server status`` prints."""

    coordinator: str
    sites: tuple[tuple[str, str], ...]
    orders: tuple[tuple[str, str, str], ...]


def overview(home: ServerHome) -> Overview:
    """Look at processes, sites and studies."""
    address = home.address
    try:
        processes = read_json(home.status)["processes"]
    except (ModelError, KeyError, TypeError):
        processes = None
    if processes is None:
        words, states = f"The coordinator ({address}) is not running.", {}
    else:
        said = [
            f"{name} {'runs' if process['running'] else 'is starting again'}"
            + (f" (restarted {process['restarts']} times)" if process["restarts"] else "")
            for name, process in processes.items()
        ]
        words, states = f"The coordinator is at {address}: {', '.join(said)}.", _states(home)
    enrolled = home.enrolled()
    sites = tuple(
        (
            site,
            states.get(enrolled[site], "not connected") if site in enrolled else "to be enrolled",
        )
        for site in home.public_keys()
    )
    orders = all_orders(home.path / "orders")
    return Overview(
        coordinator=words,
        sites=sites,
        orders=tuple((o.name, o.study.study, _state(o)) for o in orders[-10:] if o.study),
    )


def _states(home: ServerHome) -> dict[int, str]:
    words = {"online": "connected", "offline": "not connected", "registered": "never connected"}
    try:
        return {node: words.get(s, s) for node, s in superlink.nodes(home.flower).items()}
    except DeploymentError:
        return {}


def _state(order: Order) -> str:
    outcome = order.outcome()
    if outcome is not None:
        if "error" in outcome:
            return f"failed: {outcome['error']}"
        missing = outcome.get("missing") or {}
        return f"done, {outcome['sha256'][:12]}" + (
            f", without {', '.join(missing)}" if missing else ""
        )
    process = order.noted().get("pid")
    if process is None:
        return "waiting to start"
    if not alive(process):
        return "stopped; order it again to go on"
    phase, waits = "", dict[str, str]()
    for _, event in order.events():
        if event.kind is Kind.PHASE:
            phase = event.phase
        if event.kind is Kind.SILENT:
            waits[event.site] = event.code
        if event.kind in (Kind.BACK, Kind.LOST):
            waits.pop(event.site, None)
    waiting = "; ".join(f"waiting for {site} ({code})" for site, code in waits.items())
    return f"running{f', phase {phase!r}' if phase else ''}{f'; {waiting}' if waiting else ''}"
