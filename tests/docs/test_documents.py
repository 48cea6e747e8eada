"""What the documents say has to be so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from e2e.consortium import pooled_table, succeeded
from motet.errors import known_codes

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Catches a link to a page that was moved, and a place that was to be filled in."""
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / target).exists(), target
    assert not re.search(r"@[A-Z]+@|TODO|TBD|FIGURE", text)


def test_readme_names_tests_that_exist() -> None:
    """Catches a figure whose test was renamed or removed."""
    named = re.findall(r"`((?:tests|benchmarks)/[^`]*)`", (ROOT / "README.md").read_text())
    assert len(named) >= 5
    for name in named:
        assert (ROOT / name).exists(), name


def test_every_code_is_explained() -> None:
    """Catches a code that a coordinator reads and finds nowhere."""
    text = (ROOT / "docs/reference/codes.md").read_text()
    own = {"not-connected", "silent", "timeout", "site-name", "invalid-reply", "stale"}
    assert not [code for code in sorted(known_codes() | own) if f"`{code}`" not in text]


def test_tutorial_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a tutorial that was written once and never run again, other options included."""
    monkeypatch.chdir(tmp_path)
    pooled_table(tmp_path / "pooled.csv")
    printed = succeeded(
        *("split", "pooled.csv", "--by", "hospital", "--covariates", "age,sex", "--out", "data")
    )
    study = yaml.safe_load(printed[printed.index("study:") :])
    study["evaluation"] = {"held_out": 0.2, "metrics": "none"}
    sites = sorted(study["sites"])
    text = (ROOT / "docs/tutorial/three-scanners.md").read_text()
    rows = re.findall(r"^\| .* \| `(.*)` \|$", text, flags=re.MULTILINE)
    assert len(rows) >= 5
    for i, row in enumerate(rows):
        change = yaml.safe_load(row)
        if "reference" in change:
            change = {"reference": sites[0]}
        elif "feature_groups" in change:
            change = {"feature_groups": {"all": ["*"]}}
        elif change.get("covariates"):
            change = {"covariates": {"age": "continuous", "sex": "categorical"}}
        params = {**study["params"], **change}
        Path("study.yaml").write_text(yaml.safe_dump({**study, "params": params}))
        succeeded("plan", "study.yaml")
        succeeded("simulate", "study.yaml", "--out", f"study{i}")
    succeeded(
        "apply", "--model", "study0", "--site", sites[0], f"data/{sites[0]}", "new", "participant"
    )
