"""MISPEL over real processes: sealed units and travelers' sums come to what a simulation gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from conformance.brains import write_brains
from deployment.federation import Federation
from e2e.consortium import succeeded
from motet.client.policy import OPEN
from motet.ledger import Ledger
from motet.store import load_model

HUB = {"mode": "hub", "hub": "hub"}
SITES = {"mode": "sites", "travelers": ["T1", "T2"]}


@pytest.mark.long
@pytest.mark.parametrize(("params", "names"), [(HUB, ("ash", "hub")), (SITES, ("b0", "b1"))])
def test_mispel_over_the_federation(
    params: dict[str, Any], names: tuple[str, ...], tmp_path: Path
) -> None:
    """Catches what is sealed for, or summed by, processes that do not share memory, waits for its
    countersignature, and comes out otherwise than in a simulation."""
    for k, site in enumerate(names):
        batches = {"ash": 0, "b0": 0} if site == "hub" else {site: 2}
        travelers = () if site == "ash" else ("T1", "T2")
        write_brains(tmp_path / "data" / site, batches=batches, seed=k, travelers=travelers)
    document = {
        "study": "units",
        "method": "mispel",
        "params": {"registered": True, **params},
        "train": {"preset": "tiny"},
        "sites": {site: str(tmp_path / "data" / site) for site in names},
        "evaluation": {"metrics": "none"},
    }
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(document))
    succeeded("simulate", study, "--out", tmp_path / "simulated")
    federation = Federation(tmp_path)
    for site in names:
        changes = {"policy": OPEN.model_dump(mode="json")}
        federation.add(site, tmp_path / "data" / site, changes=changes)
    try:
        federation.up()
        outcome = federation.finished(federation.order(study, tmp_path / "deployed"))
    finally:
        federation.down()
    assert outcome.get("missing") == {}, outcome
    for site in names:
        home = federation.sites[site]
        assert Ledger(home.ledger, site=site).problems(key=home.settings.ledger_key) == []
        here, _, _ = load_model(home.study("units") / "model")
        there, _, _ = load_model(tmp_path / "simulated/sites" / site / "model")
        assert set(here) == set(there)
        for name, array in there.items():
            assert np.array_equal(here[name], array), name
