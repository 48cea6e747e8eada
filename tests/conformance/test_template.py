"""The folder that people copy to add a method has to work as it stands."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.cases import case
from conformance.federation import Federation
from motet.harmonizers._template import HARMONIZER
from motet.registry import Registry, methods


def test_template_runs_and_does_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a template that the kernel has left behind: everybody's first method would fail."""
    made = case(n=(12, 15, 9), p=4, covariates=())
    federation = Federation(made)
    registry = Registry()
    registry.register(HARMONIZER)
    monkeypatch.setattr("motet.registry.methods", lambda: registry)
    federation.study = federation.study.model_copy(
        update={"method": "template", "params": {"strength": 1.0}}
    )
    outcome = federation.run()
    np.testing.assert_allclose(outcome.shared["mean"], made.values.mean(axis=0), rtol=1e-12)
    for site, worker in federation.workers.items():
        assert worker.model is not None
        table = federation.tables[site]
        blocks = HARMONIZER.apply(
            outcome.plan.params, table, worker.model, outcome.shared, outcome.plan.schema
        )
        values = np.vstack([block for _, block in blocks])
        np.testing.assert_allclose(values.mean(axis=0), outcome.shared["mean"], rtol=1e-9)


def test_template_itself_is_not_offered() -> None:
    """Catches an example that somebody runs a study with."""
    assert "template" not in methods().names()
