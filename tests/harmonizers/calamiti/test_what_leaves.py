"""Every message of a run is read: what is in them, and that no anatomy is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.brains import APART, opened, run, sites, study_of, write_brains
from motet.flower.inprocess import InProcessGrid
from motet.flower.records import decode
from motet.harmonizers.calamiti.slices import level
from motet.training.phase import Train
from motet.training.vocabulary import CONTROL, MOMENTS

PEOPLE = {"b0": 4, "b1": 3, "b2": 5}
MODES: dict[str, dict[str, Any]] = {
    "exact": {"mode": "exact"},
    # Volumes are decoded at the sites between the two trainings, which end with a validation.
    "local, fusion": {"mode": "local", "validation": 0.3, "server": "scaffold"},
}


@dataclass(frozen=True, kw_only=True)
class Read:
    """A run, with what its sites said.

    Attributes
    ----------
    result : Result
    bodies : list
        Of every reply of a site.
    pixels : (m,) float64
        Intensities of everybody's brains, as measured and, float32, as networks see them. What
        leaves has all digits of float64: by chance it is none of them.
    """

    result: Any
    bodies: list[Any]
    pixels: np.ndarray
    folder: Path

    def arrays(self) -> list[tuple[str, np.ndarray]]:
        return [(n, np.asarray(a)) for body in self.bodies for n, a in body.arrays.items()]


@pytest.fixture(scope="module", params=MODES)
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """A run of two contrasts with a target."""
    bodies: list[Any] = []
    asked: list[str] = []
    answered = InProcessGrid._call

    def listening(self: InProcessGrid, message: Any) -> Any:
        asked.append(message.metadata.message_type)
        reply = answered(self, message)
        if reply.has_content():
            bodies.append(decode(reply.content)[1])
        return reply

    params: dict[str, Any] = {"planes": ["axial", "coronal"], "to": "b1", "style_steps": 2}
    if "fusion" in request.param:
        params["fusion"] = "network"
    how = MODES[request.param]
    study = study_of("calamiti", params).model_copy(update={"train": {"preset": "tiny", **how}})
    folder = write_brains(
        tmp_path_factory.mktemp("brains"), batches=PEOPLE, contrasts=("T1w", "T2w")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InProcessGrid, "_call", listening)
        images = opened(folder, study)
        result, _ = run(study, sites(images, APART))
    assert len(asked) == len(bodies) > 10
    brains = []
    for pair in images.pairs():
        for image, contrast in zip(pair, images.contrasts, strict=True):
            seen = image.brain / level(image, contrast)
            brains += [image.brain, *(v.astype(np.float32) for v in (image.brain, seen))]
    pixels = np.unique(np.concatenate(brains).astype(np.float64))
    return Read(result=result, bodies=bodies, pixels=pixels, folder=folder)


def test_updates_counts_and_styles_leave_and_nothing_else(read: Read) -> None:
    """Catches codes, slices, volumes or statistics of pixels that travel with an update, and an
    array whose length follows from the number of people or slices."""
    trainings = [phase for phase in read.result.plan.phases if isinstance(phase, Train)]
    style = read.result.plan.params.sizes.codes
    allowed: dict[str, set[tuple[int, ...]]] = {}
    for train in trainings:
        local = train.options.mode == "local"
        for group in train.groups:
            more = (*MOMENTS, CONTROL) if train.controls(group) else MOMENTS
            for name in (group.name, *(f"{group.name}.{m}" for m in more if local)):
                allowed[name] = {(group.size,)}
        terms = [len(update.weights) for update in train.updates]
        shapes = {(sum(terms),)} if local else {(n,) for n in terms}
        allowed["losses"] = allowed.get("losses", set()) | shapes
        samples = (len(train.updates),) if local else (1,)
        allowed["samples"] = allowed.get("samples", set()) | {samples}
        if local:
            allowed |= {"validation": {()}, "validated": {()}}
            allowed["weight"] = allowed.get("weight", set()) | {(len(train.leaving),)}
    allowed |= {"slices": {(3,)}, "images": {()}, "white": {(2,)}, "theta": {(2, style)}}
    arrays = read.arrays()
    assert {name for name, _ in arrays} == set(allowed)
    # Mean gradients where sites' steps are corrected by them: of the networks, not of fusion.
    controlled = {"decoder", "critic"} if trainings[0].options.server == "scaffold" else set()
    assert {g for g in ("decoder", "critic", "fusion") if f"{g}.{CONTROL}" in allowed} == controlled
    for name, array in arrays:
        assert array.shape in allowed[name], name
    # Style codes and white matter: of everybody in a sum, and of the target's people once more.
    assert sum(name == "theta" for name, _ in arrays) == 3 + 1


def test_no_number_that_leaves_is_a_pixel(read: Read) -> None:
    """Catches intensities of an image among what is called an update."""
    for name, array in read.arrays():
        if array.dtype.kind == "f" and array.size:
            sent = np.unique(array)
            assert not np.isin(sent[np.abs(sent) > 1e-6], read.pixels).any(), name


def test_no_name_of_a_person_or_file_leaves(read: Read) -> None:
    said = json.dumps([body.document for body in read.bodies], default=str)
    assert "sub-" not in said
    assert "nii" not in said
    assert str(read.folder) not in said
