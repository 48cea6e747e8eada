"""``motet report`` and ``motet evaluate`` on a study that was really run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from e2e.consortium import SITES, consortium, motet, refused, succeeded


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    judged = {"held_out": 0.3, "metrics": "summed"}
    scanners = {"birch": ("prisma", "signa")}
    study = consortium(folder, sites=SITES[:2], n=24, scanners=scanners, evaluation=judged)
    succeeded("simulate", study, "--out", folder / "out", "--reports", "now")
    return folder


def test_simulation_writes_both_reports(finished: Path) -> None:
    """Catches a study that ends without its reports, or site pages that are not shown."""
    text = (finished / "out/report.html").read_text()
    assert "This file shows people." in text
    assert "sub-birch" in text
    own = (finished / "out/sites/birch/report.html").read_text()
    assert "sub-birch" in own
    assert "sub-ash" not in own
    assert "signa" in own


def test_report_again(finished: Path) -> None:
    """Catches a report that is not the same when made again."""
    before = {p: p.read_bytes() for p in finished.rglob("report.html")}
    assert "Written:" in succeeded("report", finished / "out", "--site-pages", "shown")
    assert {p: p.read_bytes() for p in finished.rglob("report.html")} == before


@pytest.mark.usefixtures("undrawn")
def test_data_gone(finished: Path, tmp_path: Path) -> None:
    """Catches a report of a site made from other data, or lost where the data are gone; and people
    in a study report that is made without pages."""
    out = shutil.copytree(finished / "out", tmp_path / "out")
    path = out / "sites/ash/harmonized/dataset_description.json"
    path.write_text(path.read_text().replace("/data/ash", "/data/gone"))
    own = (out / "sites/ash/report.html").read_bytes()
    printed = succeeded("report", out)
    assert "site ash: its report was not made again" in printed
    assert (out / "sites/ash/report.html").read_bytes() == own
    assert "sub-" not in (out / "report.html").read_text()


def test_evaluate(finished: Path, tmp_path: Path) -> None:
    """Catches metrics that are printed from elsewhere than the study's files."""
    printed = succeeded("evaluate", finished / "out")
    assert "from sums alone" in printed
    assert "held out" in printed
    assert re.search(r"Site balanced accuracy", printed)
    refused(motet("evaluate", tmp_path), "run.json")
    refused(motet("report", tmp_path), "run.json")
