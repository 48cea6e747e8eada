"""What people get wrong, and what they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import AFFINE, opened, run, study_of, write_brains
from conformance.travelers import SCANNERS, SITES, TRAVELERS, at_hub, images_of, in_pairs, own
from motet.agreement import agree
from motet.apply import apply_model
from motet.bids.table import Table
from motet.client.apply import harmonized
from motet.client.gate import Gate
from motet.client.permission import Permission
from motet.client.policy import SitePolicy
from motet.cohort import seen_by_fit
from motet.errors import (
    DataError,
    DesignError,
    ModelError,
    PolicyError,
    SchemaError,
    StudyFileError,
    TrainingError,
)
from motet.harmonizers.mispel.training import Training
from motet.images.images import Images
from motet.params import parse_params
from motet.phases import Publish, walk
from motet.plan import build_plan, model_document
from motet.registry import methods
from motet.sites import open_sites
from motet.store import save_model

HUB = {"mode": "hub", "hub": "hub"}
Tables = Callable[[Images], dict[str, Table]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("brains")
    return write_brains(made, batches=dict.fromkeys(SCANNERS, 1), travelers=TRAVELERS)


@pytest.fixture(scope="module")
def images(folder: Path) -> Images:
    return images_of(folder)


def but(where: Tables, site: str, **changes: Any) -> Tables:
    """The sites, one of them changed; without a change it is left out."""

    def made(images: Images) -> dict[str, Table]:
        tables = where(images)
        if not changes:
            return {name: table for name, table in tables.items() if name != site}
        return {**tables, site: replace(tables[site], **changes)}

    return made


def without(where: Tables, site: str, person: str, batch: str = "") -> Tables:
    """The sites, one of them without a person's scan."""

    def made(images: Images) -> dict[str, Table]:
        tables = where(images)
        lost = tables[site].people == person
        if batch:
            lost &= tables[site].batch == batch
        return {**tables, site: tables[site].where(~lost)}

    return made


@pytest.mark.parametrize(
    ("options", "where", "error", "words"),
    [
        ({"mode": "hub"}, own, StudyFileError, "does not say which site holds"),
        ({"mode": "hub", "hub": "hup"}, at_hub, StudyFileError, "'hup' is not a site.*'hub'"),
        (HUB, but(at_hub, "hub"), StudyFileError, "'hub' is not a site"),
        ({"mode": "hub", "hub": "b1"}, own, DesignError, "'b1' has scans of b1. MISPEL learns"),
        ({"mode": "sites"}, own, StudyFileError, "names no traveler"),
        (SITES, but(own, "b1", consented=frozenset({"T1"})), DesignError, "'T2' is missing at b1"),
        (SITES, but(own, "b2", travelers={}), DesignError, "'T1' is missing at b2"),
        (SITES, without(own, "b1", "sub-T2"), DataError, r"'T2' \(sub-T2\) has no image here"),
        (HUB, without(at_hub, "hub", "sub-T2", "b1"), DataError, "'T2' has no image of scanner b1"),
        ({"mode": "pairs", "hub": "hub"}, at_hub, DesignError, "one scanner of its own; it has no"),
        (
            {"mode": "pairs", "hub": "ref"},
            without(in_pairs, "ref", "sub-T2", "b2"),
            DesignError,
            "'ref' has no scans of travelers on the scanner of b2",
        ),
    ],
)
def test_refused(
    options: dict[str, Any],
    where: Tables,
    error: type[Exception],
    words: str,
    images: Images,
) -> None:
    """Catches a scanner that is given no unit without a word, or another's."""
    tables = where(images)
    if "ref" in tables:
        tables["ref"] = tables["ref"].as_site("ref")
    with pytest.raises(error, match=words):
        run(study_of("mispel", options), tables)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({**SITES, "to": "b0"}, "MISPEL has no target"),
        ({"mode": "sites", "travelers": ["T1", "T1"]}, "named twice"),
        ({"mode": "sites", "travelers": "T1"}, r"a list of keys, also of one: \[T1\]"),
        ({"mode": "sites", "hub": "b0"}, r"params\.hub: .* mode is sites. Take 'hub' out"),
        ({**HUB, "stride": 2}, r"params\.stride: .* mode is hub. Take 'stride' out"),
        ({**SITES, "slices": [9, 3]}, r"the first, 9, comes after the last, 3.*\[3, 9\]"),
        ({**SITES, "slices": [-1, 3]}, "counted from 0, and the first is -1"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyFileError, match=words):
        parse_params(study_of("mispel", options))


