"""The log of a training: whose losses it has, and that a stop neither loses nor doubles a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import motet.training.coordinator
from conformance.cases import Case, case
from conformance.federation import Federation
from motet.cli.show import sentence
from motet.server import Coordinator, Outcome, runner
from motet.server.checkpoint import Checkpoint
from motet.server.events import Kind
from motet.server.result import StudyFolder
from motet.training.coordinator import Trainer
from motet.training.log import LOG, STEP_SIZE, read_log, write_log
from motet.training.phase import VALIDATION, Turn

MADE = case("deepcombat", n=(12, 14, 13), p=4, covariates=("age",))
TRAIN = {"preset": "tiny", "validation": 0.2, "validate_every": 3, "steps": 12}
LOCAL = replace(MADE, train=TRAIN)
KEPT = replace(MADE, train={**TRAIN, "moments": "kept"})
LOSSES = {"autoencoder.kl", "autoencoder.reconstruction"}


class Killed(BaseException):
    """Not an Exception: nothing may catch it."""


def ran(made: Case, **options: Any) -> tuple[Federation, Outcome]:
    federation = Federation(made, **options)
    outcome = federation.run()
    assert not outcome.missing, federation.errors
    return federation, outcome


def test_each_sites_losses_where_they_can_be_read() -> None:
    """Catches means that are not those of the samples, and a site's losses under another's name."""
    federation, outcome = ran(LOCAL)
    rows = outcome.training
    assert [row["exchange"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["validated"] for row in rows] == [0, 3, 6, 9, 12]
    assert all(set(row["sites"]) == set(federation.tables) for row in rows)
    for row in rows[:-1]:
        assert set(row) >= LOSSES
        for name in LOSSES:
            own = [of[name] for of in row["sites"].values() if name in of]
            assert min(own) <= row[name] <= max(own)
            assert len(set(own)) == len(own) > 1
    told = [event for event in federation.events if event.kind is Kind.TRAINED]
    assert [dict(event.losses) for event in told] == [
        {k: v for k, v in row.items() if isinstance(v, float)} for row in rows
    ]
    assert not any(name.startswith(STEP_SIZE) for row in rows for name in row)
    assert [event.sites for event in told] == [row["sites"] for row in rows]
    assert told[0].left is None
    assert told[1].left is not None
    assert told[-1].left == 0


def test_how_far_means_were_lengthened_is_logged_and_is_no_loss() -> None:
    """Catches a training of which nobody can say how far it went, and a line that validates alone
    with the last exchange's factors."""
    four = case("deepcombat", n=(12, 14, 13, 12), p=4, covariates=("age",))
    federation, outcome = ran(replace(four, train={**TRAIN, "extrapolate": True}))
    *rows, closing = outcome.training
    sizes = [{n: v for n, v in row.items() if n.startswith(STEP_SIZE)} for row in rows]
    assert {frozenset(of) for of in sizes} == {
        frozenset({"step_size.encoder", "step_size.decoder"})
    }
    assert 1.0 < max(of["step_size.encoder"] for of in sizes) <= 2.0
    assert not any(name.startswith(STEP_SIZE) for name in closing)
    told = [event for event in federation.events if event.kind is Kind.TRAINED]
    assert {*told[0].losses} == {*LOSSES, VALIDATION}


def test_step_sizes_of_exchanges_that_are_told_of_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a training that fails where there are more exchanges than lines."""
    monkeypatch.setattr(motet.training.coordinator, "ROWS", 2)
    four = case("deepcombat", n=(12, 14, 13, 12), p=4, covariates=("age",))
    train = {"preset": "tiny", "steps": 8, "local_steps": 2, "extrapolate": True}
    rows = ran(replace(four, train=train))[1].training
    assert [row["exchange"] for row in rows] == [1, 3]
    assert all("step_size.encoder" in row for row in rows)


def test_under_masks_the_sum_alone() -> None:
    """Catches losses of single sites where the plan says that nobody reads them."""
    federation, outcome = ran(replace(LOCAL, secure=True))
    plain = ran(LOCAL)[1].training
    assert len(outcome.training) == len(plain)
    for row, other in zip(outcome.training, plain, strict=True):
        assert "sites" not in row
        for name in LOSSES & set(other):
            assert row[name] == pytest.approx(other[name], rel=1e-6)
    assert not [event.sites for event in federation.events if event.sites]


@pytest.mark.parametrize("made", [LOCAL, KEPT], ids=["stateless", "sites keep moments"])
@pytest.mark.parametrize("call", [1, 3])
def test_after_a_stop_every_line_once(
    made: Case, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a history that begins with the resumed run, and lines of what was done again."""
    monkeypatch.setattr(runner, "EVERY", 0.0)
    whole = ran(made)[1]
    files: list[str] = []

    def written(rows: Sequence[Any]) -> None:
        write_log(tmp_path / LOG, rows)
        files.append((tmp_path / LOG).read_text())

    honest, keep = Coordinator.__init__, Checkpoint.save
    monkeypatch.setattr(Coordinator, "__init__", lambda *a, **k: honest(*a, log=written, **k))
    saved = 0

    def dying(self: Checkpoint, progress: Any) -> None:
        nonlocal saved
        keep(self, progress)
        saved += bool(progress.log)
        if saved == call:
            saved += 1
            raise Killed

    monkeypatch.setattr(Checkpoint, "save", dying)
    first = Federation(made, folder=tmp_path / "sites")
    with pytest.raises(Killed):
        first.run(checkpoint=tmp_path / "progress.npz")
    first.ended()
    again = Federation(made, folder=tmp_path / "sites")
    outcome = again.run(checkpoint=tmp_path / "progress.npz")
    (resumed,) = [event for event in again.events if event.kind is Kind.RESUMED]
    assert (resumed.phase, resumed.step, resumed.steps) == ("cvae", 3 * call, 12)
    assert sentence(resumed) == (
        f"Going on with the training 'cvae' after step {3 * call} of 12, where an earlier run "
        "stopped."
    )
    assert outcome.training == whole.training
    write_log(tmp_path / "whole.csv", whole.training)
    assert files[-1] == (tmp_path / "whole.csv").read_text()


def test_a_deployed_study_writes_it_beside_its_result(tmp_path: Path) -> None:
    """Catches a log that only a simulation has."""
    rows = ran(LOCAL)[1].training
    StudyFolder(tmp_path).write_log(rows)
    write_log(tmp_path / "same.csv", rows)
    assert (tmp_path / LOG).read_text() == (tmp_path / "same.csv").read_text()
    of_all = [{k: v for k, v in row.items() if k != "sites"} for row in rows]
    assert list(read_log(tmp_path / LOG)) == of_all


def test_networks_are_kept_as_they_were_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches networks of one exchange later than those whose validation was the smallest."""
    told, honest = [], Trainer.told

    def remembered(self: Trainer, turn: Turn) -> Any:
        told.append(honest(self, turn))
        return told[-1]

    monkeypatch.setattr(Trainer, "told", remembered)
    wild = replace(LOCAL, options={"learning_rate": 20.0})
    _, outcome = ran(wild)
    best = min(outcome.training, key=lambda row: row["validation"])["exchange"]
    assert best < outcome.training[-1]["exchange"]
    for name in (name for name in outcome.shared if name.startswith("cvae.")):
        assert outcome.shared[name].tobytes() == told[best][name].tobytes(), name
