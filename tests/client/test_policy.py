"""What sums give away of single people, and that a site's policy keeps it.

Every attack succeeds on what leaves under the open policy of a simulation: that is the control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases import Case, case
from conformance.direct import direct
from conformance.federation import Federation
from conformance.ledgers import released
from motet.bids.table import Table
from motet.client.cohorts import marks
from motet.client.counts import counts
from motet.client.local_site import silent
from motet.client.policy import OPEN, SitePolicy
from motet.client.worker import SiteWorker
from motet.cohort import in_fit
from motet.errors import PolicyError

DEFAULT = SitePolicy()
SECRET = b"the site's own"
SITES = ("site-b0", "site-b1", "site-b2")
VICTIM = 4
"""Row of the first site's table."""


def sums_of(
    study: Case, folder: Path, *, policy: SitePolicy, site: str = "site-b0", drop: int | None = None
) -> Mapping[str, Any]:
    """What the first sum of a ComBat study holds of one site; one of its people may be absent."""
    tables = dict(study.tables())
    if drop is not None:
        kept = np.arange(len(tables[site])) != drop
        tables[site] = tables[site].where(kept)
    fit = direct(study, tables)
    worker = SiteWorker(
        name=site,
        open_table=lambda params, **asked: tables[site],
        sink=None,  # type: ignore[arg-type]
        folder=folder,
        policy=policy,
        secret=SECRET,
        say=silent,
    )
    worker.agree({"study": study.study.public()})
    worker.prepare({"schema": fit.plan.schema.to_json(), "done": []}, fit.plan.hash)
    return worker.phase("moments", {}, fit.plan.hash)


def rows_of(study: Case, site: str = "site-b0") -> Table:
    return study.tables()[site]


def with_column(study: Case, name: str, values: np.ndarray) -> Case:
    return replace(study, covariates=study.covariates.assign(**{name: values}))


def one_of_a_site() -> Case:
    return case("combat", n=(1, 30, 30), covariates=())


def two_of_a_site() -> Case:
    return case("combat", n=(2, 30, 30), covariates=())


def one_in_a_level() -> Case:
    study = case("combat", n=(30, 30, 30), covariates=())
    level = np.array(["CN"] * 90, dtype=object)
    for batch, some in (("b0", [VICTIM]), ("b1", range(6)), ("b2", range(9))):
        level[np.flatnonzero(study.batch == batch)[list(some)]] = "rare"
    return with_column(study, "dx", level)


def a_basis_for_one() -> Case:
    study = case("combat", n=(30, 30, 30), covariates=())
    dose = np.random.default_rng(1).normal(0, 1e-3, 90)
    dose[np.flatnonzero(study.batch == "b0")[VICTIM]] = 1e3
    return with_column(study, "dose", dose)


def read_one(sums: Mapping[str, Any]) -> np.ndarray:
    assert sums["people"] == 1
    return np.asarray(sums["sum_y"])


def read_two(sums: Mapping[str, Any]) -> np.ndarray:
    """Sum and squares about the mean of two are both values, larger and smaller."""
    assert sums["people"] == 2
    return np.asarray(sums["sum_y"] / 2 + np.sqrt(sums["yy"] / 2))


def read_by_column(sums: Mapping[str, Any]) -> np.ndarray:
    """The centred product with a column that one person alone has is that person's distance."""
    n, w = int(sums["people"]), float(sums["sum_w"][0])
    mean = sums["sum_y"] / n
    return np.asarray(mean + sums["wy"][0] / w)


