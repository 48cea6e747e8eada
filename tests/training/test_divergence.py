"""Trainings that diverge: to no number after finite losses, or to large numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from conformance.federation import Federation
from motet.errors import QuorumError, TrainingError
from motet.simulation import array_sink, run_sites
from motet.training.coordinator import Trainer
from motet.training.exchange import exchange
from training.toy import BATCH, SHARED, options, sites_of, toy

SIZES = {"batches": 5}


@pytest.mark.parametrize("transfer", ["float32", "bfloat16"])
def test_weights_that_are_no_numbers_do_not_leave(transfer: str) -> None:
    """Catches 'holds values that are not finite, which its plan does not declare', which nobody
    takes for a learning rate."""
    how = {"mode": "local", "steps": 1, "local_steps": 1, "precision": "float32"}
    train = toy(options(**how, transfer=transfer), strata="")
    far = {"name": "sgd", "lr": 1e38}
    train = replace(train, updates=tuple(replace(u, optimizer=far) for u in train.updates))
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    turn = train.turn(0)
    told = {**SHARED, **trainer.told(turn)}
    site: Any = sites_of((0,) * 5)["site 0"]
    with pytest.raises(TrainingError, match="is no longer a finite number") as error:
        exchange(train, turn).at_site(site, told)
    assert "(steps 0 to 1). Nothing of this step was sent." in str(error.value)
    assert "smaller learning rate" in str(error.value)
    assert error.value.where["site"] == "site 0"


@pytest.mark.parametrize("secure", [True, False])
def test_a_study_that_diverges_says_so(secure: bool) -> None:
    """Catches a bound of masks, or of the gate, in the place of the sentence: a coordinator reads
    the code, the hospital's log what to do."""
    rate = 1e15 if secure else 1e39  # beyond the bound of masks; beyond float32
    in_32_bits = dict.fromkeys(("precision", "transfer"), "float32")
    study = replace(
        case("deepcombat", n=(9, 12, 8), p=4, covariates=("age",)),
        options={"learning_rate": rate},
        train={"preset": "tiny", "mode": "local", "steps": 1, "local_steps": 1, **in_32_bits},
        secure=secure,
    )
    sites = Federation(study)
    with pytest.raises(QuorumError, match=TrainingError.code):
        sites.run()
    said = [str(error) for _, error in sites.errors]
    assert said
    assert all("Nothing of this step was sent" in text for text in said)
    assert all("smaller learning rate" in text for text in said)
    assert np.isnan(sites.values).all()


@pytest.mark.parametrize("rate", [0.001, 10.0])
def test_who_simulates_is_told_of_a_training_that_got_worse(rate: float) -> None:
    """Catches finite numbers of a diverged training that only a reader of its log would see."""
    study = replace(
        case("fed_combat", {"learning_rate": rate}, n=(30, 30, 30), p=6),
        train={"preset": "paper", "steps": 40, "validation": 0.2, "validate_every": 20},
    )
    values = np.empty_like(study.values)
    done = run_sites(
        study.study,
        study.tables(),
        sink_of=lambda site: lambda table, about: array_sink(table, values),
    )
    said = [text for site, text in done.warnings if not site]
    assert [text for text in said if "got worse: its validation" in text] == said
    assert len(said) == (rate == 10.0)
