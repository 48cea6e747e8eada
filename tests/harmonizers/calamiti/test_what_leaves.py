"""Every message of a run is read: what is in them, and that no anatomy is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.brains import APART, opened, run, sites, study_of, write_brains
from motet.flower.inprocess import InProcessGrid
from motet.flower.records import decode
from motet.training.phase import Train

PEOPLE = {"b0": 4, "b1": 3, "b2": 5}


def messages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[Any]]:
    """A run of two contrasts with a target; every reply of a site to a phase."""
    seen: list[Any] = []
    answered = InProcessGrid._call

    def listening(self: InProcessGrid, message: Any) -> Any:
        reply = answered(self, message)
        if reply.has_content():
            seen.append((message.metadata.message_type, *decode(reply.content)))
        return reply

    monkeypatch.setattr(InProcessGrid, "_call", listening)
    study = study_of("calamiti", {"planes": ["axial", "coronal"], "to": "b1"})
    result, _ = run(study, sites(opened(folder, study), APART))
    return result, seen


def test_updates_counts_and_styles_leave_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches codes, slices or statistics of pixels that travel with an update, and an array whose
    length follows from the number of people or slices."""
    folder = write_brains(tmp_path, batches=PEOPLE, contrasts=("T1w", "T2w"))
    result, seen = messages(folder, monkeypatch)
    (train,) = (phase for phase in result.plan.phases if isinstance(phase, Train))
    groups = {group.name: group.size for group in train.groups}
    style = result.plan.params.sizes.codes
    allowed: dict[str, set[tuple[int, ...]]] = {name: {(size,)} for name, size in groups.items()}
    allowed |= {"losses": {(2,), (5,)}, "samples": {(1,)}}  # of the critic, of the generator
    allowed |= {"slices": {(3,)}, "images": {()}, "white": {(2,)}, "theta": {(2, style)}}
    arrays = [(name, array) for _, _, body in seen for name, array in body.arrays.items()]
    assert {name for name, _ in arrays} == set(allowed)
    for name, array in arrays:
        assert np.shape(array) in allowed[name], name
    # Style codes and white matter: of everybody in a sum, and of the target's people once more.
    assert sum(name == "theta" for name, _ in arrays) == 3 + 1


def test_no_number_that_leaves_is_a_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches intensities of an image among what is called an update: raw, or as networks see
    them."""
    folder = write_brains(tmp_path, batches=PEOPLE, contrasts=("T1w", "T2w"))
    _, seen = messages(folder, monkeypatch)
    study = study_of("calamiti", {"planes": ["axial", "coronal"]})
    pixels: list[np.ndarray] = []
    for pair in opened(folder, study).pairs():
        pixels += [image.brain for image in pair]
    known = np.unique(np.concatenate(pixels).astype(np.float32))
    for _, _, body in seen:
        for name, array in body.arrays.items():
            if np.asarray(array).dtype.kind == "f" and np.size(array):
                sent = np.unique(np.asarray(array, dtype=np.float32))
                assert not np.isin(sent[np.abs(sent) > 1e-6], known).any(), name


def test_no_name_of_a_person_or_file_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_brains(tmp_path, batches=PEOPLE, contrasts=("T1w", "T2w"))
    _, seen = messages(folder, monkeypatch)
    said = json.dumps([body.document for _, _, body in seen], default=str)
    assert "sub-" not in said
    assert "nii" not in said
    assert str(tmp_path) not in said
