"""What ``motet plan`` says of units that are trained at a hub."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from conformance.brains import write_brains
from conformance.travelers import SCANNERS
from e2e.consortium import succeeded


def test_a_plan_of_a_hub(tmp_path: Path) -> None:
    """Catches "0 B" where a hub sends units, two steps of one name, a leverage that is said of one
    scan, and sites that would refuse to send what they do not send."""
    for site in SCANNERS:
        write_brains(tmp_path / site, batches={site: 3}, travelers=())
    write_brains(tmp_path / "hub", batches=dict.fromkeys(SCANNERS, 0), travelers=("T1", "T2", "T3"))
    document = {
        "study": "brains",
        "method": "mispel",
        "params": {"mode": "hub", "hub": "hub", "registered": True},
        "train": {"preset": "tiny"},
        "sites": {site: site for site in (*SCANNERS, "hub")},
        "evaluation": {"metrics": "none"},
    }
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(document))
    printed = succeeded("plan", study)
    assert "At most 0 B" not in printed
    assert re.search(r"At most [1-9][\d.]* k?B from site hub alone", printed)
    steps = [line.split()[0] for line in printed.splitlines() if " Local" in line]
    assert sorted(steps) == ["decode", "embed", "harmonize"]
    refusals = [
        line for line in printed.partition("would refuse:\n")[2].splitlines() if line[:2] == "  "
    ]
    assert [line.split(":")[0].strip() for line in refusals] == ["hub"]
    assert "a person's rows add up to a leverage of 1.00" in refusals[0]
