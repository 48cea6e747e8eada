"""Two hundred releases that are nearly what was declared: none leaves."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from conformance.direct import direct
from conformance.federation import Federation
from conformance.ledgers import released
from motet.client.policy import SitePolicy
from motet.errors import PolicyError, ReleaseRefusedError
from motet.harmonizers._linear.fit import Fit
from motet.plan import build_plan
from motet.releases import Arrays

STUDY = case("combat", n=(12, 12, 12), covariates=("age", "sex"), p=5)
HONEST = Fit.send_moments
NOW: dict[str, Any] = {}
"""What a method does to its sums, instead of nothing."""
Change = Callable[[dict[str, Any], random.Random, np.ndarray], None]


def tampered(self: Fit, site: Any, shared: Arrays) -> Arrays:
    """A method's function that does not send what it declares."""
    arrays = dict(HONEST(self, site, shared))
    NOW["change"](arrays)
    return arrays


def an_array_too_many(arrays: dict[str, Any], rng: random.Random, rows: np.ndarray) -> None:
    arrays[rng.choice(["rows", "values", "sum_y2", "ids"])] = rows


def an_array_too_few(arrays: dict[str, Any], rng: random.Random, rows: np.ndarray) -> None:
    del arrays[rng.choice(sorted(arrays))]


def wider(arrays: dict[str, Any], rng: random.Random, rows: np.ndarray) -> None:
    name = rng.choice([name for name, a in arrays.items() if a.ndim])
    array = arrays[name]
    axis = rng.randrange(array.ndim)
    arrays[name] = np.concatenate([array, np.take(array, [0], axis=axis)], axis=axis)


def another_dimension(arrays: dict[str, Any], rng: random.Random, rows: np.ndarray) -> None:
    name = rng.choice(sorted(arrays))
    arrays[name] = np.asarray(arrays[name])[None]


def another_type(arrays: dict[str, Any], rng: random.Random, rows: np.ndarray) -> None:
    name = rng.choice(sorted(arrays))
    other = [t for t in ("f8", "f4", "i8", "i4", "u1", "c16", "O", "U9") if t != arrays[name].dtype]
    arrays[name] = np.asarray(arrays[name]).astype(rng.choice(other))


def not_finite(arrays: dict[str, Any], rng: random.Random, rows: np.ndarray) -> None:
    name = rng.choice([name for name, a in arrays.items() if a.dtype.kind == "f"])
    arrays[name] = np.array(arrays[name])
    arrays[name].reshape(-1)[rng.randrange(arrays[name].size)] = rng.choice(
        [np.nan, np.inf, -np.inf]
    )


def rows_in_the_padding(arrays: dict[str, Any], rng: random.Random, rows: np.ndarray) -> None:
    """People's values behind the declared entries, or in the place of an array."""
    name = rng.choice([name for name, a in arrays.items() if a.ndim])
    array = np.asarray(arrays[name])
    hidden = np.resize(rows, (rng.randrange(1, 9), *array.shape[1:])).astype(array.dtype)
    arrays[name] = np.concatenate([array, hidden])


def below_nothing(arrays: dict[str, Any], rng: random.Random, rows: np.ndarray) -> None:
    name = rng.choice(["people", "yy", "varies", "missing"])
    arrays[name] = np.array(arrays[name])
    arrays[name].reshape(-1)[0] = -1


def too_large(arrays: dict[str, Any], rng: random.Random, rows: np.ndarray) -> None:
    """A whole row in one number's digits."""
    arrays["sum_y"] = np.array(arrays["sum_y"])
    arrays["sum_y"][rng.randrange(5)] = 10.0 ** rng.randrange(121, 300)


TAMPERINGS: tuple[Change, ...] = (
    an_array_too_many,
    an_array_too_few,
    wider,
    another_dimension,
    another_type,
    not_finite,
    rows_in_the_padding,
    below_nothing,
    too_large,
)


@pytest.mark.parametrize("change", TAMPERINGS, ids=lambda change: change.__name__)
def test_nothing_of_it_leaves(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches any of these leaving a site, standing in its ledger as left, or not standing there
    as refused: 23 of each kind, 207 in all."""
    fit = direct(STUDY, STUDY.tables())
    rows = STUDY.tables()["site-b0"].block(slice(None))
    worker = Federation(STUDY, folder=tmp_path).workers["site-b0"]
    worker.agree({"study": STUDY.study.public()})
    document = {"schema": fit.plan.schema.to_json(), "done": []}
    monkeypatch.setattr(Fit, "send_moments", tampered)
    plan = build_plan(STUDY.study, fit.plan.schema)
    for turn in range(23):
        monkeypatch.setitem(NOW, "change", partial(change, rng=random.Random(turn), rows=rows))
        worker.prepare(document, plan.hash)
        with pytest.raises(ReleaseRefusedError, match=r"what its plan does not declare"):
            worker.phase("moments", {}, plan.hash)
    assert [entry["phase"] for entry in released(tmp_path / "site-b0")] == ["schema"]
    assert len(released(tmp_path / "site-b0", kind="refusal")) == 23


def test_counts_below_the_policy(tmp_path: Path) -> None:
    """Catches counts that are read from the arrays, which a method makes, and not from the people:
    every smallest n above the site's own is refused, and nothing is computed."""
    fit = direct(STUDY, STUDY.tables())
    for smallest in range(10, 16):
        policy = SitePolicy(smallest_n=smallest, smallest_cell=1, leverage=1.0, plain_sums=True)
        folder = tmp_path / str(smallest)
        sites = Federation(STUDY, folder=folder, policies={"site-b0": policy})
        worker = sites.workers["site-b0"]
        worker.agree({"study": STUDY.study.public()})
        worker.prepare({"schema": fit.plan.schema.to_json(), "done": []}, fit.plan.hash)
        if smallest <= 12:
            assert worker.phase("moments", {}, fit.plan.hash)
        else:
            with pytest.raises(PolicyError, match=f"12 people, fewer than {smallest}"):
                worker.phase("moments", {}, fit.plan.hash)
            assert len(released(folder / "site-b0")) == 1