def test_nobody_of_a_hub_is_held_out_unless_some_are_named(images: Images) -> None:
    """Catches travelers whom a hub is there for, and whom the draw of who is held out takes."""
    hub = at_hub(images)["hub"]
    everybody = parse_params(study_of("mispel", HUB))
    some = parse_params(study_of("mispel", {**HUB, "travelers": ["T1"]}))
    sites = parse_params(study_of("mispel", SITES))

    def seen(params: Any) -> np.ndarray:
        return seen_by_fit(hub, held_out=0.999999, seed=1, params=params)

    assert seen(everybody).all()
    assert set(hub.people[seen(some)]) == {hub.travelers["T1"]}
    assert not seen(None).any()
    other = own(images)["b0"]
    assert not seen_by_fit(other, held_out=0.999999, seed=1, params=everybody).any()
    assert set(hub.people[seen(sites)]) == {hub.travelers[key] for key in TRAVELERS}


def test_a_hub_without_the_named_travelers_is_refused_before_anything_runs(
    folder: Path, tmp_path: Path
) -> None:
    """Catches a plan of travelers whom nobody knows, and a file that is blamed and is not there."""
    homes = {"hub": folder, "b0": write_brains(tmp_path / "b0", batches={"b0": 1})}
    asked = study_of("mispel", {**HUB, "travelers": ["T1", "T7"]})
    with pytest.raises(DataError, match=r"traveler 'T7' at 'hub', whom the file does not list"):
        open_sites(asked.model_copy(update={"sites": homes}))


@pytest.mark.parametrize("options", [SITES, HUB, {"mode": "pairs", "hub": "hub"}], ids=str)
def test_options_can_be_read_back(options: dict[str, Any]) -> None:
    """Catches defaults of another mode that count as written, where parameters are complete."""
    params = parse_params(study_of("mispel", options))
    kind = type(params)
    assert kind.model_validate(params.model_dump(mode="json")) == params
    with pytest.raises(StudyFileError, match=r"params\.mode"):
        parse_params(study_of("mispel", {**options, "mode": ["hub"]}))


def test_a_training_that_mispel_has_not() -> None:
    """Catches rounds, servers and local steps that somebody writes and nothing reads."""
    study = study_of("mispel", SITES)
    for name, value in (("mode", "exact"), ("server", "fedprox"), ("rounds", 3), ("epochs", 2.0)):
        asked = study.model_copy(update={"train": {"preset": "tiny", name: value}})
        with pytest.raises(StudyFileError, match=rf"train\.{name}: it has no effect"):
            parse_params(asked)
    asked = study.model_copy(update={"train": {"preset": "tiny", "precision": "bfloat16"}})
    with pytest.raises(StudyFileError, match="float32 or float64"):
        parse_params(asked)


@pytest.mark.parametrize("person", ["T1", "T2"])
def test_a_slip_in_the_name_of_a_scanner(person: str, images: Images) -> None:
    """Catches a typing error in one traveler's sessions of which another is accused, without the
    file and without the name that was meant."""
    named = {"b0": "ash", "b1": "birch", "b2": "cedar"}
    spelt = np.array([named[b] for b in images.batch], dtype=object)
    tables = {
        named[site]: replace(table, batch=np.full(len(table), named[site])).as_site(named[site])
        for site, table in at_hub(images).items()
        if site != "hub"
    }
    spelt[(images.people == f"sub-{person}") & (images.batch == "b2")] = "ceder"
    travels = np.array([who.startswith("sub-T") for who in images.people])
    hub = replace(images, batch=spelt.astype(str)).where(travels).as_site("hub")
    with pytest.raises(DataError, match="'cedar'") as raised:
        run(study_of("mispel", HUB), {**tables, "hub": hub})
    assert "Did you mean 'cedar'?" in str(raised.value)
    assert str(raised.value.where["file"]).endswith(f"sub-{person}/sub-{person}_sessions.tsv")
    assert "ceder" in raised.value.what


