"""A training that is killed goes on to the same bits, from any exchange of any mode."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import motet.server.runner
from conformance.cases import Case, case
from conformance.federation import Federation
from conformance.interrupted import Killed, interrupt, same
from motet.client.keep import Keep
from motet.errors import QuorumError, TrainingError
from motet.server import Outcome
from motet.server.checkpoint import Checkpoint
from motet.server.events import Kind

STUDY = case("deepcombat", n=(9, 12, 8, 10), p=4)
SMALL = case("deepcombat", n=(9, 12), p=4, covariates=("age",))
"""Of two sites, for what is run again and again."""
MODES: dict[str, dict[str, Any]] = {
    "exact": {"mode": "exact", "steps": 4},
    "averaged": {"mode": "local", "steps": 9},
    "kept": {"mode": "local", "steps": 9, "moments": "kept"},
    "forgotten": {"mode": "local", "steps": 9, "moments": "forgotten", "warm_up": 2},
    "validated": {"mode": "local", "steps": 9, "validation": 0.25, "validate_every": 2},
    "scaffold": {"mode": "local", "steps": 9, "server": "scaffold"},
    # Of as many steps between exchanges as mean gradients are read from moments.
    "as small": {
        "mode": "local",
        "steps": 90,
        "local_steps": 30,
        "server": "scaffold",
        "extrapolate": True,
        "moments": "kept",
    },
    "fedprox": {"mode": "local", "steps": 9, "server": "fedprox", "proximal": 0.1},
    "fedadam": {"mode": "local", "steps": 9, "server": "fedadam"},
}


def study(mode: str, made: Case = STUDY) -> Case:
    return replace(made, train={"preset": "tiny", **MODES[mode]})


def few(mode: str) -> Case:
    """Two sites; four where means are lengthened, which half the number of sites bounds."""
    return study(mode, STUDY if MODES[mode].get("extrapolate") else SMALL)


@pytest.fixture(autouse=True)
def every_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints at all exchanges, also where they can be done again."""
    monkeypatch.setattr(motet.server.runner, "EVERY", 0.0)


def finished(folder: Path, made: Case) -> tuple[Federation, Outcome]:
    sites = Federation(made, folder=folder / "sites")
    outcome = sites.run(checkpoint=folder / "progress.npz")
    assert not outcome.missing, (outcome.missing, sites.errors)
    return sites, outcome


@cache
def whole(mode: str, where: Path) -> tuple[Federation, Outcome]:
    return finished(where / "all", study(mode))


@cache
def small(mode: str, where: Path) -> tuple[Federation, Outcome]:
    return finished(where / "small", few(mode))


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


def exchanges(sites: Federation) -> int:
    return len({path for _, path in sites.asked("train.phase") if path.startswith("cvae@")})


@pytest.mark.parametrize(
    ("mode", "when"),
    [
        *((mode, "after") for mode in MODES),
        *((mode, "before") for mode in ("exact", "kept", "scaffold", "as small")),
    ],
)
def test_the_coordinator_dies_around_a_checkpoint_of_any_exchange(
    mode: str, when: str, tmp_path: Path, somewhere: Path
) -> None:
    """Catches moments, running means, the best networks or the log that a checkpoint lacks, and
    a site whose moments are one exchange ahead."""
    uninterrupted, expected = small(mode, somewhere / mode)
    count = exchanges(uninterrupted)
    assert count >= 3
    for call in range(3, 3 + count):  # the first two are of the scales
        folder = tmp_path / str(call)
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, Checkpoint, "save", call=call, when=when)
            sites = Federation(few(mode), folder=folder / "sites")
            with pytest.raises(Killed):
                sites.run(checkpoint=folder / "progress.npz")
            sites.ended()
        again, outcome = finished(folder, few(mode))
        same(outcome, expected)
        assert again.values.tobytes() == uninterrupted.values.tobytes()
        done = call - 2 - (when == "before")
        assert exchanges(again) == count - done
        assert [e.kind for e in again.events if e.kind is Kind.RESUMED]


