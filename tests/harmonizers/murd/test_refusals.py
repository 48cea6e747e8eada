"""What people get wrong, and what they are told; and what they ask a finished model for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import APART, opened, run, sites, study_of, write_brains
from motet.agreement import agree
from motet.apply import apply_model
from motet.client.alone import _without_foreign_reference, fitted_alone
from motet.errors import DataError, DesignError, ModelError, StudyFileError, TrainingError
from motet.harmonizers.murd.params import MurdParams
from motet.params import parse_params
from motet.plan import model_document
from motet.registry import methods
from motet.simulation import simulate
from motet.store import save_model
from motet.training.options import TrainOptions

BATCHES = {"b0": 3, "b1": 3, "b2": 3}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_brains(tmp_path / "all", batches=BATCHES)


def study(**params: Any) -> Any:
    return study_of("murd", params)


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"to": "b9"}, StudyFileError, "'b9' is not among the batches"),
        ({"to": "mean"}, StudyFileError, "leave 'to' out: that is the mean of all"),
        ({"to": "b1=sub-1_T1w.nii.gz"}, StudyFileError, "motet apply --to BATCH=IMAGE"),
        ({"to": "b1=2"}, StudyFileError, r"to: b1, appearance: 2"),
        ({"pixels": 96}, DataError, "too small for networks"),
        ({"learning_rate": 1e30}, TrainingError, "no longer a finite number"),
        ({"pixels": 33}, StudyFileError, "multiple of 16"),
        ({"planes": []}, StudyFileError, "one or several of axial"),
    ],
    ids=str,
)
def test_bad_options(params: Any, error: Any, words: str, folder: Path) -> None:
    """Catches heads for nobody, a target that one site alone can read, brains of a few pixels in a
    large empty slice, and networks of NaN that are called finished."""
    asked = study(**params)
    with pytest.raises(error, match=words):
        parse_params(asked)
        run(asked, sites(opened(folder, asked), APART))


def test_an_interval_of_exchanges_in_exact_mode_is_refused() -> None:
    """Catches a study that says how often heads leave, where they leave in every step."""
    exact = {"preset": "tiny", "mode": "exact"}
    with pytest.raises(StudyFileError, match=r"adversary_steps: it has no effect.*mode: local"):
        parse_params(study(adversary_steps=5).model_copy(update={"train": exact}))
    with pytest.raises(ValueError, match=r"adversary_steps: it has no effect"):
        MurdParams(adversary_steps=5, train=TrainOptions(preset="paper"))
    made = MurdParams.model_validate({"train": exact})
    assert MurdParams.model_validate(made.model_dump()) == made


@pytest.mark.parametrize(
    ("adversary", "steps", "often"), [(10, 20, 10), (7, 20, 5), (5, 24, 4), (30, 20, 20)]
)
def test_heads_leave_as_seldom_as_fits(adversary: int, steps: int, often: int) -> None:
    """Catches exchanges in every step where an interval does not divide the other (7 and 20)."""
    asked = {"adversary_steps": adversary, "train": {"mode": "local", "local_steps": steps}}
    assert MurdParams.model_validate(asked).often == often


def test_an_interval_that_would_be_much_shorter_is_refused() -> None:
    """Catches ten times as many exchanges as were asked for, of which nobody is told."""
    asked = study(adversary_steps=10).model_copy(
        update={"train": {"preset": "small", "mode": "local", "local_steps": 23}}
    )
    with pytest.raises(StudyFileError, match=r"divided by 1 .*Take local_steps: 20, or") as raised:
        parse_params(asked)
    assert raised.value.where["key"] == "train.local_steps"


def test_compiling_is_refused() -> None:
    """Catches gradients of gradients that torch refuses in the middle of a run."""
    asked = study().model_copy(update={"train": {"preset": "tiny", "compile": True}})
    with pytest.raises(StudyFileError, match="gradients of gradients"):
        parse_params(asked)


def test_one_scanner_alone(folder: Path) -> None:
    asked = study()
    table = sites(opened(folder, asked), APART)["b0"]
    schema = agree([table.described])
    with pytest.raises(DesignError, match="the study has one"):
        fitted_alone(table, method=methods().get("murd"), params=parse_params(asked), schema=schema)


def test_no_brain_mask(folder: Path) -> None:
    """Catches heads and necks that are harmonized as brains."""
    next(folder.rglob("sub-b101_desc-brain_mask.nii.gz")).unlink()
    asked = study()
    with pytest.raises(DataError, match="no brain mask") as raised:
        run(asked, sites(opened(folder, asked), APART))
    assert raised.value.where["person"] == "sub-b101"


def test_too_few_slices_in_a_row(folder: Path) -> None:
    """Catches a slab of two slices, of which there is no slice with two neighbours."""
    for file in folder.rglob("sub-b1*.nii.gz"):
        image = nib.load(file)
        data = np.asarray(image.dataobj)[:, :, 6:8]
        nib.save(nib.Nifti1Image(data, image.affine), file)
    asked = study()
    with pytest.raises(DataError, match="three slices in a row"):
        run(asked, sites(opened(folder, asked), APART))


def test_a_site_alone_is_brought_to_its_own_mean(folder: Path) -> None:
    """Catches a control, each site by itself, that stops since the target is elsewhere."""
    asked = study(to="b1")
    images = opened(folder, asked)
    own = sites(images, {"b0": "x", "b1": "y", "b2": "x"})["x"]
    params = _without_foreign_reference(parse_params(asked), own)
    assert params.to is None
    _, shared, _ = fitted_alone(
        own, method=methods().get("murd"), params=params, schema=agree([own.described])
    )
    assert shared["networks.style_heads"].shape[0] == 2


def test_any_target_for_a_finished_model(folder: Path, tmp_path: Path) -> None:
    """Catches `--to` that changes nothing, appearances that are all one, a reference image without
    its own brightness or by another batch's head, and a target that is nobody's."""
    asked = study()
    result, _ = run(asked, sites(opened(folder, asked), {"b0": "b0", "b1": "b1", "b2": "b1"}))
    save_model(tmp_path / "shared", result.shared, model_document(result.plan))
    image = folder / "sub-b200" / "anat" / "sub-b200_T1w.nii.gz"

    def made(to: str, site: str = "new") -> np.ndarray:
        out = tmp_path / f"out {abs(hash(to))}"
        apply_model(tmp_path, folder, out, site=site, to=to, participants=["b000"])
        (file,) = out.rglob("sub-b000_desc-murd_T1w.nii.gz")
        like = nib.load(folder / "sub-b000" / "anat" / "sub-b000_T1w.nii.gz")
        assert np.array_equal(nib.load(file).affine, like.affine)
        assert nib.load(file).shape == like.shape
        return np.asarray(nib.load(file).dataobj)

    mask = nib.load(next(folder.rglob("sub-b000_desc-brain_mask.nii.gz"))).get_fdata() > 0
    own, b0, b2 = made(""), made("b0"), made("b1/b2")
    by_head = [made(f"{batch}={image}") for batch in ("b0", "b1/b2")]
    found = [own, b0, b2, *by_head, made("b0=1"), made("b0=2")]
    assert np.array_equal(made("b0=0"), b0)
    for k, one in enumerate(found):
        assert not any(np.array_equal(one, other) for other in found[:k])
    assert np.array_equal(made("mean"), own)
    assert b2[mask].mean() > 1.3 * b0[mask].mean()  # brighter by 1.7 / 1.0
    with pytest.raises(ModelError, match="Say whose scan the reference image is") as raised:
        made(str(image))
    assert f"BATCH={image}" in str(raised.value)
    with pytest.raises(ModelError, match="'x' is neither the number of an appearance"):
        made("b0=x")
    with pytest.raises(ModelError, match="the mean of all scanners is no scanner"):
        made(f"mean={image}")
    assert not np.array_equal(made("mean=2"), own)
    assert np.array_equal(made("mean=0"), own)
    with pytest.raises(StudyFileError, match="'b7' is neither among those of the study"):
        made("b7")
    with pytest.raises(StudyFileError, match="'b8' is neither among those of the study"):
        made(f"b8={image}")


def test_heads_of_a_site_that_the_study_lists_as_unseen(tmp_path: Path) -> None:
    """Catches a site's own model without heads that stands in the way of heads for it: a site that
    the study never met can be a target."""
    homes = {b: write_brains(tmp_path / b, batches={b: 3}) for b in ("b0", "b1")}
    homes["dogwood"] = write_brains(tmp_path / "dogwood", batches={"b2": 3})
    asked = study().model_copy(update={"sites": homes})
    unseen = asked.evaluation.model_copy(update={"unseen": ("dogwood",)})
    simulate(asked.model_copy(update={"evaluation": unseen}), out=tmp_path / "out", reports="later")
    made = []
    for to in ("dogwood", "b2", "mean"):
        into = tmp_path / f"to {to}"
        done = apply_model(tmp_path / "out", homes["dogwood"], into, site="dogwood", to=to)
        assert done.people == 3
        assert not any("is not a site of the study" in warning for warning in done.warnings)
        (file,) = into.rglob("sub-b200_desc-murd_T1w.nii.gz")
        made.append(np.asarray(nib.load(file).dataobj))
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_appearances_of_one_scanner(folder: Path) -> None:
    """Catches a parameter that nobody reads."""
    asked = study(to="b1")
    images = opened(folder, asked)
    tables = sites(images, APART)
    result, _ = run(asked, tables)
    method, known = methods().get("murd"), (result.shared, result.schema)

    def of(k: int) -> np.ndarray:
        params = result.plan.params.model_copy(update={"appearance": k})
        found = method.apply(params, tables["b0"], result.models["b0"], *known)
        return np.array(next(iter(found))[1])

    assert len({of(k).tobytes() for k in (0, 1, 2, 1)}) == 3