ATTACKS = {
    "one person": (one_of_a_site, read_one, 0, "1 people, fewer than 10"),
    "two people": (two_of_a_site, read_two, None, "2 people, fewer than 10"),
    "one in a level": (one_in_a_level, read_by_column, VICTIM, "1 with dx = rare, fewer than 5"),
    "a basis for one": (a_basis_for_one, read_by_column, VICTIM, "leverage of 1.00"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_reconstruction(name: str, tmp_path: Path) -> None:
    """Catches a person who can be read from sums, and a control that shows nothing."""
    made, read, victim, words = ATTACKS[name]
    study = made()
    values = rows_of(study).block(slice(None))
    expected = values.max(axis=0) if victim is None else values[victim]
    found = read(sums_of(study, tmp_path / "open", policy=OPEN))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(PolicyError, match=words) as error:
        sums_of(study, tmp_path / "site", policy=DEFAULT)
    assert error.value.code == "policy"
    assert [entry["phase"] for entry in released(tmp_path / "site")] == ["schema"]
    (refused,) = released(tmp_path / "site", kind="refusal")
    assert any(words in why for why in refused["why"])


def test_two_runs_that_differ_by_one(tmp_path: Path) -> None:
    """Catches a person who is the difference of two sums that are each large enough."""
    study = case("combat", n=(30, 30, 30), covariates=("age",))
    victim = 7
    value = rows_of(study).block(slice(None))[victim]
    runs = [sums_of(study, tmp_path / "open", policy=OPEN, drop=drop) for drop in (None, victim)]
    np.testing.assert_allclose(runs[0]["sum_y"] - runs[1]["sum_y"], value, rtol=1e-9)
    sums_of(study, tmp_path / "site", policy=DEFAULT)
    with pytest.raises(PolicyError, match="differ from those of an earlier release by 1"):
        sums_of(study, tmp_path / "site", policy=DEFAULT, drop=victim)
    phases = [entry["phase"] for entry in released(tmp_path / "site")]
    assert phases == ["schema", "moments", "schema"]


def test_the_same_people_may_be_summed_again(tmp_path: Path) -> None:
    """Catches a site that takes part once in its life, and other bytes of the same sum."""
    study = case("combat", n=(30, 30, 30), covariates=("age",))
    first = sums_of(study, tmp_path, policy=DEFAULT)
    again = sums_of(study, tmp_path, policy=DEFAULT)
    other = sums_of(replace(study, options={"prior": "none"}), tmp_path, policy=DEFAULT)
    for name in first:
        assert np.array_equal(first[name], again[name])
        assert np.array_equal(first[name], other[name])
    assert len(released(tmp_path, kind="cohort")) == 1


def test_marks_are_of_people_and_their_data() -> None:
    """Catches a changed value that passes for the same person, an order of rows that passes for
    other people, and marks that can be made without the site's secret."""
    table = rows_of(case("combat", n=(12, 12), covariates=("age", "sex")))
    own = marks(table, SECRET)
    assert len(own) == 12
    order = np.random.default_rng(0).permutation(12)
    shuffled = replace(
        table,
        rows=None,
        values=table.block(slice(None))[order],
        people=table.people[order],
        batch=table.batch[order],
        covariates=table.covariates.iloc[order].reset_index(drop=True),
    )
    assert marks(shuffled, SECRET) == own
    assert not set(marks(table, b"another")) & set(own)
    values = table.block(slice(None)).copy()
    values[3, 2] += 1e-9
    assert len(set(own) - set(marks(replace(table, values=values, rows=None), SECRET))) == 1
    older = table.covariates.assign(age=table.covariates["age"] + np.eye(12)[5])
    assert len(set(own) - set(marks(replace(table, covariates=older), SECRET))) == 1


def test_counts() -> None:
    """Catches rows that are counted as people, levels of nobody, and a leverage that depends on
    units or on a column that is constant."""
    study = case("combat", n=(20, 20), covariates=("age", "sex"))
    schema = direct(study, study.tables()).plan.schema
    table = rows_of(study)
    found = counts(table, schema, group="fit")
    assert found.people == 20
    assert sum(found.cells.values()) == 20
    X = np.column_stack(
        [np.ones(20), table.covariates["age"], table.covariates["sex"].to_numpy() == "M"]
    ).astype(float)
    assert found.leverage == pytest.approx(np.diag(X @ np.linalg.pinv(X)).max(), rel=1e-9)
    seconds = table.covariates.assign(age=table.covariates["age"] * 3e7)
    scaled = counts(replace(table, covariates=seconds), schema, group="fit")
    assert scaled.leverage == pytest.approx(found.leverage, rel=1e-6)
    twice = replace(table, people=np.repeat(table.people[:10], 2))
    assert counts(twice, schema, group="fit").people == 10


def test_people_held_out_count_too(tmp_path: Path) -> None:
    """Catches an evaluation that sums four people because the fit has enough."""
    study = replace(
        case("combat", n=(30, 40, 40), covariates=("age",), seed=3),
        evaluation={"metrics": "summed", "held_out": 0.15},
    )
    federation = Federation(study, folder=tmp_path, policies=dict.fromkeys(SITES, DEFAULT))
    outcome = federation.run()
    few = {
        site: int(np.sum(~in_fit(table.people, held_out=0.15, seed=study.seed)))
        for site, table in federation.tables.items()
    }
    assert min(few.values()) < 10
    assert outcome.unjudged == {site: "policy" for site, n in few.items() if n < 10}
    assert not outcome.missing


def test_methods(tmp_path: Path) -> None:
    """Catches a study that begins with a method which the hospital does not take part in."""
    study = case("combat", n=(30, 30), covariates=())
    with pytest.raises(PolicyError, match="does not take part"):
        sums_of(study, tmp_path, policy=SitePolicy(methods=("nyul",)))
    assert released(tmp_path) == []
    assert sums_of(study, tmp_path, policy=SitePolicy(methods=("nyul", "combat")))
