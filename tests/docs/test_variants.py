"""The tutorial's variants: four lines of YAML, and each does what the text beside it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.consortium import consortium, read_values, succeeded

TUTORIAL = Path(__file__).parents[2] / "docs/tutorial/three-scanners.md"
PART = TUTORIAL.read_text().split("## Three variants, four lines")[1]
BLOCKS = re.findall(r"```yaml\n(.*?)```", PART, flags=re.DOTALL)
NAMES = {"Guys": "ash", "HH": "birch"}


def run(block: str, folder: Path) -> dict[str, Any]:
    """Run a variant on a small consortium; its metrics."""
    for there, here in NAMES.items():
        block = block.replace(there, here)
    changes = yaml.safe_load(block)
    changes["evaluation"] = {"held_out": 0.2, **changes.get("evaluation", {}), "metrics": "summed"}
    study = consortium(folder, n=30, **changes)
    succeeded("simulate", study, "--out", folder / "out")
    found: dict[str, Any] = json.loads((folder / "out/metrics.json").read_text())["judgements"]
    return found["sums"]


def names(judged: dict[str, Any]) -> set[str]:
    return {metric["name"] for metric in judged["metrics"]}


def test_four_lines() -> None:
    """Catches a variant that takes more than the text promises."""
    assert len(BLOCKS) == 3
    assert sum(len(block.splitlines()) for block in BLOCKS) == 4


def test_no_covariates(tmp_path: Path) -> None:
    """Catches age and sex that are not judged because they are not kept."""
    assert {"r2_age", "effect_kept_age"} <= names(run(BLOCKS[0], tmp_path))
    plan = json.loads((tmp_path / "out/plan.json").read_text())
    assert plan["schema"]["covariates"] == []


def test_reference(tmp_path: Path) -> None:
    """Catches a reference that is changed."""
    run(BLOCKS[1], tmp_path)
    raw = read_values(tmp_path / "data/ash")
    values = read_values(tmp_path / "out/sites/ash/harmonized")
    assert values.to_numpy() == pytest.approx(raw.to_numpy())
    moved = read_values(tmp_path / "out/sites/birch/harmonized")
    assert abs(moved - read_values(tmp_path / "data/birch")).to_numpy().mean() > 0.01


def test_unseen(tmp_path: Path) -> None:
    """Catches a newcomer that takes part in the fit, or is not harmonized or judged."""
    judged = run(BLOCKS[2], tmp_path)
    run_file = json.loads((tmp_path / "out/run.json").read_text())
    roles = {batch["site"]: batch["role"] for batch in run_file["batches"]}
    assert roles == {"ash": "fit", "birch": "unseen", "cedar": "fit"}
    assert judged["n"] > 12  # those held out of the fit, and newcomers
    assert (tmp_path / "out/sites/birch/harmonized/features.tsv").is_file()
