"""The tutorial's variants: four lines of YAML, and each does what the text beside it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.consortium import consortium, read_values, succeeded
from motet.report import write_study_report

TUTORIAL = Path(__file__).parents[2] / "docs/tutorial/three-scanners.md"
PART = TUTORIAL.read_text().split("## Three variants, four lines")[1]
BLOCKS = re.findall(r"```yaml\n(.*?)```", PART, flags=re.DOTALL)
NAMES = {"Guys": "ash", "HH": "birch"}


def run(block: str, folder: Path, *, metrics: str = "none") -> Path:
    """Plan and run a variant on a small consortium; the study's folder."""
    for there, here in NAMES.items():
        block = block.replace(there, here)
    changes = yaml.safe_load(block)
    asked = {"held_out": 0.2, "permutations": 20, "metrics": metrics}
    changes["evaluation"] = {**asked, **changes.get("evaluation", {})}
    study = consortium(folder, n=30, **changes)
    succeeded("plan", study)
    succeeded("simulate", study, "--out", folder / "out")
    return folder / "out"


def read(out: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / f"{name}.json").read_text())
    return document


def test_four_lines() -> None:
    """Catches a variant that takes more than the text promises."""
    assert len(BLOCKS) == 3
    assert sum(len(block.splitlines()) for block in BLOCKS) == 4


@pytest.mark.usefixtures("undrawn")
def test_no_covariates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches age and sex that are not judged because they are not kept, and a report that fails
    or does not show them."""
    pytest.importorskip("sklearn")
    monkeypatch.setattr("motet.evaluation.battery.probes.TREES", 20)
    monkeypatch.setattr("motet.evaluation.battery.batch_effect.NOISE", 400)
    out = run(BLOCKS[0], tmp_path, metrics="full")
    assert read(out, "plan")["schema"]["covariates"] == []
    page = write_study_report(out, site_pages="left out").read_text()
    judgements = read(out, "metrics")["judgements"]
    assert set(judgements) == {"sums", "simulation"}
    for source, judged in judgements.items():
        names = {metric["name"] for metric in judged["metrics"]}
        assert {"r2_age", "auc_sex", "effect_kept_age", "effect_kept_sex"} <= names
        assert f'id="{source}-r2_age"' in page
        assert f'id="{source}-auc_sex"' in page


def test_reference(tmp_path: Path) -> None:
    """Catches a reference that is changed, or others that are not."""
    out = run(BLOCKS[1], tmp_path)
    raw = read_values(tmp_path / "data/ash")
    values = read_values(out / "sites/ash/harmonized")
    assert values.to_numpy() == pytest.approx(raw.to_numpy())
    moved = read_values(out / "sites/birch/harmonized")
    assert abs(moved - read_values(tmp_path / "data/birch")).to_numpy().mean() > 0.01


def test_unseen(tmp_path: Path) -> None:
    """Catches a newcomer that takes part in the fit, or is not harmonized or judged."""
    out = run(BLOCKS[2], tmp_path, metrics="summed")
    record = read(out, "run")
    held_out = {batch["site"]: batch["held_out"] for batch in record["batches"]}
    roles = {batch["site"]: batch["role"] for batch in record["batches"]}
    assert roles == {"ash": "fit", "birch": "unseen", "cedar": "fit"}
    assert held_out["birch"] == 30
    judged = read(out, "metrics")["judgements"]["sums"]
    assert judged["n"] > held_out["ash"] + held_out["cedar"]  # newcomers are judged with the others
    judging = {phase["name"] for phase in read(out, "plan")["evaluation"]}
    sent = {entry["phase"] for entry in record["received"] if entry["site"] == "birch"}
    assert sent == {"schema", *judging}
    assert (out / "sites/birch/harmonized/features.tsv").is_file()
