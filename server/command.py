"""What ``motet server run`` and ``check`` do: order a run, and follow it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from motet.config import Study, load_study, naming
from motet.errors import DeploymentError, StudyFileError
from motet.flower.bundle import bundle
from motet.params import parse_params
from motet.server.events import Observer
from motet.server.home import ServerHome
from motet.server.orders import Order, all_orders, chosen, new_folder, runs, starts
from motet.server.result import StudyFolder
from motet.supervise import supervised

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
        if read.evaluation.metrics == "uncontrolled":
            raise StudyFileError(
                "'uncontrolled' judges a simulation: where sites are apart, sums alone are there.",
                do="Ask for 'summed', or for 'none'.",
                key="evaluation.metrics",
            )
    if (going := _going(home)) is not None and _same(going, read, out):
        return going  # stopped following it, and now follows again
    _ready(home)
    sites = chosen(read, tuple(home.enrolled()))
    StudyFolder(out).check(read)
    order = Order(
        folder=new_folder(home.path / "orders"), study=read, sites=sites, out=out, wait=wait
    )
    return _ordered(home, order)


def submit_check(home: ServerHome, *, rounds: int, wait: float) -> Order:
    """Order rounds that only say hello: who answers, and how fast."""
    _ready(home)
    sites = chosen(None, tuple(home.enrolled()))
    order = Order(folder=new_folder(home.path / "orders"), sites=sites, wait=wait, rounds=rounds)
    return _ordered(home, order)


def _ready(home: ServerHome) -> None:
    if supervised(home.status) is None:
        raise DeploymentError(
            "The coordinator is not running.", do=f"Start it: motet server start {home.path}."
        )
    if (other := _going(home)) is not None and other.study is not None:
        raise DeploymentError(
            f"The study '{other.study.study}' is running ({other.name}), and a site works on one "
            "at a time.",
            do="Wait until it is done; 'motet server status' says how far it is.",
        )


def _going(home: ServerHome) -> Order | None:
    """The study that is running, if any."""
    orders = [order for order in all_orders(home.path / "orders") if order.study]
    found = [order for order in orders if runs(order) or starts(order, within=STARTS)]
    return found[-1] if found else None


def _same(order: Order, study: Study, out: Path) -> bool:
    """Whether an order is for this study and folder."""
    return order.study is not None and order.out == out and order.study.public() == study.public()


def _ordered(home: ServerHome, order: Order) -> Order:
    order.write()
    try:
        order.note(run=home.control().start(bundle(), {"order": order.name}))
    except DeploymentError as error:
        order.conclude(error=str(error), code=error.code)
        raise
    return order


def follow(home: ServerHome, order: Order, observe: Observer) -> dict[str, Any]:
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
        begun = "pid" in order.noted()
        if not begun and time.monotonic() - began > STARTS:
            raise DeploymentError(
                f"The run did not start within {STARTS:.0f} s.",
                do="See log/superexec.out in the coordinator's folder.",
            )
        if supervised(home.status) is None and order.outcome() is None:
            raise DeploymentError(
                "The coordinator ended before the study was done.",
                do=f"Start it (motet server start {home.path}), then give this command again: it "
                "goes on where it was.",
            )
        if begun and not runs(order) and order.outcome() is None:
            raise DeploymentError(
                "The run's process ended before the study was done.",
                do="The same command goes on where it was.",
            )
        time.sleep(LOOK)
