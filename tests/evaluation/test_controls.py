"""The controls of a simulation: floor, ceiling, and covariates that mean nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conformance.cases import Case, case
from conformance.federation import Federation
from motet import controls, sites
from motet.agreement import agree
from motet.errors import MotetError
from motet.evaluation.result import Judgement
from motet.plan import Plan, build_plan
from motet.server.events import Event, Kind

SITE_OF = {"b0": "x", "b1": "x", "b2": "y", "b3": "z"}
ASKED = {"metrics": "none", "held_out": 0.3}
NOT_JUDGED = {"metrics": "none"}


def planned(study: Case) -> Plan:
    described = [table.described for table in study.tables(SITE_OF).values()]
    unseen = study.evaluation.get("unseen", ())
    return build_plan(study.study, agree(described, unseen=unseen))


@pytest.mark.parametrize("options", [{}, {"reference": "b2"}, {"reference": "x/b1"}])
@pytest.mark.parametrize("unseen", [(), ("z",)])
def test_pooled_is_what_a_federation_comes_to(
    options: dict[str, str], unseen: tuple[str, ...]
) -> None:
    """Catches a ceiling of other people, other batches, or without the reference."""
    study = replace(
        case(options=options, n=(20, 22, 18, 21), missing=0.03),
        evaluation={**ASKED, "unseen": unseen},
    )
    tables, plan = study.tables(SITE_OF), planned(study)
    federation = Federation(study, tables)
    federation.run()
    found = controls.pooled(tables, sites.masks(tables, plan), plan)
    assert set(found) == set(tables)
    for site, table in tables.items():
        expected = federation.values[table.rows]
        scale = study.scale[None, :]
        np.testing.assert_allclose(found[site] / scale, expected / scale, rtol=0, atol=1e-12)


def test_masks() -> None:
    """Catches an unseen site's people taken for people of the fit."""
    study = replace(case(n=(20, 22, 18, 21)), evaluation={**ASKED, "unseen": ("z",)})
    tables = study.tables(SITE_OF)
    masks = sites.masks(tables, planned(study))
    assert not masks["z"].any()
    assert 0.5 < masks["x"].mean() < 0.9


def test_shuffled_stays_within_batch_and_moves_people() -> None:
    """Catches values that change batches (a site effect would look like one of the covariate),
    and people who keep what is theirs."""
    study = case(n=(20, 22, 18, 21))
    table = study.tables(SITE_OF)["x"]
    for column in ("age", "sex"):
        values = table.covariates[column].to_numpy()
        found = controls.shuffled(table, column, seed=1, step=0)
        for batch in table.batches:
            here = table.batch == batch
            assert sorted(found[here]) == sorted(values[here])
        assert (found != values).mean() > 0.2
        assert (found != controls.shuffled(table, column, seed=1, step=1)).any()


def test_shuffled_does_not_know_the_site() -> None:
    """Catches a draw of the site's: the same people would be shuffled otherwise elsewhere."""
    study = case(n=(20, 22, 18, 21))
    apart = study.tables({"b0": "p", "b1": "q", "b2": "r", "b3": "s"})["p"]
    together = study.tables(SITE_OF)["x"].where(study.tables(SITE_OF)["x"].batch == "b0")
    np.testing.assert_array_equal(
        controls.shuffled(apart, "age", seed=1, step=0),
        controls.shuffled(together, "age", seed=1, step=0),
    )


def test_sessions_of_a_person_stay_together() -> None:
    """Catches a person whose sex differs between two sessions."""
    study = case(n=(24,), covariates=("sex",))
    table = study.tables({"b0": "x"})["x"]
    people = np.array([f"sub-{i // 2}" for i in range(24)])
    sex = np.repeat(["F", "M", "M", "F", "F", "M"] * 2, 2)
    table = replace(table, people=people, covariates=table.covariates.assign(sex=sex))
    found = controls.shuffled(table, "sex", seed=3, step=0)
    for person in set(people.tolist()):
        assert len(set(found[people == person].tolist())) == 1
    assert (found != sex).any()


def test_permuted_is_harmonized_with_the_shuffled_values() -> None:
    """Catches a test for invented effects in which the method never saw the shuffled column."""
    study = replace(case(n=(20, 22, 18, 21), covariates=("age", "sex")), evaluation=ASKED)
    tables, plan = study.tables(SITE_OF), planned(study)
    masks = sites.masks(tables, plan)
    pytest.importorskip("sklearn")
    found = controls.permuted(tables, masks, {"harmonized": plan}, repeats=2)
    assert [one.column for one in found] == ["age", "age", "sex", "sex"]
    honest = controls.pooled(tables, masks, plan)
    for one in found:
        changed = study.covariates.copy()
        for site, table in tables.items():
            changed.loc[table.rows, one.column] = one.shuffled[site]
        federation = Federation(replace(study, covariates=changed))
        federation.run()
        for site, table in tables.items():
            np.testing.assert_allclose(
                one.values["harmonized"][site], federation.values[table.rows], rtol=1e-9
            )
        assert any(abs(one.values["harmonized"][s] - honest[s]).max() > 1e-6 for s in tables)