def test_slices_that_are_not_there(images: Images) -> None:
    with pytest.raises(StudyFileError, match="15 axial slices, and the study wants those to 20"):
        run(study_of("mispel", {**SITES, "slices": [3, 20]}), own(images))


def test_scans_on_another_grid(folder: Path, tmp_path: Path) -> None:
    """Catches pixels of two places that are coupled."""
    write_brains(tmp_path, batches=dict.fromkeys(SCANNERS, 1), travelers=TRAVELERS)
    for file in (tmp_path / "sub-T2" / "ses-b1" / "anat").glob("*.nii.gz"):
        image = nib.load(file)
        data = np.asanyarray(image.dataobj)[:, :, 1:]
        nib.save(nib.Nifti1Image(data, AFFINE), file)
    with pytest.raises(DataError, match="another grid"):
        images_of(tmp_path)


def test_sites_of_different_templates(images: Images) -> None:
    """Catches slice counts that differ between sites."""
    tables = own(images)
    grid = list(tables["b1"].described.grid)
    grid[2] -= 1
    described = replace(tables["b1"].described, grid=tuple(grid))
    with pytest.raises(SchemaError, match="another grid"):
        run(study_of("mispel", SITES), {**tables, "b1": replace(tables["b1"], described=described)})


def test_a_training_that_diverges(images: Images) -> None:
    """Catches networks of NaN that are called finished."""
    # A hub keeps what diverged to itself; where sites exchange, what is sent has bounds.
    options = {**HUB, "learning_rate": 1e200, "embedding_epochs": 3}
    with pytest.raises(TrainingError, match="no longer a finite number"):
        run(study_of("mispel", options), at_hub(images))


def later(tmp_path: Path, *, travelers: bool) -> Images:
    """b1's site with a new scanner, b3, on which travelers were scanned or not."""
    folder = write_brains(
        tmp_path, batches={"b3": 1}, seed=9, travelers=TRAVELERS if travelers else ("T9",)
    )
    return images_of(folder)


def fitted(images: Images, options: Mapping[str, Any], where: Tables) -> Any:
    result, _ = run(study_of("mispel", options), where(images))
    return result


def applied(result: Any, images: Images, site: str) -> list[np.ndarray]:
    blocks = harmonized(
        images.as_site(site),
        method=methods().get("mispel"),
        params=result.plan.params,
        schema=result.schema,
        shared=result.shared,
        model=result.models[site],
        seed=result.plan.seed,
    )
    return [np.array(block) for _, block in blocks]


def test_a_scanner_that_came_later_is_fitted_to_its_travelers(
    images: Images, tmp_path: Path
) -> None:
    """Catches a new scanner that gets another one's unit, or none though travelers are there."""
    result = fitted(images, SITES, own)
    found = applied(result, later(tmp_path, travelers=True), "b1")
    assert len(found) == 3
    assert all(np.isfinite(one).all() for one in found)


