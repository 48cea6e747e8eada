"""A study report says what noise covers, how much there was, and what it does not cover."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from motet.ledger import Ledger
from motet.report import write_study_report
from motet.report.methods_text import methods_text
from motet.report.privacy import in_methods, privacy
from motet.report.read import read_study
from motet.report.site_ledger import read_ledger
from motet.store import load_model, save_model
from report.made_up import write_study

SAID = {
    "unit": "person",
    "epsilon": 3.0,
    "delta": 1e-5,
    "clip": 0.5,
    "accountant": "RDP (Opacus)",
    "covers": ["cvae"],
    "not_covered": ["schema", "mean", "residuals"],
}
RUN = {"cvae.noise_multiplier": 2.345678, "cvae.rate": 0.05, "cvae.steps": 800.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_study(tmp_path, plan={"privacy": SAID})
    shared = load_model(tmp_path / "shared")[0]
    noise = {name: np.asarray(value) for name, value in RUN.items()}
    save_model(tmp_path / "shared", {**shared, **noise}, {"study": "made-up"})
    return tmp_path


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_all_of_it(folder: Path) -> None:
    """Catches a report without noise, rate, steps or accountant, or with more than is covered."""
    page = re.sub(r"\s+", " ", write_study_report(folder, site_pages="left out").read_text())
    for words in (
        "the ceiling; trained without noise",
        "Differential privacy covers: cvae.",
        "(3, 1e-05)-differentially private",
        "gradient is clipped to 0.5",
        "Noise of each site: 2.35 times the clip",
        "the probability 0.05 in each of 800 steps; epsilon by RDP (Opacus)",
        "Not covered: schema, mean, residuals.",
        "study as a whole is not differentially private",
        "All else (schema, mean, residuals) was released without noise and is not covered.",
    ):
        assert words in page, words


def test_the_hospitals_own_page_says_what_was_charged(tmp_path: Path) -> None:
    """Catches a charge that the hospital finds in no page of its own, and one of another study."""
    book = Ledger(tmp_path / "ledger.sqlite", site="ash")
    for study in ("made-up", "another"):
        book.append({"kind": "charge", "study": study, "plan": "", "phase": "cvae", **SAID})
    covered, exact = read_ledger(book.path, study="made-up").charges
    assert covered.startswith("Differential privacy covers: cvae.")
    assert exact.startswith("Not covered: schema, mean, residuals.")


def test_a_study_without_noise_says_nothing_of_it(folder: Path) -> None:
    """Catches a sentence of noise that nobody asked for, and one of numbers that are not there."""
    study = read_study(folder)
    assert "0.05 in each of 800 steps" in methods_text(study, None).paragraph
    bare = replace(study, shared={})
    assert len(privacy(bare)) == len(privacy(study)) - 1
    assert "epsilon 3" in in_methods(bare)
    plain = replace(study, plan={k: v for k, v in study.plan.items() if k != "privacy"})
    assert privacy(plain) == ()
    assert "differential" not in methods_text(plain, None).paragraph
