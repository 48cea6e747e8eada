"""Every kind of step run through the coordinator: Local, Sum, Publish, Repeat, when, until."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases import Case, case
from conformance.direct import direct
from conformance.federation import Federation
from conformance.hostile import arrays, on, stated
from conformance.toy import register_toy
from motet.client.keep import Keep
from motet.errors import PlanError
from motet.flower.records import decode
from motet.server import Outcome
from motet.server.checkpoint import Checkpoint
from motet.server.events import Kind

SITES = ["site-b0", "site-b1", "site-b2"]


class Killed(BaseException):
    """Not an Exception: nothing may catch it."""


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    register_toy(monkeypatch)


def toy_case(**options: Any) -> Case:
    return case("toy", options, n=(5, 6, 4), p=3, covariates=())


def ran(study: Case, folder: Path | None = None, **options: Any) -> tuple[Federation, Outcome]:
    sites = Federation(study, folder=None if folder is None else folder / "sites", **options)
    return sites, sites.run(checkpoint=None if folder is None else folder / "progress.npz")


def turns(sites: Federation) -> list[int]:
    models = [sites.workers[name].model for name in SITES]
    return [int(np.asarray(m.arrays["turns"]).reshape(())) for m in models if m is not None]


def kept(sites: Federation, but: str = "") -> dict[str, Any]:
    """What the Local phases came to at every site."""
    models = {name: sites.workers[name].model for name in sites.workers if name != but}
    return {n: {k: a.tolist() for k, a in m.arrays.items()} for n, m in models.items() if m}


def same(a: Outcome, b: dict[str, Any]) -> None:
    assert sorted(a.shared) == sorted(b)
    for name, array in a.shared.items():
        assert np.asarray(array).shape == np.asarray(b[name]).shape, name
        assert array.tobytes() == b[name].tobytes(), name


def killed(study: Case, folder: Path, owner: type, call: int, method: str = "save") -> None:
    """Run until the n-th call of a method, which does its work and then the process dies."""
    calls, honest = itertools.count(1), getattr(owner, method)

    def dying(self: Any, *args: Any) -> None:
        mine = next(calls)
        honest(self, *args)
        if mine == call:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, dying)
        with pytest.raises(Killed):
            ran(study, folder)


def test_repeat_runs_the_declared_number_of_times() -> None:
    """Catches a turn too many (consent covers at_most) or too few, nested ones included."""
    sites, outcome = ran(toy_case(turns=3, inner=2))
    assert turns(sites) == [3, 3, 3]
    expected = [f"outer[{i}]/inner[{j}]/pull" for i in range(3) for j in range(2)]
    asked = [phase for site, phase in sites.asked("train.phase") if site == "site-b0"]
    assert [p for p in asked if p.endswith("pull")] == expected
    same(outcome, direct(toy_case(turns=3, inner=2), sites.tables).shared)


def test_until_ends_a_repeat() -> None:
    """Catches a condition that is not looked at, or looked at before the turn."""
    study = toy_case(turns=50, inner=1, tolerance=1.0)
    sites, outcome = ran(study)
    assert turns(sites) == [direct(study, sites.tables).models[s].arrays["turns"] for s in SITES]
    assert 1 < turns(sites)[0] < 50
    assert np.abs(outcome.shared["step"]).max() <= 1.0


@pytest.mark.parametrize("left", [0, 2])
def test_when_leaves_a_phase_out(left: int) -> None:
    """Catches a phase that runs although its size is 0, or is skipped although it is not."""
    sites, outcome = ran(toy_case(left=left))
    assert ("site-b0", "far") in sites.asked("train.phase") or not left
    assert ("far" in outcome.shared) == bool(left)
    if left:
        assert outcome.shared["far"].shape == (2,)


def test_size_above_what_consent_covers_is_refused() -> None:
    """Catches an array longer than the plan said: left is at most p = 3."""
    with pytest.raises(PlanError, match="left"):
        ran(toy_case(left=4))


def test_publish_keeps_sites_apart_and_in_order() -> None:
    """Catches published arrays that are summed or that change places."""
    study = toy_case()
    _, outcome = ran(study)
    largest = [study.values[study.batch == b].max(axis=0) for b in study.batches]
    np.testing.assert_array_equal(outcome.shared["ranges"], np.array(largest))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("call", [1, 2, 3, 4, 9, 12])
def test_killed_after_a_checkpoint_within_a_repeat(
    call: int, momentum: float, tmp_path: Path
) -> None:
    """Catches a Repeat that starts over, skips a turn, or loses what sites kept between turns."""
    study = toy_case(turns=4, inner=2, momentum=momentum, left=1)
    expected, whole = ran(study)
    killed(study, tmp_path, Checkpoint, call)
    sites, outcome = ran(study, tmp_path)
    same(outcome, whole.shared)
    assert kept(sites) == kept(expected)
    assert turns(sites) == [4, 4, 4]
    asked = len(sites.asked("train.phase"))
    assert asked < len(expected.asked("train.phase"))
    assert any(e.kind is Kind.RESUMED for e in sites.events)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("call", [4, 5, 6, 7, 9, 10, 11, 13])
def test_killed_between_a_site_s_commit_and_the_checkpoint(
    call: int, momentum: float, tmp_path: Path
) -> None:
    """Catches a turn that a site does twice: it has committed it, the coordinator has not heard."""
    study = toy_case(turns=4, inner=2, momentum=momentum)
    expected, whole = ran(study)
    killed(study, tmp_path, Keep, call, "commit")
    sites, outcome = ran(study, tmp_path)
    same(outcome, whole.shared)
    assert kept(sites) == kept(expected)
    assert turns(sites) == [4, 4, 4]


def test_restart_without_a_lost_site_does_not_see_the_first_attempt(tmp_path: Path) -> None:
    """Catches arrays kept in the attempt with the lost site taking part in the one without."""
    study = toy_case(turns=4, inner=2, momentum=0.5)
    tables = {s: t for s, t in study.tables().items() if s != "site-b2"}
    without, expected = ran(study, tables=tables)
    sites = Federation(study, folder=tmp_path / "sites")
    honest = sites.workers["site-b2"].phase

    def failing(path: str, shared: Any, plan: str, **told: Any) -> Any:
        if path == "outer[2]/inner[1]/pull":
            raise OSError
        return honest(path, shared, plan, **told)

    sites.workers["site-b2"].phase = failing  # type: ignore[method-assign]
    outcome = sites.run(checkpoint=tmp_path / "progress.npz")
    assert outcome.missing == {"site-b2": "site-failed"}
    same(outcome, expected.shared)
    assert kept(sites, but="site-b2") == kept(without)


def test_run_that_starts_over_does_not_see_what_sites_kept(tmp_path: Path) -> None:
    """Catches a coordinator without its checkpoint, and sites that still have their state."""
    study = toy_case(turns=4, inner=2, momentum=0.5)
    expected, whole = ran(study)
    killed(study, tmp_path, Checkpoint, 7)
    (tmp_path / "progress.npz").unlink()
    sites, outcome = ran(study, tmp_path)
    assert len(sites.asked("train.phase")) == len(expected.asked("train.phase"))
    same(outcome, whole.shared)
    assert kept(sites) == kept(expected)


@pytest.mark.parametrize("path", ["start", "outer[1]/count"])
def test_site_that_fails_in_a_local_phase_is_named(path: str) -> None:
    """Catches a site that did not do its part, but whose sums go into the shared model: the
    outcome names it as missing, so the model must be that of the others."""
    sites = Federation(toy_case())
    honest = sites.workers["site-b2"].phase

    def failing(at: str, shared: Any, plan: str, **told: Any) -> Any:
        if at == path:
            raise OSError
        return honest(at, shared, plan, **told)

    sites.workers["site-b2"].phase = failing  # type: ignore[method-assign]
    outcome = sites.run()
    assert outcome.missing == {"site-b2": "site-failed"}
    others = {s: t for s, t in toy_case().tables().items() if s != "site-b2"}
    same(outcome, ran(toy_case(), tables=others)[1].shared)


def test_local_phase_sends_nothing() -> None:
    """Catches arrays in the reply of a phase that declares none, even from a hostile site."""
    sites, _ = ran(toy_case())
    for sent in sites.sent:
        if sent.envelope.phase == "start":
            assert not decode(sent.reply.content)[1].arrays
    smuggled = on("train.phase", arrays(lambda a: a or {"x": np.zeros(2)}))
    outcome = Federation(toy_case(), alter={"site-b2": smuggled}).run()
    assert outcome.missing == {"site-b2": "invalid-reply"}


def test_reply_of_another_turn_is_stale() -> None:
    """Catches a turn's reply standing in for the next turn's: name and shapes are the same."""
    stale = on("train.phase", stated(phase="outer[0]/inner[0]/pull"))
    outcome = Federation(toy_case(), alter={"site-b2": stale}).run()
    assert outcome.missing == {"site-b2": "stale"}
