"""The site report: its own people, batches and ledger, and nothing of anybody else."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from motet.ledger import Ledger
from motet.report import write_site_report
from motet.report.site_ledger import read_ledger
from motet.report.site_numbers import changes
from motet.training.log import LOG, write_log
from report.made_up import ABOUT, harmonized_of, site_table, write_site
from report.test_study_report import Page


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = site_table("curie & <Söhne>", name="sub-<&ü>")
    return write_site_report(
        write_site(tmp_path_factory.mktemp("site"), "curie & <Söhne>"),
        raw=table,
        harmonized=harmonized_of(table),
        fit=np.arange(len(table)) % 4 > 0,
        about=ABOUT,
        warnings=["Batch '<b>' has one person."],
    )


def test_says_that_it_stays(path: Path) -> None:
    """Catches a page that could be passed on by mistake, or that others on the machine can read."""
    text = path.read_text(encoding="utf-8")
    assert "This page stays at curie &amp; &lt;Söhne&gt;." in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_content(path: Path) -> None:
    """Catches a part that is missing, markup in a name, and another study's releases."""
    text = path.read_text(encoding="utf-8")
    read = Page(text)
    words = "".join(read.text)
    assert read.open == []
    assert all(load.startswith("#") for load in read.loads)
    assert len(set(read.ids)) == len(read.ids)
    assert "24 rows of 24 people in 2 batches; 18 rows were in the fit" in words
    assert "sub-<&ü>2" in words
    assert "Shifts of the batches, gamma*" in words
    assert "Densities of lh_" in text
    assert "cdcdcdcdcdcd" in words
    assert "not_ours" not in words
    assert "Batch '<b>' has one person." in words
    assert len(text.encode()) < 250_000


def test_numbers() -> None:
    """Catches changes that a plain computation does not give, and a missing value that spoils."""
    table = site_table("ash")
    after = harmonized_of(table)
    found = changes(table, after)
    sd = np.nanstd(table.values, axis=0)
    moved = (after - table.values) / sd
    np.testing.assert_allclose(found.of_feature, np.nanmean(np.abs(moved), axis=0))
    np.testing.assert_allclose(found.of_person, np.sqrt(np.nanmean(moved**2, axis=1)))
    signa = table.batch == "signa"
    z = (after[signa] - after[signa].mean(axis=0)) / after[signa].std(axis=0)
    np.testing.assert_allclose(found.far_out[signa], (np.abs(z) > 3).mean(axis=1))
    assert int(np.argmax(found.of_person)) == int(np.argmax(found.far_out)) == 2


def test_constant_feature_and_small_batch(tmp_path: Path) -> None:
    """Catches a division by zero, and one person judged against nobody."""
    table = site_table("ash", n=4)
    table.values[:, 3] = 1.0
    after = table.values.copy()
    found = changes(table, after)
    assert np.isnan(found.of_feature[3])
    assert np.isnan(found.far_out).all()
    path = write_site_report(
        tmp_path, raw=table, harmonized=after, fit=np.zeros(4, dtype=bool), about=ABOUT, warnings=[]
    )
    text = path.read_text(encoding="utf-8")
    assert "took no part in the fit" in text
    assert "Nothing left this hospital" in text


def test_releases_of_a_restarted_run(tmp_path: Path) -> None:
    """Catches bytes that left twice and count once, refusals that count as left, and other
    studies' releases."""
    folder = write_site(tmp_path, "ash")
    book = Ledger(folder / "ledger.sqlite", site="ash")
    for entry in list(book.entries())[:2]:
        book.append(entry.body)
    book.append({"kind": "refusal", "study": "made-up", "phase": "moments", "why": ["few"]})
    found = read_ledger(book.path, study="made-up")
    assert [row[-1] for row in found.rows] == ["2", "2"]
    assert found.total == "640\u202fB"
    assert read_ledger(tmp_path / "none", study="made-up").rows == ()


def test_a_unit_that_was_sealed(tmp_path: Path) -> None:
    """Catches a site's page that calls what one hospital alone can open sent on as it is."""
    book = Ledger(tmp_path / "ledger.sqlite", site="ash")
    array = {"name": "unit.b", "dtype": "uint8", "shape": [24], "bytes": 24, "sha256": "ab" * 32}
    entry = {"study": "made-up", "phase": "units_of_birch", "class": "published"}
    book.append({"kind": "release", **entry, "circle": "cd" * 16, "arrays": [array]})
    found = read_ledger(book.path, study="made-up")
    assert [row[1] for row in found.rows] == ["sealed"]
    assert [name for name, _ in found.classes] == ["sealed"]


def test_losses_of_a_training_of_its_own(tmp_path: Path) -> None:
    """Catches a site that trains alone and whose page does not say how that went."""
    table = site_table("ash", n=6)
    where = {"phase": "embedding", "steps": 4}
    rows = [{**where, "exchange": k, "step": 2 * k + 2, "embedding.x": 1 - k / 2} for k in (0, 1)]
    for log in (rows, []):
        if log:
            write_log(tmp_path / LOG, log)
        else:
            (tmp_path / LOG).unlink()
        path = write_site_report(
            tmp_path,
            raw=table,
            harmonized=harmonized_of(table),
            fit=np.ones(6, dtype=bool),
            about=ABOUT,
            warnings=[],
        )
        text = path.read_text(encoding="utf-8")
        assert ("<h2>Training</h2>" in text) == bool(log)
        assert ("Losses of embedding" in text) == bool(log)
