"""A study of two contrasts is judged like one of one, contrast by contrast."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from conformance.brains import study_of, write_brains
from motet.report import write_study_report
from motet.simulation import simulate
from report.test_study_report import Page

pytest.importorskip("matplotlib")


def test_a_simulation_of_two_contrasts_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches pairs of images that the battery takes for one: with the defaults of a study file a
    simulation ended there, after its training. T2w that is written and not judged. And targets by
    names that the pooled control has no more: then nothing was said of a control, and a warning of
    batches that nobody wrote."""
    monkeypatch.setattr("motet.evaluation.battery.probes.TREES", 10)
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
    assert judged.features == 44
    images = ("site_accuracy_slices", "site_accuracy_distributions", "tissue_d", "image_")
    of_images = [one for one in judged.metrics if one.name.startswith(images)]
    names = [one.name for one in of_images]
    first = [name for name in names if not name.endswith("_T2w")]
    assert names == [*first, *(f"{name}_T2w" for name in first)]
    assert len(first) == 6
    for one in of_images:
        assert one.title.endswith("(T2w)" if one.name.endswith("_T2w") else "(T1w)")
        assert {"raw", "harmonized", "pooled"} <= set(one.readings)
        values = [reading.value for reading in one.readings.values() if reading.value is not None]
        assert np.isfinite(values).all()
    # Files of both are read back, and the controls' images come as pairs, too.
    for name in first:
        one, other = judged.metric(name).readings, judged.metric(f"{name}_T2w").readings
        assert all(one[v] != other[v] for v in ("harmonized", "pooled")), name
    text = write_study_report(tmp_path / "out", site_pages="left out").read_text()
    said = re.sub(r"\s+", " ", "".join(Page(text).text))
    assert "harmonized T1w and T2w images (judged by 22 measures each) with" in said
    assert "T1w and T2w images of 2 batches" in said
    assert "T1w and T2w images were judged by 22 measures of each" in said
    for title in ("As measured (T1w)", "Harmonized (T1w)", "As measured (T2w)", "Harmonized (T2w)"):
        assert f"{title}: distribution of intensities by batch" in text