def test_a_site_that_fails_alone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a floor that is silently raw since the method failed on a site's own people."""
    study = replace(case(n=(2, 2, 20, 20), p=3), evaluation={"metrics": "none"})
    tables = study.tables({"b0": "x", "b1": "x", "b2": "y", "b3": "y"})
    plan, failed = planned(study), list[str]()
    masks = sites.masks(tables, plan)
    found = controls.local_only(tables, masks, plan, failed=failed.append)
    assert failed == ["x"]
    np.testing.assert_array_equal(found["x"], tables["x"].block(slice(None)))
    # The probes' own tests are elsewhere, and take seconds.
    pytest.importorskip("sklearn")
    empty = Judgement(source="simulation", people="", n=0, features=0, metrics=(), notes=("a",))
    monkeypatch.setattr("motet.evaluation.battery.battery", lambda *given, **more: empty)
    monkeypatch.setattr(controls, "permuted", lambda *given, **more: ())
    harmonized = {site: table.block(slice(None)) for site, table in tables.items()}
    judged = controls.full_judgement(study.study, plan, tables, harmonized)
    assert judged.notes == (
        "a",
        "The method failed on the people of x alone: its local-only values are its raw ones.",
    )


@pytest.mark.parametrize(
    ("method", "more"), [("deepcombat", {"kl": 0.5}), ("fed_combat", {"learning_rate": 0.1})]
)
def test_networks_are_compared_with_the_combat_of_their_own_study(
    method: str, more: dict[str, float]
) -> None:
    """Catches ComBat of other batches, covariates, people or options; one without its rate of
    invented effects, which is what a network's has to be read beside; and controls that are trained
    for minutes in silence."""
    pytest.importorskip("sklearn")
    asked: dict[str, object] = {"held_out": 0.3, "unseen": ("z",), "permutations": 20}
    made = replace(
        case(method, options={"reference": "b2", **more}, n=(20, 22, 18, 21), missing=0.03),
        evaluation=asked,
    )
    tables, plan = made.tables(SITE_OF), planned(made)
    masks = sites.masks(tables, plan)
    harmonized = controls.pooled(tables, masks, plan)
    seen: list[Event] = []
    judged = controls.full_judgement(made.study, plan, tables, harmonized, observe=seen.append)
    told = [(event.phase, event.step, event.steps) for event in seen if event.kind is Kind.CONTROL]
    fitted = [*(f"{site} alone" for site in tables), "everybody in one place"]
    fitted += [f"{name} shuffled" for name in made.covariates for _ in range(controls.REPEATS)]
    assert told == [(what, k + 1, len(fitted)) for k, what in enumerate(fitted)]
    for name in ("site_accuracy_linear_svm", "anova_share", "invented_effect_share_age"):
        assert {"combat", "harmonized"} <= set(judged.metric(name).readings), name
    combat = replace(
        made, method="combat", options={"reference": "b2"}, evaluation=asked | NOT_JUDGED
    )
    alone = Federation(combat, tables)
    alone.run()
    other = controls.combat_of(made.study, plan)
    assert other is not None
    found = controls.pooled(tables, masks, other)
    for site, table in tables.items():
        expected = alone.values[table.rows]
        scale = made.scale[None, :]
        np.testing.assert_allclose(found[site] / scale, expected / scale, rtol=0, atol=1e-12)
    assert np.nanmax(abs(found["x"] - harmonized["x"])) > 1e-3
    assert controls.combat_of(combat.study, planned(combat)) is None


def test_a_combat_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a study that is not judged at all where ComBat beside it cannot be fitted."""
    pytest.importorskip("sklearn")
    study = replace(case(n=(20, 22, 18, 21), p=3), evaluation={"held_out": 0.3, "permutations": 20})
    tables, plan = study.tables(SITE_OF), planned(study)

    def failing(*given: object) -> Plan:
        raise MotetError("The design is singular.")

    monkeypatch.setattr(controls, "combat_of", failing)
    harmonized = {site: table.block(slice(None)) for site, table in tables.items()}
    seen: list[Event] = []
    judged = controls.full_judgement(study.study, plan, tables, harmonized, observe=seen.append)
    assert [event.kind for event in seen] == [Kind.COMPARING]  # all are over at once
    assert "ComBat failed on these people, and is not compared: The design is singular." in (
        judged.notes
    )
    assert "combat" not in judged.metric("anova_share").readings
