"""A study of images over real processes gives what the simulation gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from conformance.brains import write_brains
from deployment.federation import Federation
from e2e.consortium import succeeded
from motet.client.policy import OPEN
from motet.ledger import Ledger


@pytest.mark.long
def test_images_over_the_federation(tmp_path: Path) -> None:
    """Catches images that a site's worker does not open, or prepares or writes otherwise than a
    simulation."""
    pytest.importorskip("SimpleITK")
    sites = ("ash", "birch")
    for k, site in enumerate(sites):
        write_brains(tmp_path / "data" / site, batches={f"b{k}": 4, f"c{k}": 3}, seed=k)
    document = {
        "study": "brains",
        "method": "voxelwise_combat",
        "params": {"registered": True, "covariates": ["age"], "n4": True},
        "sites": {site: str(tmp_path / "data" / site) for site in sites},
        "evaluation": {"metrics": "summed"},
    }
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(document))
    succeeded("simulate", study, "--out", tmp_path / "simulated")
    federation = Federation(tmp_path)
    for site in sites:
        # Of two hospitals no sum can be masked.
        changes = {"policy": OPEN.model_dump(mode="json")}
        federation.add(site, tmp_path / "data" / site, changes=changes)
    try:
        federation.up()
        outcome = federation.finished(federation.order(study, tmp_path / "deployed"))
    finally:
        federation.down()
    assert outcome.get("missing") == {}, outcome
    for site in sites:
        home = federation.sites[site]
        assert Ledger(home.ledger, site=site).problems(key=home.settings.ledger_key) == []
        here = home.study("brains") / "harmonized"
        there = tmp_path / "simulated/sites" / site / "harmonized"
        files = sorted(p.relative_to(there) for p in there.rglob("*.nii.gz"))
        assert len(files) == 3 * 7  # image, brain, common voxels
        for file in files:
            assert (here / file).read_bytes() == (there / file).read_bytes(), file
        assert (here / "features.tsv").read_bytes() == (there / "features.tsv").read_bytes()
