"""A private study from end to end: three sites, masked sums, an interrupted coordinator."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from conformance.federation import Federation
from conformance.ledgers import released
from motet.errors import TrainingError
from motet.ledger import Ledger
from motet.server import Outcome
from motet.server.anchors import Anchors
from motet.strategies import exact
from motet.training.phase import LOSSES, SAMPLES
from training.private import DP, private_case

GROUPS = ("encoder", "decoder", "encoder_batch", "decoder_batch")
SITES = ("site-b0", "site-b1", "site-b2")


def run(dp: dict[str, float] | None, **options: Any) -> tuple[Federation, Outcome]:
    study = replace(private_case(batch=39), secure=True, dp=dp)
    sites = Federation(study, folder=options.pop("folder", None))
    outcome = sites.run(**options)
    assert not outcome.missing, (outcome.missing, sites.errors)
    return sites, outcome


def apart(a: Outcome, b: Outcome) -> float:
    """Distance of two models, in units of how large the first is."""
    vectors = [np.concatenate([o.shared[f"cvae.{g}"].ravel() for g in GROUPS]) for o in (a, b)]
    return float(np.linalg.norm(vectors[0] - vectors[1]) / np.linalg.norm(vectors[0]))


def test_noise_changes_the_model_and_little_noise_hardly(tmp_path: Path) -> None:
    """Catches noise that does not arrive, and a clip, divisor or step that is another without it.

    Everybody is in every step (rate 1), so that noise and nothing else sets the models apart:
    measured 0.19 to 0.21 for epsilon 8, and 3e-7 for one of 1e18 with a clip that nobody
    reaches."""
    _, plain = run(None)
    sites, noisy = run(DP, folder=tmp_path)
    _, near = run({"epsilon": 1e18, "delta": 1e-4, "clip": 1e3})
    assert apart(plain, noisy) > 0.05
    assert apart(plain, near) < 1e-4
    assert np.isfinite(sites.values).all()
    assert float(noisy.shared["cvae.steps"]) == 6
    assert float(noisy.shared["cvae.rate"]) == 1.0
    assert "cvae.steps" not in plain.shared
    for site in SITES:
        (charge,) = released(tmp_path / site, kind="charge")
        assert charge["noise_multiplier"] == float(noisy.shared["cvae.noise_multiplier"])
        left = [e for e in released(tmp_path / site) if str(e["phase"]).startswith("cvae@")]
        assert len(left) == 6
        names = {array["name"] for entry in left for array in entry["arrays"]}
        assert names == {*GROUPS}
        assert not names & {LOSSES, SAMPLES}


@pytest.mark.parametrize("secure", [True, False])
def test_the_charge_is_countersigned_before_noise_leaves(secure: bool, tmp_path: Path) -> None:
    """Catches a charge that the coordinator has no record of when it reads what was paid for."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    study = replace(private_case(batch=39), secure=secure)
    told: dict[str, Any] = {"folder": tmp_path, "countersigned_by": public}
    sites = Federation(study, anchors=Anchors(key, tmp_path / "anchors"), **told)
    assert not sites.run().missing, sites.errors
    for site in SITES:
        book = Ledger(tmp_path / site / "ledger.sqlite", site=site)
        assert book.problems(key=public) == []
        (charge,) = book.entries("charge")
        first, second = [e for e in book.entries("release") if "cvae@" in e.body["phase"]][:2]
        signed = [entry.body["number"] for entry in book.entries("anchor")]
        assert charge.number < first.number
        assert any(first.number <= number < second.number for number in signed)


@pytest.mark.parametrize(
    ("dp", "says"),
    [
        ({"epsilon": 8.0, "delta": 0.05}, "1 over 20, and the fit has 39 rows"),
        ({"epsilon": 1e-8, "delta": 1e-9}, "No noise gives epsilon 1e-08"),
    ],
    ids=["delta", "epsilon"],
)
def test_what_so_many_people_do_not_allow_ends_the_study_when_they_are_counted(
    dp: dict[str, float], says: str
) -> None:
    """Catches exact sums that leave for a training that is refused: how many people there are is
    known from the first, and no other leaves."""
    sites = Federation(replace(private_case(batch=39), secure=True, dp=dp))
    with pytest.raises(TrainingError, match=says):
        sites.run()
    assert {path for _, path in sites.asked("train.phase")} == {"mean"}


class Killed(BaseException):
    """Not an Exception: no handler may catch it."""


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_coordinator_gets_the_same_noise(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a training that begins again after a crash, or draws noise twice around one sum."""
    where, calls = {"checkpoint": tmp_path / "progress.npz", "folder": tmp_path / "sites"}, [0]
    honest = exact.step

    def dying(*args: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise Killed  # all sites have sent, and nothing of it is written down
        return honest(*args)

    with monkeypatch.context() as patch:
        patch.setattr("motet.strategies.exact.step", dying)
        with pytest.raises(Killed):
            run(DP, **where)
    run(DP, **where)
    for site in SITES:
        assert len(released(tmp_path / "sites" / site, kind="charge")) == 1
        sent = defaultdict(list)
        for entry in released(tmp_path / "sites" / site):
            if str(entry["phase"]).startswith("cvae@"):
                sent[entry["phase"]].append(entry)
        assert sorted(sent) == [f"cvae@{k}" for k in range(6)]
        assert [len(sent[f"cvae@{k}"]) for k in range(6)] == [1 + (k == after) for k in range(6)]
        for again in sent.values():
            assert len({str(entry["arrays"]) for entry in again}) == 1
