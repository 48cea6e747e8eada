"""What cards claim of tissues, held against people of a phantom whom the fit did not see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import run, study_of
from e2e.consortium import succeeded
from motet.client.opening import open_site
from motet.cohort import in_fit
from motet.harmonizer import KEEPS, Card
from motet.images.images import Images
from motet.images.tissues import order_of, overlap, segment
from motet.params import parse_params
from motet.phantom.anatomy import Anatomy, coarser
from motet.phantom.consortium import UNITS, Consortium
from motet.phantom.scanner import Effect, scan
from motet.registry import methods

HELD_OUT, SEED = 0.55, 3
SHAPE, EDGE = (40, 46, 36), 4.0
"""Of the anatomy; images have voxels twice as long, mixed where tissues meet."""
OPTIONS: dict[str, dict[str, Any]] = {
    "functional_normalization": {"coverage": 0.9, "control_share": 0.7, "control_at_most": 300},
}
"""Fewer control voxels than the default; other methods have their defaults."""
IMAGES = [n for n in methods().names() if methods().get(n).card.data != "table"]
CLAIMED = [
    pytest.param(effect, registered, name, id=f"{effect}-{registered}-{name}")
    for effect in ("monotone", "tissue")
    for registered in (False, True)
    for name in IMAGES
    if methods().get(name).card.keeps_tissues(monotone=effect == "monotone", registered=registered)
    # One line for each image: two of the four say as much.
    and (methods().get(name).card.tissues != "always" or registered == (effect == "monotone"))
]


def anatomy() -> Anatomy:
    """Shells of WM, GM and CSF that are folded, a ventricle, and deep GM beside it."""
    places = [np.linspace(-1.15, 1.15, n) for n in SHAPE]
    x, y, z = np.meshgrid(*places, indexing="ij")
    angle = np.cos(7 * np.arctan2(y, x)) * np.cos(5 * z)
    radius = np.sqrt(x**2 + y**2 + z**2) + 0.05 * angle
    labels = np.select(
        [radius < 0.16, np.hypot(x - 0.3, y) + np.abs(z) < 0.2, radius < 0.66, radius < 0.88],
        [1, 4, 3, 2],
        np.where(radius < 1.0, 1, 0),
    )
    shares = np.stack([labels == tissue for tissue in (1, 2, 3, 4)]).astype(np.float32)
    return coarser(Anatomy(fractions=shares, affine=np.diag([EDGE, EDGE, EDGE, 1.0])), 2)


def dice(brain: np.ndarray, true: np.ndarray) -> float:
    found = overlap(segment(brain), segment(true), order=order_of("T1w"))
    return float(np.mean(list(found.values())))


@dataclass
class Judged:
    """A phantom; of everybody held out the Dice with the truth, of this scan and of another."""

    folder: Path
    sites: tuple[str, ...]
    truth: dict[str, np.ndarray]
    before: dict[str, float]
    margin: float


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Judged]:
    home = tmp_path_factory.mktemp("claims")
    return {
        (effect, registered): judged(home / f"{effect}-{registered}", effect, registered)
        for effect in ("monotone", "tissue")
        for registered in (False, True)
    }


def judged(folder: Path, effect: Effect, registered: bool) -> Judged:
    consortium = Consortium(
        anatomies=[anatomy()],
        source="shells",
        sites=3,
        people=5,
        travelers=0,
        effect=effect,
        bend=0.5 if registered else 4.0,
    )
    consortium.write(folder)
    truth, before, again = {}, {}, []
    for who in consortium.everybody():
        (site,) = who.sites
        if in_fit(np.array([who.name]), held_out=HELD_OUT, seed=SEED)[0]:
            continue

        def read(file: Path, name: str = who.name) -> np.ndarray:
            return np.asarray(nib.load(folder / file / f"{name}/anat/{name}_T1w.nii.gz").dataobj)

        mask = nib.load(folder / site / f"{who.name}/anat/{who.name}_desc-brain_mask.nii.gz")
        inside = np.asarray(mask.dataobj) > 0
        true = read(Path("truth") / consortium.names[0])[inside]
        by = consortium.scanner(site, "T1w", inside.shape)
        clean = (read(Path("truth") / site) / UNITS).astype(np.float32)
        second = scan(clean, by, seed=consortium.seed, name=who.name, contrast="T1w", visit=9)
        truth[who.name] = true
        before[who.name] = dice(read(Path(site))[inside].astype(float), true)
        again.append(dice(np.rint(second[inside] * UNITS).astype(float), true))
    margin = float(np.mean(np.abs(np.subtract(list(before.values()), again))))
    return Judged(folder, consortium.names, truth, before, margin)


def moved(phantom: Judged, name: str) -> np.ndarray:
    """Dice after a method less Dice before it, of everybody held out."""
    study = study_of(name, OPTIONS.get(name, {}), held_out=HELD_OUT)
    params = parse_params(study)
    tables = {s: open_site(phantom.folder / s, site=s, params=params) for s in phantom.sites}
    _, volumes = run(study, tables)
    found = []
    for table in tables.values():
        assert isinstance(table, Images)
        for row in range(len(table)):
            who = table.who(row)
            if who in phantom.before:
                brain = volumes[who][table.image(row).mask].astype(np.float64)
                found.append(dice(brain, phantom.truth[who]) - phantom.before[who])
    assert len(found) == len(phantom.before) >= 5
    return np.array(found)


@pytest.mark.parametrize(("effect", "registered", "name"), CLAIMED)
def test_claims_hold(
    effect: str, registered: bool, name: str, phantoms: dict[tuple[str, bool], Judged]
) -> None:
    """Catches a method that claims to keep tissues and takes images further from the truth's than
    a second scan of the same people would."""
    phantom = phantoms[effect, registered]
    found = moved(phantom, name)
    assert found.mean() >= -phantom.margin
    if methods().get(name).card.tissues == "always":  # a line for each image
        assert np.abs(found).max() <= 0.001


def test_destruction_is_seen(phantoms: dict[tuple[str, bool], Judged]) -> None:
    """Catches a check that nothing could fail: blur moves tissues by more than five scans do."""
    phantom = phantoms["monotone", False]
    assert moved(phantom, "blur").mean() < -5 * phantom.margin


def test_what_a_claim_covers() -> None:
    """Catches a claim that reaches beyond what a method asks of its images."""

    def card(**changed: Any) -> Card:
        about = {"title": "", "summary": "", "data": "images", "papers": (), "leaves": ""}
        return Card(**{**about, **changed})

    anywhere = [(m, r) for m in (True, False) for r in (True, False)]
    covered = {
        kind: [
            c for c in anywhere if card(tissues=kind).keeps_tissues(monotone=c[0], registered=c[1])
        ]
        for kind in KEEPS
    }
    assert covered == {
        "always": anywhere,
        "monotone": [(True, True), (True, False)],
        "registered": [(True, True), (False, True)],
        "never": [],
    }
    template = card(tissues="monotone", data="registered images")
    assert template.keeps_tissues(monotone=True, registered=True)
    assert not template.keeps_tissues(monotone=True, registered=False)
    assert not card().keeps_tissues(monotone=True, registered=True)


def test_a_method_says_so() -> None:
    """Catches a claim that nobody can read, and one made of tables, which have no tissues."""
    assert KEEPS["monotone"] in " ".join(succeeded("methods", "nyul").split())
    assert KEEPS["never"] in " ".join(succeeded("methods", "ravel").split())
    assert "tissues:" not in succeeded("methods", "combat")
