"""What people read of a private study: plan, preview, statement, ledger."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from e2e.consortium import SITES, consortium, motet, refused, succeeded
from motet.client.home import open_home
from motet.config import load_study
from motet.ledger import Ledger
from motet.plan import build_plan
from motet.simulation import agreed, open_sites

DP = {"epsilon": 3.0, "delta": 1.0e-3, "clip": 1.0}
TRAIN = {"preset": "tiny", "mode": "exact", "batch": 20}
COVERED, EXACT = "covers: cvae", "Not covered: schema, mean, spread, latents, residuals"


def said(text: str) -> str:
    """Words as they are read, wherever lines are broken."""
    return re.sub(r"\s+", " ", text)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return consortium(
        tmp_path_factory.mktemp("private"), method="deepcombat", train=TRAIN, privacy={"dp": DP}
    )


def test_plan_preview_and_statement(study: Path, tmp_path: Path) -> None:
    """Catches a page that calls a study private without saying what is not covered, or does not
    say what the hospital has left."""
    for words in (COVERED, EXACT, "(3, 0.001)-differentially private", "with noise"):
        assert words in said(succeeded("plan", study))
    succeeded("server", "init", tmp_path / "coordinator")
    home = tmp_path / "site"
    succeeded(
        *("site", "init", home, "--name", SITES[0], "--data", study.parent / "data" / SITES[0]),
        *("--coordinator", tmp_path / "coordinator/coordinator.yaml"),
    )
    settings = yaml.safe_load((home / "site.yaml").read_text())
    (home / "site.yaml").write_text(yaml.safe_dump({**settings, "policy": {"epsilon": 4.0}}))
    asked = load_study(study)
    plan = build_plan(asked, agreed(asked, open_sites(asked)))
    open_home(home).pending.keep(plan, asked.public())
    shown = said(succeeded("site", "preview", home, plan.hash))
    for words in (COVERED, EXACT, "This site's budget: epsilon 4 of 4 is left."):
        assert words in shown
    assert "of its life" not in shown
    charge = {"kind": "charge", "plan": "", "phase": "cvae", "cohort": "", "study": "before"}
    book = Ledger(home / "ledger.sqlite", site=SITES[0])
    book.append({**charge, **DP, "covers": ["cvae"], "not_covered": ["mean"], "unit": "person"})
    shown = said(succeeded("site", "preview", home, plan.hash))
    assert "epsilon 3 more than the 3 that is spent would be more than the 4 of its life" in shown
    file = tmp_path / "statement.md"
    succeeded("site", "statement", home, plan.hash, "--out", file)
    text = said(file.read_text())
    for words in (COVERED, EXACT, "own budget, epsilon 1 of 4 is left"):
        assert words in text
    assert "No noise is added" not in text
    ledger = said(succeeded("site", "ledger", "show", home))
    assert "charge" in ledger
    assert "epsilon 3.0" in ledger


def test_local_mode_is_refused(study: Path, tmp_path: Path) -> None:
    """Catches a refusal that does not name the file, the key and what to set."""
    document = yaml.safe_load(study.read_text())
    file = study.with_name("local.yaml")
    file.write_text(yaml.safe_dump({**document, "train": {**TRAIN, "mode": "local"}}))
    refused(motet("plan", file), "local.yaml", "privacy.dp", "mode: exact")