def test_a_scanner_that_came_later_is_compared_at_the_pixels_that_were_kept(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a new unit that is held beside the common values of other pixels: of another seed,
    or of an exchange that was not the last."""
    at: dict[str, dict[str, int]] = {}
    drawn = Training.samples

    def listening(self: Training, bench: Any, kept: Any, stage: Any, **asked: int) -> Any:
        at[stage] = asked
        return drawn(self, bench, kept, stage, **asked)

    monkeypatch.setattr(Training, "samples", listening)
    options = {"stride": 2, "embedding_epochs": 3, "harmonization_epochs": 2}
    result = fitted(images, {**SITES, **options}, own)
    last, at = at, {}
    applied(result, later(tmp_path, travelers=True), "b1")
    seed = result.plan.seed
    assert last["embedding"] == {"seed": seed, "turn": 2}
    assert last["harmonization"] == {"seed": seed, "turn": 1}
    assert at == last


@pytest.mark.parametrize(
    ("options", "where", "words"),
    [
        (SITES, own, "nobody of T1, T2 was scanned on it"),
        (HUB, at_hub, "units are trained at 'hub'"),
    ],
)
def test_a_scanner_without_travelers_is_refused(
    options: dict[str, Any], where: Tables, words: str, images: Images, tmp_path: Path
) -> None:
    result = fitted(images, options, where)
    with pytest.raises(ModelError, match=words):
        applied(result, later(tmp_path, travelers=False), "b1")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("T9\tsub-T2\t2020-01-02", "'T2' at every site, whom the file does not list"),
        ("T2\tsub-T2\tn/a", "'T2' at every site, of whom the file has no consent"),
        ("", "'T1' at every site, and the file is missing"),
    ],
)
def test_a_site_says_why_a_traveler_is_missing(row: str, words: str, tmp_path: Path) -> None:
    """Catches one error for two mistakes, and a file without its path."""
    homes = {b: write_brains(tmp_path / b, batches={b: 2}, travelers=TRAVELERS) for b in SCANNERS}
    file = homes["b1"] / "travelers.tsv"
    head = "traveler_id\tparticipant_id\tconsent\nT1\tsub-T1\t2020-01-01\n"
    file.write_text(f"{head}{row}\n") if row else file.unlink()
    study = study_of("mispel", SITES).model_copy(update={"sites": homes})
    with pytest.raises(DataError, match=words) as raised:
        open_sites(study)
    assert raised.value.where["file"] == str(file)
    assert raised.value.where["site"] == "b1"
    unseen = study.evaluation.model_copy(update={"unseen": ("b1",)})
    assert open_sites(study.model_copy(update={"evaluation": unseen})).keys() == set(SCANNERS)


def test_a_site_that_was_never_there_is_refused(
    images: Images, folder: Path, tmp_path: Path
) -> None:
    """Catches an unseen site that is harmonized with nothing; and a target for a finished model."""
    result = fitted(images, SITES, own)
    save_model(tmp_path / "model" / "shared", result.shared, model_document(result.plan))
    with pytest.raises(ModelError, match="known to the sites that scanned them"):
        apply_model(tmp_path / "model", folder, tmp_path / "out", site="new")
    with pytest.raises(ModelError, match="knows the study's target alone"):
        apply_model(tmp_path / "model", folder, tmp_path / "out", site="new", to="b0")
    assert not (tmp_path / "out").exists()


def test_an_image_without_intensities(images: Images, tmp_path: Path) -> None:
    """Catches a division by a mean that is no scale."""
    write_brains(tmp_path, batches=dict.fromkeys(SCANNERS, 1), travelers=TRAVELERS)
    (file,) = (tmp_path / "sub-T1" / "ses-b0" / "anat").glob("*_T1w.nii.gz")
    image = nib.load(file)
    nib.save(nib.Nifti1Image(image.get_fdata() - 500.0, AFFINE), file)
    study = study_of("mispel", {**SITES, "unusual_contrast": True})
    with pytest.raises(DataError, match="intensities of a scan are above 0"):
        run(study, own(opened(tmp_path, study)))


def test_those_who_are_named_and_nobody_else_stand_behind_a_unit(images: Images) -> None:
    """Catches a unit of one traveler that leaves because many were scanned at the hub."""
    hub = images.as_site("hub")
    others = at_hub(images)
    tables = {**{b: others[b] for b in SCANNERS}, "hub": hub}
    schema = agree([table.described for table in tables.values()])
    policy = SitePolicy(smallest_n=3, smallest_cell=1, changed_by=0)
    for named in (("T1",), ()):
        study = study_of("mispel", {"mode": "hub", "hub": "hub", "travelers": list(named)})
        plan = build_plan(study, schema)
        (phase, *_) = [p for p, _ in walk(plan.steps) if isinstance(p, Publish)]
        permission = Permission(
            gate=Gate("hub", policy=policy),
            policy=policy,
            approvals=None,
            plan=plan,
            table=hub,
            fit=np.ones(len(hub), dtype=bool),
            secret=b"",
        )
        # Nine scans are too few for the design's leverage in any case.
        with pytest.raises(PolicyError) as refused:
            permission.check(phase, phase.name, {})
        assert ("1 person travelers" in str(refused.value)) == bool(named)
