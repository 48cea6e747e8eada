"""A study of two contrasts is judged like one of one: by the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conformance.brains import study_of, write_brains
from motet.simulation import simulate


def test_a_simulation_of_two_contrasts_is_judged(tmp_path: Path) -> None:
    """Catches pairs of images that the battery takes for one: with the defaults of a study file a
    simulation ended there, after its training. And targets by names that the pooled control has no
    more: then nothing was said of a control, and a warning of batches that nobody wrote."""
    options = {"planes": ["axial"], "to": "b0", "targets": ["birch/b1"]}
    study = study_of("calamiti", options, metrics="full", permutations=20)
    sites = {}
    for k, (site, batches) in enumerate({"ash": {"b0": 5}, "birch": {"b1": 5}}.items()):
        sites[site] = write_brains(
            tmp_path / site, batches=batches, seed=k, contrasts=("T1w", "T2w")
        )
    result = simulate(
        study.model_copy(update={"sites": sites}), out=tmp_path / "out", reports="later"
    )
    assert "simulation" in result.judgements, result.warnings
    judged = result.judgements["simulation"]
    probe = next(one for one in judged.metrics if "distributions" in one.name)
    assert {"raw", "harmonized", "pooled"} <= set(probe.readings)
    values = [reading.value for reading in probe.readings.values() if reading.value is not None]
    assert np.isfinite(values).all()
