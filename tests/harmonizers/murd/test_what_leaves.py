"""Every message of a run is read: what is in them, how often, and that no anatomy is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.brains import APART, opened, run, sites, study_of, write_brains
from motet.client.apply import harmonized, joined
from motet.flower.inprocess import InProcessGrid
from motet.flower.records import decode
from motet.harmonizers.murd.sizes import BATCHED
from motet.phases import walk
from motet.registry import methods
from motet.training.phase import Train

PEOPLE = {"b0": 4, "b1": 3, "b2": 5}
LOCAL = {"preset": "tiny", "mode": "local", "steps": 4, "local_steps": 2}
OFTEN = {"critic", *BATCHED}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_brains(tmp_path_factory.mktemp("brains"), batches=PEOPLE)


def messages(folder: Path, monkeypatch: pytest.MonkeyPatch, **train: Any) -> tuple[Any, list[Any]]:
    """A run; every reply of a site to a phase."""
    seen: list[Any] = []
    answered = InProcessGrid._call

    def listening(self: InProcessGrid, message: Any) -> Any:
        reply = answered(self, message)
        if reply.has_content():
            seen.append((message.metadata.message_type, *decode(reply.content)))
        return reply

    monkeypatch.setattr(InProcessGrid, "_call", listening)
    study = study_of("murd", {"to": "b1"})
    study = study.model_copy(update={"train": train}) if train else study
    result, _ = run(study, sites(opened(folder, study), APART))
    return result, [body for _, _, body in seen]


def allowed(result: Any) -> dict[str, set[tuple[int, ...]]]:
    (train,) = (phase for phase in result.plan.phases if isinstance(phase, Train))
    found: dict[str, set[tuple[int, ...]]] = {}
    for group in train.groups:
        shape = (3, group.size) if group.name in BATCHED else (group.size,)
        controlled = train.options.server == "scaffold" and group.name not in BATCHED
        names = (group.name, f"{group.name}.exp_avg_sq", f"{group.name}.control")
        found |= {name: {shape} for name in names[: 2 + controlled]}
    found |= {"losses": {(3,), (8,), (11,)}, "samples": {(1,), (2,)}}
    found["weight"] = {(4,), (8,)}  # one a group: the adversary and the heads, and all
    return found | {"slices": {()}, "level": {(3,)}}


@pytest.mark.parametrize(
    "train", [{}, LOCAL, {**LOCAL, "server": "scaffold"}], ids=["exact", "local", "scaffold"]
)
def test_updates_and_sums_leave_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, train: dict[str, Any]
) -> None:
    """Catches codes, slices or statistics of pixels that travel with an update, an array whose
    length follows from the number of people or slices, and the name of a person or file."""
    result, bodies = messages(folder, monkeypatch, **train)
    known = allowed(result)
    arrays = [(name, np.asarray(array)) for body in bodies for name, array in body.arrays.items()]
    assert {name for name, _ in arrays} <= set(known)
    assert ("generator.control" in dict(arrays)) == (train.get("server") == "scaffold")
    pixels = np.unique(
        np.concatenate([i.brain for i in opened(folder, study_of("murd", {})).each()])
    )
    for name, array in arrays:
        assert array.shape in known[name], name
        if array.dtype.kind == "f" and name != "weight":
            sent = np.unique(array[np.abs(array) > 1e-6])
            assert not np.isin(sent.astype(np.float32), pixels.astype(np.float32)).any(), name
    said = json.dumps([body.document for body in bodies], default=str)
    assert not [word for word in ("sub-", "nii", str(folder)) if word in said]


def test_in_local_mode_adversary_and_heads_leave_more_often_and_all_sites_move_heads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a discriminator as seldom as the generator, a head that knows fakes of its owner's
    slices alone, and moments of strangers."""
    result, bodies = messages(folder, monkeypatch, **LOCAL)
    count = Counter(name for body in bodies for name in body.arrays)
    for group in allowed(result).keys() & {g.name for g in train_of(result).groups}:
        assert count[group] == 3 * (4 if group in OFTEN | {"critic_heads"} else 2), group
    # Rows, of three batches, in which a site sends something.
    rows = {
        name: {
            int(np.asarray(b.arrays[name]).any(axis=1).sum()) for b in bodies if name in b.arrays
        }
        for group in BATCHED
        for name in (group, f"{group}.exp_avg_sq")
    }
    for group in BATCHED:
        assert max(rows[group]) > 1, group
        # Its own, or none where nobody of it had a turn.
        assert 1 in rows[f"{group}.exp_avg_sq"] <= {0, 1}, group


def train_of(result: Any) -> Train:
    (train,) = (phase for phase in result.plan.phases if isinstance(phase, Train))
    return train


def test_a_new_site_trains_heads_and_nothing_else_and_sends_nothing(folder: Path) -> None:
    """Catches a trunk that moves at a new site, heads that stay as they began, and a release."""
    study = study_of("murd", {})
    tables = sites(opened(folder, study), APART)
    result, _ = run(study, {name: tables[name] for name in ("b0", "b1")})
    method = methods().get("murd")
    asked = {"method": method, "schema": result.schema, "shared": result.shared, "seed": 3}
    params = result.plan.params
    assert not any(phase.leaves for phase, _ in walk(method.join(params, result.schema)))
    before = {name: array.tobytes() for name, array in result.shared.items()}
    assert not joined(tables["b2"], params=params, **asked).arrays  # no head is needed
    own = joined(tables["b2"], params=params.model_copy(update={"to": "b2"}), **asked).arrays
    assert {name: array.tobytes() for name, array in result.shared.items()} == before
    assert set(own) == {f"heads.{name}" for name in (*BATCHED, "level")}
    for name in BATCHED:
        begun = result.shared[f"networks.{name}"].mean(axis=0)
        assert own[f"heads.{name}"].shape == (1, len(begun))
        assert np.abs(own[f"heads.{name}"] - begun).max() > 1e-6
    made = {}
    for to in ("b0", "b2"):
        found = harmonized(
            tables["b2"], model=None, params=params.model_copy(update={"to": to}), **asked
        )
        made[to] = np.stack([np.array(block[0]) for _, block in found])
    assert made["b2"].mean() > 1.2 * made["b0"].mean()  # its own brightness: 1.7 / 1.0
