"""A model survives the disk, without pickle, and a damaged one is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases import BATTERY, METHODS, battery_id, case
from conformance.direct import Direct, direct
from motet.errors import ModelError
from motet.plan import model_document
from motet.schema import Schema
from motet.store import load_model, save_model


def fitted(method: str, options: dict[str, Any] | None = None, p: int = 6) -> Direct:
    study = case(method, options, p=p)
    return direct(study, study.tables())


@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_model_round_trips(method: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Catches an array or a piece of the schema that does not come back as it went."""
    fit = fitted(method, options)
    document = model_document(fit.plan)
    digest = save_model(tmp_path, fit.shared, document)
    arrays, read, again = load_model(tmp_path)
    assert digest == again == fit.sha256
    assert read == json.loads(json.dumps(document))
    assert Schema.from_json(read["schema"]) == fit.plan.schema.of_the_fit
    for name, array in fit.shared.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_no_array_needs_pickle(method: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Catches an object array in a shared or site model: reading it would run code."""
    fit = fitted(method, options)
    for arrays in (fit.shared, *(model.arrays for model in fit.models.values())):
        assert all(a.dtype.kind in "fiub" for a in arrays.values())
        save_model(tmp_path, arrays, {})
        with np.load(tmp_path / "model.npz", allow_pickle=False) as archive:
            assert all(archive[name] is not None for name in archive.files)


@pytest.mark.parametrize("method", METHODS)
def test_edited_values_are_refused(method: str, tmp_path: Path) -> None:
    """Catches a load that does not check: one number changed, the file itself still valid."""
    fit = fitted(method)
    save_model(tmp_path, fit.shared, model_document(fit.plan))
    name = sorted(fit.shared)[0]
    changed = {k: a.copy() for k, a in fit.shared.items()}
    changed[name].reshape(-1).view(np.uint8)[0] ^= 1
    np.savez(tmp_path / "model.npz", **changed)
    with pytest.raises(ModelError, match="SHA-256"):
        load_model(tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_edited_manifest_is_refused(method: str, tmp_path: Path) -> None:
    """Catches a document outside the hash: another seed, covariate or feature order."""
    fit = fitted(method)
    save_model(tmp_path, fit.shared, model_document(fit.plan))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["document"]["seed"] += 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="SHA-256"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["model.npz", "manifest.json"])
def test_truncated_file_is_refused(name: str, tmp_path: Path) -> None:
    """Catches a traceback of zipfile or json where a sentence belongs, at every length."""
    fit = fitted("combat", p=2)
    save_model(tmp_path, fit.shared, {"kind": "shared"})
    whole = (tmp_path / name).read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(ModelError):
            load_model(tmp_path)


def test_any_flipped_bit_is_refused_or_harmless(tmp_path: Path) -> None:
    """Catches damage that escapes as another exception, or worse: that changes a number."""
    arrays = {"alpha": np.array([1.5, 2.5]), "incomplete": np.array([], dtype=np.int64)}
    save_model(tmp_path, arrays, {"kind": "shared"})
    whole = (tmp_path / "model.npz").read_bytes()
    escaped: dict[str, list[int]] = {}
    for position in range(len(whole)):
        for bit in (0, 3, 5, 7):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            (tmp_path / "model.npz").write_bytes(damaged)
            try:
                read, _, _ = load_model(tmp_path)
            except ModelError:
                continue
            except Exception as error:
                escaped.setdefault(type(error).__name__, []).append(position)
                continue
            assert read["alpha"].tobytes() == arrays["alpha"].tobytes()
            assert sorted(read) == sorted(arrays)
    assert escaped == {}


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "null", '{"format": "motet-model"}', '{"format": "motet-model", "version": 2}'],
)
def test_other_manifest_is_refused(text: str, tmp_path: Path) -> None:
    """Catches a KeyError for a file that is JSON but not ours, or of a later format."""
    save_model(tmp_path, {"a": np.zeros(1)}, {})
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ModelError):
        load_model(tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """Catches a sentence that does not say which file to look for."""
    with pytest.raises(ModelError, match=r"manifest\.json"):
        load_model(tmp_path)
    save_model(tmp_path, {"a": np.zeros(1)}, {})
    (tmp_path / "model.npz").unlink()
    with pytest.raises(ModelError, match=r"model\.npz"):
        load_model(tmp_path)
