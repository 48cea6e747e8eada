"""A training that diverges in its last step before an exchange, when all losses were numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from conformance.federation import Federation
from motet.errors import QuorumError, TrainingError
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