@pytest.mark.parametrize("mode", ["kept", "as small"])
@pytest.mark.parametrize("call", [1, 9, 12, 14, 17, 19])
def test_the_process_dies_while_sites_commit(
    call: int, mode: str, tmp_path: Path, somewhere: Path
) -> None:
    """Catches a site that undoes its moments by the wrong exchange."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, Keep, "commit", call=call, when="after")
        sites = Federation(study(mode), folder=tmp_path / "sites")
        with pytest.raises(Killed):
            sites.run(checkpoint=tmp_path / "progress.npz")
        sites.ended()
    _, outcome = finished(tmp_path, study(mode))
    same(outcome, whole(mode, somewhere / mode)[1])


def test_the_log_is_whole_and_has_no_line_twice(tmp_path: Path, somewhere: Path) -> None:
    """Catches a log that begins anew with the process."""
    _, expected = whole("validated", somewhere / "validated")
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, Checkpoint, "save", call=4, when="after")
        sites = Federation(study("validated"), folder=tmp_path / "sites")
        with pytest.raises(Killed):
            sites.run(checkpoint=tmp_path / "progress.npz")
        sites.ended()
    rows = [e for e in sites.events if e.kind is Kind.TRAINED]
    again, _ = finished(tmp_path, study("validated"))
    rows += [e for e in again.events if e.kind is Kind.TRAINED]
    uninterrupted = [
        e for e in whole("validated", somewhere / "validated")[0].events if e.kind is Kind.TRAINED
    ]
    assert [(e.step, dict(e.losses)) for e in rows] == [
        (e.step, dict(e.losses)) for e in uninterrupted
    ]
    assert any("validation" in e.losses for e in rows)
    assert expected.shared


def test_another_study_does_not_go_on_from_these_networks(tmp_path: Path) -> None:
    """Catches a checkpoint of another plan whose arrays happen to have the same shapes."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, Checkpoint, "save", call=5, when="after")
        sites = Federation(study("exact"), folder=tmp_path / "sites")
        with pytest.raises(Killed):
            sites.run(checkpoint=tmp_path / "progress.npz")
        sites.ended()
    other = replace(study("exact"), options={"learning_rate": 0.02})
    _, expected = finished(tmp_path / "new", other)
    again, outcome = finished(tmp_path, other)
    assert not [e for e in again.events if e.kind is Kind.RESUMED]
    same(outcome, expected)


def test_a_site_whose_loss_is_no_number_stops_and_the_others_go_on() -> None:
    """Catches networks of NaN that everybody goes on with. The site that sent nothing is named,
    and its sentence stays there; what the others come to is what they come to without it."""
    values = STUDY.values.copy()
    values[STUDY.batch == "b2", 1] = 1e160 * np.arange((STUDY.batch == "b2").sum())
    sites = Federation(replace(study("exact"), values=values))
    outcome = sites.run()
    assert set(outcome.missing) == {"site-b2"}
    errors = [error for site, error in sites.errors if site == "site-b2"]
    assert errors
    assert outcome.missing["site-b2"] == errors[-1].code  # type: ignore[attr-defined]


def no_numbers(patch: pytest.MonkeyPatch, *, batch: int, of: int, first: int) -> list[int]:
    """Let a loss of one batch be NaN from a step on; the steps in which it was."""
    import torch

    import motet.harmonizers.deepcombat.networks as networks

    honest = networks.losses
    seen: list[int] = []

    def losses(nets: Any, data: Any, draws: Any) -> Any:
        found = honest(nets, data, draws)
        column = torch.nonzero(data["member"].sum(dim=0)).reshape(-1).tolist()
        if draws.step >= first and column == [batch] and data["member"].shape[1] == of:
            seen.append(draws.step)
            found["kl"] = found["kl"] * float("nan")
        return found

    patch.setattr(networks, "losses", losses)
    return seen


@pytest.mark.parametrize(
    ("mode", "loss", "first"), [("exact", "kl", 3), ("as small", "autoencoder.kl", 30)]
)
def test_a_diverging_site_is_named_and_nothing_of_the_step_is_sent(
    mode: str, loss: str, first: int
) -> None:
    """The same in the middle of a training, which starts over without the site: catches moments
    and mean gradients that the others keep of the training with it."""
    with pytest.MonkeyPatch.context() as patch:
        seen = no_numbers(patch, batch=2, of=4, first=first)
        sites = Federation(study(mode))
        outcome = sites.run()
    assert seen
    assert outcome.missing == {"site-b2": TrainingError.code}
    (error,) = [e for s, e in sites.errors if s == "site-b2"]
    assert f"'{loss}' is no longer a finite number" in str(error)
    assert "smaller learning rate" in str(error)
    without = study(mode)
    tables = {s: t for s, t in without.tables().items() if s != "site-b2"}
    same(outcome, Federation(without, tables).run())


@pytest.mark.parametrize(("mode", "first"), [("exact", 3), ("as small", 60)])
def test_the_last_exchange_before_a_diverging_one_is_kept(
    mode: str, first: int, tmp_path: Path, somewhere: Path
) -> None:
    """Where too few sites are left to start over without it. Catches a study that has to be run
    from its beginning once whatever made a loss of NaN is mended."""
    uninterrupted, expected = whole(mode, somewhere / mode)
    with pytest.MonkeyPatch.context() as patch:
        seen = no_numbers(patch, batch=2, of=4, first=first)
        sites = Federation(study(mode), folder=tmp_path / "sites")
        with pytest.raises(QuorumError):
            sites.run(quorum=4, checkpoint=tmp_path / "progress.npz")
        sites.ended()
    assert min(seen) == first
    again, outcome = finished(tmp_path, study(mode))
    same(outcome, expected)
    assert again.values.tobytes() == uninterrupted.values.tobytes()
    assert exchanges(again) == 1


def test_a_step_of_more_samples_than_there_are_is_refused() -> None:
    """Catches a batch that silently becomes everybody."""
    large = replace(STUDY, train={"preset": "tiny", "batch": 64})
    with pytest.raises(TrainingError, match="takes 64 samples, and the fit has 39") as error:
        Federation(large).run()
    assert "batch: 39" in str(error.value)
