"""The battery over every registered method of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.brains import (
    APART,
    BATCHES,
    BATTERY,
    PAIRED,
    opened,
    run,
    sites,
    study_of,
    written,
)
from motet.client.apply import harmonized
from motet.config import Study
from motet.harmonizers._images.alone import ImageByImage
from motet.images.images import Images
from motet.plan import build_plan
from motet.registry import methods
from motet.simulation import Result

Ran = tuple[Result, dict[str, np.ndarray]]
"""What a run concluded, and the harmonized image of every person."""
Once = Callable[[str, dict[str, Any]], Ran]
TOGETHER = {"b0": "y", "b1": "x", "b2": "y"}
ONE = dict.fromkeys(BATCHES, "one")
RELATIVE = {"subspace": 1e-8}
"""How near federated is to pooled, of the largest entry; 1e-10 where a step does not iterate."""


ROWS_OF_BATCHES = {"murd"}
"""Methods whose shared arrays have a row a batch, in the order of the schema."""


def by_name(method: str, result: Result, array: np.ndarray) -> np.ndarray:
    """An array with its batches in the order of their names, whichever sites have them."""
    names = [batch.name for batch in result.schema.batches]
    if method not in ROWS_OF_BATCHES or array.shape[:1] != (len(names),):
        return array
    return array[np.argsort(names)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    return {
        paired: written(tmp_path_factory.mktemp("brains"), method, batches=BATCHES)
        for paired, method in ((False, "nyul"), (True, "mispel"))
    }


@pytest.fixture
def folder(method: str, folders: dict[bool, Path]) -> Path:
    return folders[method in PAIRED]


@pytest.fixture(scope="module")
def apart(folders: dict[bool, Path]) -> Once:
    """The study of a method and its options with a scanner a site, run once."""
    runs: dict[str, Ran] = {}

    def once(method: str, options: dict[str, Any]) -> Ran:
        if (asked := f"{method} {options}") not in runs:
            study = study_of(method, options)
            images = opened(folders[method in PAIRED], study)
            result, volumes = runs[asked] = run(study, sites(images, APART))
            for array in (*result.shared.values(), *volumes.values()):
                array.setflags(write=False)  # the next claim is about it, too
        return runs[asked]

    return once


def alone(study: Study, images: Images) -> Iterator[tuple[str, np.ndarray]]:
    """The same steps over one site that has everybody."""
    from motet.agreement import agree
    from motet.client.alone import fitted_alone

    (table,) = sites(images, ONE).values()
    schema = agree([table.described])
    plan = build_plan(study, schema)
    asked = {"method": plan.harmonizer, "params": plan.params}
    own, shared, model = fitted_alone(table, schema=schema, seed=study.seed, **asked)
    for name, array in shared.items():
        yield f"shared/{name}", array
    blocks = harmonized(table, schema=own, shared=shared, model=model, **asked)
    for rows, block in blocks:
        for row, volume in zip(np.arange(len(table))[rows], block, strict=True):
            yield table.who(int(row)), np.array(volume)


@pytest.mark.parametrize(("method", "options"), BATTERY)
def test_federated_equals_pooled(
    method: str, options: dict[str, Any], folder: Path, apart: Once
) -> None:
    """Catches anything that depends on which scanners lie at one site, or on their order."""
    study = study_of(method, options)
    images = opened(folder, study)
    pooled = dict(alone(study, images))
    near = RELATIVE.get(str(options.get("by")), 1e-10)
    for result, volumes in (apart(method, options), run(study, sites(images, TOGETHER))):
        assert {f"shared/{name}" for name in result.shared} == {
            name for name in pooled if name.startswith("shared/")
        }
        for name, array in result.shared.items():
            expected = pooled[f"shared/{name}"]
            array = by_name(method, result, array)
            scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
            np.testing.assert_allclose(array, expected, rtol=0, atol=near * scale, err_msg=name)
        assert len(volumes) == len(images)
        for person, volume in volumes.items():
            np.testing.assert_allclose(volume, pooled[person], rtol=10 * near, atol=10 * near)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (
            "calamiti",
            {
                "second": "",
                "planes": ["sagittal", "axial"],
                "fusion": "network",
                "targets": ["b1"],
                "style_steps": 2,
            },
        ),
        ("murd", {}),
    ],
    ids=["calamiti", "murd"],
)
def test_people_on_two_scanners_of_a_site(
    method: str, options: dict[str, Any], folders: dict[bool, Path]
) -> None:
    """Catches draws of a person's slices that depend on which other scans lie at the site."""
    study = study_of(method, options)
    images = opened(folders[True], study)
    assert len(set(images.people)) < len(images)
    one, together = (run(study, sites(images, where))[0] for where in (APART, TOGETHER))
    for name, array in one.shared.items():
        expected = by_name(method, together, together.shared[name])
        scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
        array = by_name(method, one, array)
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-10 * scale, err_msg=name)


@pytest.mark.parametrize(("method", "options"), BATTERY)
def test_same_bytes_and_no_change_outside(
    method: str, options: dict[str, Any], folder: Path, apart: Once
) -> None:
    """Catches a draw, sites that count in the order in which they are named, and background that
    is harmonized with the brain."""
    study = study_of(method, options)
    images = opened(folder, study)
    first = apart(method, options)
    second = run(study, dict(reversed(sites(images, APART).items())))
    assert first[0].sha256 == second[0].sha256
    whole = method in ("white_stripe", "z_score", "global_scaling", "mispel")
    whole = whole or (method == "ravel" and options.get("white_stripe", True))
    for row in range(len(images)):
        pair, person = images.pair(row), images.who(row)
        made = first[1][person]
        assert np.array_equal(made, second[1][person])
        of_contrasts = made if len(pair) > 1 else made[None]
        for image, one in zip(pair, of_contrasts, strict=True):
            assert one.shape == image.data.shape
            if not whole:
                assert np.array_equal(one[~image.mask], image.data[~image.mask])


@pytest.mark.parametrize(
    ("method", "options"),
    [
        case
        for case in BATTERY
        if isinstance(methods().get(str(case.values[0])), ImageByImage)
        and str(case.id).endswith(("default", "subspace"))
    ],
)
def test_without_batches_any_split_is_the_same(
    method: str, options: dict[str, Any], folder: Path
) -> None:
    """Catches a method that says it knows no batch and depends on who is where all the same."""
    study = study_of(method, options)
    images = opened(folder, study)
    pooled = dict(alone(study, images))
    split = {
        site: images.where(np.arange(len(images)) % 3 % 2 == k).as_site(site)
        for k, site in enumerate(("x", "y"))
    }
    result, volumes = run(study, split)
    near = RELATIVE.get(str(options.get("by")), 1e-10)
    for name, array in result.shared.items():
        expected = pooled[f"shared/{name}"]
        scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
        np.testing.assert_allclose(array, expected, rtol=0, atol=near * scale, err_msg=name)
    for person, volume in volumes.items():
        np.testing.assert_allclose(volume, pooled[person], rtol=10 * near, atol=10 * near)
