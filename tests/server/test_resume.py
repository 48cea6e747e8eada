"""An interrupted study goes on where it was, to the same bits; a doubtful state starts over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.cases import Case, case
from conformance.federation import Federation
from conformance.interrupted import Killed, interrupt, same
from motet.client.keep import Keep
from motet.errors import StudyFileError
from motet.server import Outcome
from motet.server.checkpoint import Checkpoint
from motet.server.events import Kind

STUDY = case(options={"reference": "b1"}, n=(9, 12, 8, 10), p=5, missing=0.1)
PHASES = ["moments", "moments_of_incomplete", "reference"]
SITES = ["site-b0", "site-b1", "site-b2", "site-b3"]


def federation(folder: Path, study: Case = STUDY, **options: Any) -> Federation:
    return Federation(study, folder=folder / "sites", **options)


def finished(folder: Path, study: Case = STUDY, **options: Any) -> tuple[Federation, Outcome]:
    sites = federation(folder, study, **options)
    outcome = sites.run(checkpoint=folder / "progress.npz")
    # A site that is lost makes another model: say which and why, not that bytes differ.
    assert not outcome.missing, (outcome.missing, sites.errors)
    return sites, outcome


def killed(folder: Path, owner: type, method: str, *, call: int, when: str) -> Federation:
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, owner, method, call=call, when=when)
        sites = federation(folder)
        with pytest.raises(Killed):
            sites.run(checkpoint=folder / "progress.npz")
        sites.ended()
    return sites


def every(phases: Sequence[str]) -> list[tuple[str, str]]:
    """(site, phase) of all that has to be asked for these phases, sorted."""
    return sorted((s, p) for p in phases for s in (SITES[1:2] if p == "reference" else SITES))


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Federation, Outcome]:
    """The run that nothing interrupted; three phases, as the tests below count on."""
    sites, outcome = finished(tmp_path / "whole")
    assert sorted(sites.asked("train.phase")) == every(PHASES)
    return sites, outcome


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_coordinator_dies_around_a_checkpoint(
    call: int, when: str, tmp_path: Path, whole: tuple[Federation, Outcome]
) -> None:
    """Catches phases done again although the coordinator has their result (the sites' part of a
    reference phase belongs to one site only), and a resumed model that differs in any bit."""
    killed(tmp_path, Checkpoint, "save", call=call, when=when)
    sites, outcome = finished(tmp_path)
    done = call - (when == "before")
    assert sorted(sites.asked("train.phase")) == every(PHASES[done:])
    same(outcome, whole[1])
    assert sites.values.tobytes() == whole[0].values.tobytes()
    resumed = [e.phase for e in sites.events if e.kind is Kind.RESUMED]
    assert resumed == PHASES[done - 1 : done] * (done > 0)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", [2, 5, 7, 9])
def test_process_dies_while_sites_commit(
    call: int, when: str, tmp_path: Path, whole: tuple[Federation, Outcome]
) -> None:
    """Catches a site whose state is ahead of the coordinator's making the result another."""
    killed(tmp_path, Keep, "commit", call=call, when=when)
    _, outcome = finished(tmp_path)
    same(outcome, whole[1])


@pytest.mark.parametrize("call", [1, 3])
def test_process_dies_while_sites_harmonize(
    call: int, tmp_path: Path, whole: tuple[Federation, Outcome]
) -> None:
    """Catches a study that cannot be finished once some sites have forgotten their state."""
    killed(tmp_path, Keep, "remove", call=call, when="after")
    sites, outcome = finished(tmp_path)
    same(outcome, whole[1])
    assert sites.values.tobytes() == whole[0].values.tobytes()


def test_killed_twice(tmp_path: Path, whole: tuple[Federation, Outcome]) -> None:
    """Catches state that survives one resume but not two."""
    killed(tmp_path, Checkpoint, "save", call=1, when="after")
    killed(tmp_path, Checkpoint, "save", call=1, when="after")
    sites, outcome = finished(tmp_path)
    assert sites.asked("train.phase") == [("site-b1", "reference")]
    same(outcome, whole[1])


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Catches a checkpoint or a site's moments that outlive the run they belong to."""
    killed(tmp_path, Checkpoint, "save", call=2, when="after")
    assert (tmp_path / "progress.npz").is_file()
    assert (tmp_path / "sites" / "site-b0" / ".keep.npz").is_file()
    finished(tmp_path)
    names = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert names == sorted(["ledger.sqlite", "manifest.json", "model.npz"] * 4)


