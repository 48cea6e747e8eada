"""What is said of a training while it goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from conformance.cases import case
from motet.server.events import Event, Kind
from motet.server.orders import Order, new_folder
from motet.server.overview import _state
from motet.server.pace import Pace
from motet.server.trained import LINES, Seldom, time_left, trained
from motet.supervise import started
from motet.training.phase import Turn

EVENT = Event(
    kind=Kind.TRAINED,
    phase="cvae",
    step=120,
    steps=1200,
    exchange=5,
    losses={"ae.kl": 0.51234, "ae.rec": 12.0, "validation": 3.0},
    left=170.0,
)


def test_a_line() -> None:
    """Catches a line without the losses, the sites that can be read, or the time left, and a loss
    of networks before a step told as of those after it."""
    assert trained(EVENT) == (
        "Training 'cvae', step 120 of 1200, exchange 6: kl 0.5123, rec 12, "
        "validation before these steps 3; about 3 min left."
    )
    last = Event(kind=Kind.TRAINED, phase="c", losses={"validation": 3.0})
    assert trained(last) == "Training 'c', step 0 of 0, exchange 1: validation 3."
    own = Event(kind=Kind.TRAINED, phase="c", losses={"a.x": 1.0}, sites={"hh": {"a.x": 2.0}})
    assert trained(own) == "Training 'c', step 0 of 0, exchange 1: x 1; hh: x 2."
    assert [time_left(s) for s in (5, 5000, 20000)] == [
        "less than a minute left",
        "about 83 min left",
        "about 5.6 h left",
    ]


def test_not_five_hundred_lines() -> None:
    """Catches a log in a file that a long training fills, and one that misses its end."""
    seldom = Seldom()
    steps = [step for step in range(1, 501) if seldom.due(Event(**_at(step)))]
    assert LINES - 2 <= len(steps) <= LINES
    assert steps[-1] == 500


def _at(step: int) -> dict[str, object]:
    return {"kind": Kind.TRAINED, "phase": "cvae", "step": step, "steps": 500}


def test_time_left_is_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a resumed run that counts the steps of an earlier one as its own speed, and a first
    exchange, in which networks are made, that counts as the speed of all."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace()
    assert pace.left(1000) is None
    now += 500.0
    pace.take(Turn(number=45, first=900, after=920))
    assert pace.left(1000) is None
    now += 10.0
    pace.take(Turn(number=46, first=920, after=940))
    assert pace.left(1000) == pytest.approx(30.0)
    pace.take(Turn(number=50, first=1000, after=1000))
    assert pace.left(1000) == 0


def test_status_of_a_deployed_study(tmp_path: Path) -> None:
    """Catches a coordinator that says 'running' for hours, and losses of a phase that is over."""
    study = case("deepcombat").study
    order = Order(folder=new_folder(tmp_path), study=study, sites=("a",), wait=1.0, out=tmp_path)
    order.write()
    order.note(pid=os.getpid(), started=started(os.getpid()))
    order.tell(Event(kind=Kind.PHASE, phase="cvae"))
    order.tell(EVENT)
    assert _state(order) == f"running, {trained(EVENT).rstrip('.')}"
    order.tell(Event(kind=Kind.PHASE, phase="latents"))
    assert _state(order) == "running, phase 'latents'"
