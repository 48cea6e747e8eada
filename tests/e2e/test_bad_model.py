"""Models that are damaged, edited or others': a sentence, and no derivative appears."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from e2e.consortium import applied, consortium, files, refused, succeeded
from motet.errors import ModelError
from motet.store import load_model

Spoil = Callable[[Path], object]


def cut(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return spoil


def flip(name: str, array: str) -> Spoil:
    """One bit of a number."""

    def spoil(folder: Path) -> None:
        with np.load(folder / name) as archive:
            held = archive[array].tobytes()
        content = bytearray((folder / name).read_bytes())
        content[content.index(held) + 9] ^= 0x10
        (folder / name).write_bytes(bytes(content))

    return spoil


def edit(name: str, *keys: str, value: object) -> Spoil:
    def spoil(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        part = document
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        (folder / name).write_text(json.dumps(document))

    return spoil


def other_arrays(name: str) -> Spoil:
    """A well-formed npz with one number changed: only the hash can tell."""

    def spoil(folder: Path) -> None:
        with np.load(folder / name) as archive:
            arrays = {key: archive[key].copy() for key in archive.files}
        first = next(a for a in arrays.values() if a.dtype == np.float64 and a.size)
        first.flat[0] += 1e-9
        np.savez(folder / name, **arrays)

    return spoil


def gone(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


SHARED, OWN = "out/shared", "out/sites/ash/model"
MODELS: dict[str, tuple[Spoil, str]] = {
    f"{what} of the {'site' if home == OWN else 'shared'} model": (spoil(home), home)
    for home in (SHARED, OWN)
    for what, spoil in {
        "half an npz": lambda home: cut(f"{home}/model.npz"),
        "a bit of a number": lambda home: flip(
            f"{home}/model.npz", "alpha" if home == SHARED else "gamma_star"
        ),
        "an edited number": lambda home: other_arrays(f"{home}/model.npz"),
        "an empty npz": lambda home: lambda folder: (folder / home / "model.npz").write_bytes(b""),
        "no npz": lambda home: gone(f"{home}/model.npz"),
        "no manifest": lambda home: gone(f"{home}/manifest.json"),
        "half a manifest": lambda home: cut(f"{home}/manifest.json"),
        "an edited hash": lambda home: edit(f"{home}/manifest.json", "sha256", value="0" * 64),
        "an edited study": lambda home: edit(
            f"{home}/manifest.json", "document", "study", value="else"
        ),
        "no document": lambda home: edit(f"{home}/manifest.json", "document", value=None),
        "another format": lambda home: edit(f"{home}/manifest.json", "format", value="zip"),
        "another version": lambda home: edit(f"{home}/manifest.json", "version", value=99),
    }.items()
}


@pytest.mark.parametrize(("spoil", "home"), MODELS.values(), ids=MODELS)
def test_damaged_model(spoil: Spoil, home: str, folder: Path) -> None:
    """Catches numbers from a damaged or edited file, and tracebacks of the npz reader."""
    spoil(folder)
    before = files(folder)
    refused(applied(folder, "ash"), str(folder / home))
    assert files(folder) == before


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_any_bit_of_the_model(bit: int, folder: Path) -> None:
    """Catches a place in the file where damage gives other numbers or an untyped error."""
    arrays, _, _ = load_model(folder / SHARED)
    path = folder / SHARED / "model.npz"
    whole = path.read_bytes()
    for position in range(0, len(whole), 3):
        content = bytearray(whole)
        content[position] ^= bit
        path.write_bytes(bytes(content))
        with contextlib.suppress(ModelError):
            # Bytes that hold nothing, such as a time stamp, may be anything.
            found, _, _ = load_model(folder / SHARED)
            assert found.keys() == arrays.keys(), position
            assert all(found[k].tobytes() == arrays[k].tobytes() for k in arrays), position


def test_site_model_of_another_study(folder: Path) -> None:
    """Catches effects of one study used with the shared estimates of another."""
    other = folder / "other"
    succeeded("simulate", consortium(other, study="second"), "--out", other / "out")
    shutil.rmtree(folder / OWN)
    shutil.copytree(other / OWN, folder / OWN)
    refused(applied(folder, "ash"), str(folder / OWN), "another")
    assert not (folder / "new").exists()


def test_model_of_another_site(folder: Path) -> None:
    """Catches people adjusted with the scanner effects of another hospital."""
    refused(applied(folder, "ash", "out/sites/birch", "--site", "ash"), "ash", "birch")
    shutil.rmtree(folder / OWN)
    refused(applied(folder, "ash"), "'ash'", "own model")
    assert not (folder / "new").exists()


def test_people_of_another_site_of_the_study(folder: Path) -> None:
    """Catches birch's folder being adjusted with ash's scanner since --model names ash."""
    refused(applied(folder, "birch", "out/sites/ash"), "ash", "birch")
    assert not (folder / "new").exists()


@pytest.mark.parametrize("model", ["nowhere", "data", "out/sites", "out/sites/ash/model"])
def test_no_model_there(model: str, folder: Path) -> None:
    """Catches a traceback where --model is not a model's folder."""
    refused(applied(folder, "dune", model), str(folder / model))
    assert not (folder / "new").exists()