@pytest.mark.parametrize("damage", ["empty", "half", "noise", "bit", "method of compression"])
@pytest.mark.parametrize("whose", ["progress.npz", "sites/site-b2/.keep.npz"])
def test_damaged_state_starts_over(
    whose: str, damage: str, tmp_path: Path, whole: tuple[Federation, Outcome]
) -> None:
    """Catches a run that can never be started again without deleting a hidden file."""
    killed(tmp_path, Checkpoint, "save", call=2, when="after")
    path = tmp_path / whose
    content = bytearray(path.read_bytes())
    middle = content.index(b"PK\x01\x02")
    if damage == "bit":
        content[len(content) // 3] ^= 1
    elif damage == "method of compression":
        content[middle + 10] ^= 1 << 5
    damaged = {"empty": b"", "half": content[: len(content) // 2], "noise": b"\x93" * 999}
    path.write_bytes(bytes(damaged.get(damage, content)))
    sites, outcome = finished(tmp_path)
    assert sorted(sites.asked("train.phase")) == every(PHASES)
    same(outcome, whole[1])


def test_changed_data_start_over(tmp_path: Path) -> None:
    """Catches moments of the old data in a model of the new."""
    killed(tmp_path, Checkpoint, "save", call=2, when="after")
    values = STUDY.values.copy()
    values[STUDY.batch == "b2", 0] += 1.0
    changed = replace(STUDY, values=values)
    _, expected = finished(tmp_path / "new", changed)
    sites, outcome = finished(tmp_path, changed, fingerprints={"site-b2": "edited"})
    assert len(sites.asked("train.phase")) == 9
    same(outcome, expected)


def test_other_study_does_not_take_up_the_state(tmp_path: Path) -> None:
    """Catches a checkpoint that is taken by its path alone."""
    killed(tmp_path, Checkpoint, "save", call=2, when="after")
    other = replace(STUDY, options={"reference": "b1", "prior": "none"})
    _, expected = finished(tmp_path / "new", other)
    sites, outcome = finished(tmp_path, other)
    assert len(sites.asked("train.phase")) == 9
    same(outcome, expected)


def test_checkpoint_of_other_sites_is_not_taken_up(tmp_path: Path) -> None:
    """Catches sums over three sites going on as if they were over four."""
    tables = {s: t for s, t in STUDY.tables().items() if s != "site-b3"}
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, Checkpoint, "save", call=2, when="after")
        with pytest.raises(Killed):
            finished(tmp_path, tables=tables)
    _, expected = finished(tmp_path / "new")
    sites, outcome = finished(tmp_path)
    assert len(sites.asked("train.phase")) == 9
    same(outcome, expected)


@pytest.mark.parametrize("phase", PHASES[:2])
def test_site_lost_in_any_phase_restarts_without_it(phase: str, tmp_path: Path) -> None:
    """Catches a mixture: sums with the lost site in one phase and without it in the next."""
    tables = {s: t for s, t in STUDY.tables().items() if s != "site-b2"}
    _, expected = finished(tmp_path / "three", tables=tables)
    sites = federation(tmp_path)
    honest = sites.workers["site-b2"].phase

    def failing(path: str, shared: Any, plan: str, **told: Any) -> Any:
        if path == phase:
            raise OSError("the disk of Erika Mustermann is full")
        return honest(path, shared, plan, **told)

    sites.workers["site-b2"].phase = failing  # type: ignore[method-assign]
    outcome = sites.run(checkpoint=tmp_path / "progress.npz")
    assert outcome.missing == {"site-b2": "site-failed"}
    assert [e.kind for e in sites.events].count(Kind.RESTARTED) == 1
    same(outcome, expected)


def test_lost_reference_site_ends_the_study_in_a_sentence(tmp_path: Path) -> None:
    """Catches a study that silently goes on to another target than was asked for."""
    sites = federation(tmp_path)

    def failing(path: str, shared: Any, plan: str, **told: Any) -> Any:
        raise OSError

    sites.workers["site-b1"].phase = failing  # type: ignore[method-assign]
    with pytest.raises(StudyFileError, match="b1") as error:
        sites.run()
    assert error.value.where["key"] == "params.reference"
