"""What pages say of a trained model: styles in the study's, a person only in the site's own."""

from __future__ import annotations

import re
import stat
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from conformance.brains import study_of, write_brains
from motet.client.targets import _targets
from motet.registry import methods
from motet.report import write_study_report
from motet.report.target_file import FILE, MEASURED, SPACING, member
from motet.schema import Batch, Schema
from motet.simulation import simulate
from motet.site_reports import remake_site_reports
from motet.store import load_model, read_arrays
from report.test_study_report import Page

pytest.importorskip("matplotlib")
TARGETS = [MEASURED, "b0", "b1", "mean of all"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calamiti")
    study = study_of(
        "calamiti", {"planes": ["axial"], "to": "b0", "targets": ["b1"], "style_steps": 2}
    )
    sites = {}
    for k, (site, batches) in enumerate({"ash": {"b0": 2}, "birch": {"b1": 2}}.items()):
        sites[site] = write_brains(folder / site, batches=batches, seed=k, contrasts=("T1w", "T2w"))
    simulate(study.model_copy(update={"sites": sites}), out=folder / "out", reports="now")
    return folder / "out"


def words(text: str) -> str:
    return re.sub(r"\s+", " ", "".join(Page(text).text))


def test_the_study_tells_of_styles_and_shows_nobody(out: Path) -> None:
    """Catches a report that keeps quiet about what stood for VGG's features, codes of one scanner
    under another's name, and anatomy in what may be passed on."""
    page = write_study_report(out, site_pages="left out").read_text()
    said = words(page)
    assert "differences of neighbouring pixels (L1) stand for its features" in said
    assert "4 channels, one-hot; no anatomy code leaves a hospital" in said
    assert re.search(r"everybody is brought to\s*b0\b", said)
    assert (
        "fitted to about 16 slices of their own people where that is nearer than the mean" in said
    )
    assert "arrays from 2\N{NO-BREAK SPACE}hospitals" in "".join(Page(page).text)
    assert "Style codes, T2w: a line each of mean of everybody, birch/b1, ash/b0" in page
    assert "<img" not in page
    assert "sub-" not in said
    shared, _, _ = load_model(out / "shared")
    row = re.search(r"Intensity of white matter.*?>ash/b0<.*?<td[^>]*>([0-9.]+)<", page, re.DOTALL)
    assert row is not None
    # Targets are b1, and then b0, to which everybody is brought.
    assert float(row[1]) == pytest.approx(shared["white.1"][0], rel=0.01)


def test_a_site_sees_one_person_at_every_target(out: Path) -> None:
    """Catches pictures that are all of one target, without the second contrast, of another site's
    person, or that anybody on the machine can read."""
    home = out / "sites" / "birch"
    arrays = read_arrays(home / FILE)
    assert set(arrays) == {SPACING, *(member(k, name) for k, name in enumerate(TARGETS))}
    assert stat.S_IMODE((home / FILE).stat().st_mode) == 0o600
    slices = [arrays[member(k, name)] for k, name in enumerate(TARGETS)]
    for one, other in pairwise(slices):
        assert one.shape == other.shape
        assert len(one) == 2
        assert np.array_equal(np.isnan(one), np.isnan(other))
        assert not np.allclose(one, other, equal_nan=True)
    page = (home / "report.html").read_text()
    shown = re.findall(r'alt="One person\'s slices: ([^"]+)\."', page.replace("&#39;", "'"))
    assert shown == TARGETS
    assert "sub-b0" not in page


def test_a_site_sees_both_contrasts_before_and_after(out: Path) -> None:
    """Catches T2w that nobody looks at, pictures of T1w under its name, and a caption that leaves
    open which of them is shown."""
    page = (out / "sites" / "birch" / "report.html").read_text()
    shown = re.findall(r'alt="Slices of sub-b10(\d) \((T\dw)\):[^"]*" src="([^"]+)"', page)
    assert [one[:2] for one in shown] == [("0", "T1w"), ("1", "T1w"), ("0", "T2w"), ("1", "T2w")]
    assert len({picture for *_, picture in shown}) == 4
    assert "<figcaption>sub-b100, b1 (T2w)</figcaption>" in page
    assert "one window before and one after in each contrast" in page
    for contrast in ("T1w", "T2w"):
        for version in ("As measured", "Harmonized"):
            assert f"{version} ({contrast}): histograms of the intensities" in page


def test_the_page_can_be_made_again(out: Path) -> None:
    """Catches pictures that are there the first time only."""
    page = out / "sites" / "ash" / "report.html"
    before = page.read_text()
    page.unlink()
    assert remake_site_reports(out) == {}
    assert page.read_text() == before
    assert "mean of all" in before


def test_every_batch_is_a_target_of_a_method_that_names_none() -> None:
    """Catches a page that promises every target and shows the study's own alone, or one of them
    twice under two names, and a batch called by its site's name."""
    schema = Schema(
        features=("x",),
        units=("",),
        covariates=(),
        batches=tuple(Batch(site, name) for site, name in (("ash", "b0"), ("birch", "b1"))),
    )
    murd = methods().get("murd").params_type.model_validate({"to": "b1"})
    assert _targets(murd, schema) == ["b1", "ash/b0", None]
    chosen = methods().get("calamiti").params_type.model_validate({"targets": ["b1"]})
    assert _targets(chosen, schema) == [None, "b1"]
    assert member(2, "ash/b0") == "2.b0 of ash"
