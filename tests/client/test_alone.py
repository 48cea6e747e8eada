"""What a site comes to without the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import Case, case
from conformance.direct import direct
from conformance.toy import register_toy
from motet.agreement import agree
from motet.client.alone import alone
from motet.cohort import in_fit
from motet.plan import build_plan


def values_of(study: Case, site_of: dict[str, str], site: str, held_out: float = 0.0) -> Any:
    tables = study.tables(site_of)
    plan = build_plan(study.study, agree([t.described for t in tables.values()]))
    table = tables[site]
    fit = in_fit(table.people, held_out=held_out, seed=study.seed)
    made = alone(
        table,
        fit,
        method=plan.harmonizer,
        params=plan.params,
        schema=plan.schema,
        seed=study.seed,
    )
    return table, fit, made


SITE_OF = {"b0": "x", "b1": "x", "b2": "y", "b3": "y"}


@pytest.mark.parametrize("options", [{}, {"prior": "none"}, {"reference": "b1"}])
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_equals_the_method_over_the_site_alone(options: dict[str, Any], missing: float) -> None:
    """Catches a floor that knows the other sites, or is not what the method would make."""
    study = case(options=options, n=(15, 18, 12, 14), missing=missing)
    table, _, made = values_of(study, SITE_OF, "x")
    rows = np.isin(study.batch, ["b0", "b1"])
    part = replace(
        study,
        values=study.values[rows],
        batch=study.batch[rows],
        covariates=study.covariates[rows].reset_index(drop=True),
    )
    np.testing.assert_array_equal(made, direct(part, part.pooled()).values)
    assert abs(np.nan_to_num(made - table.block(slice(None)))).max() > 0


def test_reference_at_another_site_is_left_out() -> None:
    """Catches a site that fails, since it does not have the batch others are brought to."""
    study = case(options={"reference": "b1"}, n=(15, 18, 12, 14))
    _, _, made = values_of(study, SITE_OF, "y")
    plain = case(n=(15, 18, 12, 14))
    np.testing.assert_array_equal(made, values_of(plain, SITE_OF, "y")[2])


def test_fit_does_not_see_who_is_held_out() -> None:
    """Catches a floor that is judged on the people it was fitted on."""
    study = case(n=(25, 28, 12, 14), covariates=("age",))
    table, fit, made = values_of(study, SITE_OF, "x", held_out=0.3)
    changed = study.values.copy()
    changed[table.rows[~fit]] += 100.0
    other = values_of(replace(study, values=changed), SITE_OF, "x", held_out=0.3)[2]
    np.testing.assert_array_equal(made[fit], other[fit])
    assert (~fit).any()


def test_one_batch_stays_as_it_is() -> None:
    """Catches a site with one scanner that is rescaled against itself."""
    study = case(n=(15, 18))
    table, _, made = values_of(study, {"b0": "x", "b1": "y"}, "x")
    np.testing.assert_array_equal(made, table.block(slice(None)))


def test_too_few_people_stay_as_they_are() -> None:
    """Catches a study that ends because one of its sites could not do it alone."""
    study = case(n=(2, 2, 20, 20), covariates=("age", "sex", "dx"))
    table, _, made = values_of(study, SITE_OF, "x")
    np.testing.assert_array_equal(made, table.block(slice(None)))


def test_every_kind_of_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a step of a plan that is done otherwise than in a federation of one."""
    register_toy(monkeypatch)
    options = {"turns": 3, "inner": 2, "left": 2}
    study = case("toy", options, n=(5, 6), p=3, covariates=())
    _, _, made = values_of(study, {"b0": "x", "b1": "x"}, "x")
    np.testing.assert_array_equal(made, direct(study, study.pooled()).values)
