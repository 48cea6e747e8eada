"""Pictures on the page of a site that has images."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest

from conformance.brains import opened, study_of, write_brains
from motet.report import site_images
from motet.simulation import simulate
from report.test_study_report import Page

pytest.importorskip("matplotlib")
PICTURE = re.compile(r'alt="Slices of (\S+): [^"]*" src="data:image/png;base64,([^"]+)"')


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    sites = {"ash": {"b0": 3, "b1": 2}, "birch": {"b2": 3}}
    paths = {
        site: write_brains(folder / site, batches=batches, seed=len(site))
        for site, batches in sites.items()
    }
    study = study_of("nyul", {}).model_copy(update={"sites": paths})
    simulate(study, out=folder / "out", reports="now")
    return folder / "out"


def test_slices_and_tissues_stay_at_the_site(out: Path) -> None:
    """Catches a page without pictures, people of another site, and pictures in what may be passed
    on without its sites' pages."""
    text = (out / "sites/ash/report.html").read_text()
    read = Page(text)
    assert read.open == []
    assert all(load.startswith("data:image/png;base64,") for load in read.loads if load[0] != "#")
    pictures = re.findall(
        r'<img class="slices" alt="([^"]+)" src="data:image/png;base64,([^"]+)"', text
    )
    assert len(pictures) == 4
    assert {alt.split()[2].rstrip(":") for alt, _ in pictures} == {
        "sub-b000",
        "sub-b001",
        "sub-b100",
        "sub-b101",
    }
    words = "".join(read.text)
    assert "sub-b2" not in words
    assert "Harmonized: histograms of the intensities of CSF, GM and WM by batch." in text
    from motet.report import write_study_report

    public = write_study_report(out, site_pages="left out").read_text()
    assert "<img" not in public
    words = re.sub(r"\s+", " ", "".join(Page(public).text))
    assert "T1w images of 3 batches" in words
    assert "Images were judged by" not in words  # the study has no metrics


def test_columns_are_before_after_and_difference(out: Path) -> None:
    """Catches columns that are changed round, and a window of each person's own."""
    from matplotlib.image import imread

    text = (out / "sites/ash/report.html").read_text()
    found = re.findall(r'alt="Slices of (\S+): [^"]*" src="data:image/png;base64,([^"]+)"', text)
    pixels = {
        who: imread(io.BytesIO(base64.b64decode(code)), format="png")[..., :3]
        for who, code in found
    }
    for image in pixels.values():
        third = image.shape[1] // 3
        assert (np.ptp(image[:, : 2 * third], axis=2) == 0).all()  # grey
        assert (np.ptp(image[:, 2 * third :], axis=2) > 0).any()  # coloured

    def brightness(who: str, column: int) -> float:
        third = pixels[who].shape[1] // 3
        part = pixels[who][:, column * third : (column + 1) * third, 0]
        return float(np.quantile(part[part > 0.05], 0.9))

    # The second scanner is brighter by a third, and no more after.
    assert brightness("sub-b100", 0) > 1.15 * brightness("sub-b000", 0)
    assert brightness("sub-b100", 1) == pytest.approx(brightness("sub-b000", 1), rel=0.08)


def test_large_images_are_small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a slice of 1 mm that is shown pixel by pixel, and voxels that are not cubes."""
    box = [slice(0, 200), slice(0, 240), slice(0, 20)]
    data = np.broadcast_to(np.arange(20.0), (200, 240, 20))
    axial = site_images._plane(data, 2, 10, box, (1.0, 1.0, 9.0))
    assert max(axial.shape) <= site_images.PIXELS
    assert (axial == 10).all()
    coronal = site_images._plane(data, 1, 10, box, (1.0, 1.0, 9.0))
    assert coronal.shape[0] / coronal.shape[1] == pytest.approx(180 / 200, abs=0.03)
    assert coronal[0, 0] > coronal[-1, 0]  # up is up


def test_a_change_of_units_moves_nobody(tmp_path: Path) -> None:
    """Catches a page that says people moved by dozens of standard deviations when intensities
    were divided by a number, and one that hides what else changed."""
    from motet.report.site_numbers import changes, in_units_of

    images = opened(write_brains(tmp_path, batches={"b0": 4, "b1": 4}), study_of("z_score", {}))
    raw = images.block(slice(None))
    scaled = raw.copy()
    of_intensity = np.array([not unit for unit in images.units])
    scaled[:, of_intensity] = raw[:, of_intensity] * 40 + 3
    found = changes(in_units_of(images, scaled), scaled)
    assert np.nanmax(found.of_person) < 1e-9
    scaled[0, of_intensity] += 400
    found = changes(in_units_of(images, scaled), scaled)
    assert found.of_person.argmax() == 0
    assert found.of_person[0] > 0.1
    volume = images.features.index("T1w_wm_volume")
    scaled[:, volume] *= 2
    assert changes(in_units_of(images, scaled), scaled).of_feature[volume] > 1


def test_each_contrast_has_units_of_its_own(tmp_path: Path) -> None:
    """Catches one line for T1w and T2w, beyond which units of one of them count as changes."""
    from motet.report.site_numbers import changes, in_units_of

    folder = write_brains(tmp_path, batches={"b0": 4, "b1": 4}, contrasts=("T1w", "T2w"))
    images = opened(folder, study_of("calamiti", {"planes": ["axial"]}))
    scaled = images.block(slice(None)).copy()
    for contrast, gain, shift in (("T1w", 40.0, 3.0), ("T2w", 0.1, -5.0)):
        own = [
            not unit and name.startswith(contrast)
            for name, unit in zip(images.features, images.units, strict=True)
        ]
        scaled[:, own] = gain * scaled[:, own] + shift
    assert np.nanmax(changes(in_units_of(images, scaled), scaled).of_person) < 1e-9
