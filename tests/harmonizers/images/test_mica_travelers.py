"""Who travels for MICA, and who has to have agreed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.brains import opened, run, sites, study_of, write_brains
from motet.bids.table import Table
from motet.errors import DataError

BATCHES = {"b0": 4, "b1": 4}
TO_B0 = {"to": "b0", "travelers": ["T1"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_brains(tmp_path_factory.mktemp("brains"), batches=BATCHES)


def consortium(folder: Path, **changes: dict[str, Any]) -> dict[str, Table]:
    """Two sites with one traveler, who agreed; some of it changed."""
    made = {}
    images = opened(folder, study_of("mica", TO_B0))
    for site, table in sites(images, {b: b for b in BATCHES}).items():
        known = {"travelers": {"T1": str(table.people[0])}, "consented": frozenset({"T1"})}
        made[site] = replace(table, **{**known, **changes.get(site, {})})
    return made


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"b0": {"consented": frozenset()}}, "'T1' has not agreed .* travelers.tsv: a column"),
        ({"b0": {"travelers": {}}}, "'T1' is not known here"),
        ({"b0": {"travelers": {"T1": "sub-b099"}}}, r"'T1' \(sub-b099\) has no image"),
        ({"b1": {"travelers": {}}}, "No traveler was scanned in batch 'b1'"),
    ],
    ids=["no consent", "unknown at the target", "no scan at the target", "none at a site"],
)
def test_refused(changes: dict[str, Any], words: str, folder: Path) -> None:
    """Catches a scan that leaves without the person's word, and a site that is harmonized without
    a way to the target."""
    with pytest.raises(DataError, match=words) as caught:
        run(study_of("mica", TO_B0), consortium(folder, **changes))
    assert caught.value.where["site"] == next(iter(changes))


def test_a_site_that_publishes_nothing_needs_no_consent(folder: Path) -> None:
    """Catches a consent that is asked for what never leaves."""
    result, volumes = run(
        study_of("mica", TO_B0), consortium(folder, b1={"consented": frozenset()})
    )
    assert set(result.shared) == {"traveler/T1"}
    assert len(volumes) == sum(BATCHES.values())
