"""Sites that are lost, or come, between sums that nobody reads by site."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.direct import direct
from conformance.federation import Alter, Federation
from conformance.hostile import on
from conformance.ledgers import released
from conformance.masked import SHY, SITES, N, after, all_shy, ran, refusing, secure
from motet.client.policy import OPEN, SitePolicy
from motet.errors import QuorumError, SubtractionError
from motet.server.events import Kind


def test_one_that_says_nothing_of_masks() -> None:
    """Catches a sum that waits for everybody: three of four are enough to take masks off."""
    study = secure()
    honest, expected = ran(study)
    sites, outcome = ran(study, alter={SITES[1]: on("query.reveal", refusing("site-failed"))})
    assert not outcome.missing
    for name, array in expected.shared.items():
        assert outcome.shared[name].tobytes() == array.tobytes()
    assert np.array_equal(sites.values, honest.values)


def test_two_that_say_nothing_of_masks() -> None:
    """Catches masks that come off with the help of too few."""
    quiet = on("query.reveal", refusing("site-failed"))
    sites = Federation(secure(), alter={SITES[1]: quiet, SITES[2]: quiet}, policies=all_shy())
    with pytest.raises(SubtractionError, match="Lost after a sum"):
        sites.run()


def test_one_that_is_lost_before_anything_is_read() -> None:
    """Catches masks that come off for a sum which is not used: the study starts over."""
    study = secure()
    sites = Federation(
        study, alter={SITES[3]: on("train.phase", refusing("site-failed"))}, policies=all_shy()
    )
    outcome = sites.run()
    assert outcome.missing == {SITES[3]: "site-failed"}
    tables = {site: table for site, table in study.tables().items() if site != SITES[3]}
    expected = direct(replace(study, secure=False), tables)
    for name, array in expected.shared.items():
        np.testing.assert_allclose(outcome.shared[name], array, rtol=1e-8, err_msg=name)
    assert {site for site, _ in sites.asked("query.reveal")} == set(SITES[:3])


LATER = {"reference": "b3"}
"""A phase after the sum, at one site."""


def lost_later(policy: SitePolicy, code: str = "site-failed") -> Federation:
    study = secure(options={**LATER}, missing=0.1)
    failing: Alter = after("moments_of_incomplete", refusing(code))
    return Federation(study, alter={SITES[1]: failing}, policies=all_shy(policy))


def test_one_that_is_lost_after_a_sum_was_read() -> None:
    """Catches a study that goes on without it, the two sums differ by its own; and the advice to
    start a site again that is up and whose policy refuses."""
    with pytest.raises(SubtractionError, match=r"Lost after a sum .*: site-b1\. A sum"):
        lost_later(SHY).run()
    with pytest.raises(SubtractionError, match="The policy of site-b1 refused") as caught:
        lost_later(SHY, code="policy").run()
    assert "started again" not in str(caught.value)
    outcome = lost_later(OPEN).run()
    assert outcome.missing == {SITES[1]: "site-failed"}


def test_the_sites_themselves_see_to_it(tmp_path: Path) -> None:
    """Catches a coordinator that asks for the same sum without one site, in a study of its own."""
    study = secure()
    ran(study, folder=tmp_path, policies=all_shy())
    fewer = {site: table for site, table in study.tables().items() if site != SITES[2]}
    sites = Federation(study, fewer, folder=tmp_path, policies=all_shy())
    with pytest.raises(SubtractionError, match="Nothing was read"):
        sites.run()
    assert "those of site-b2" in str(sites.errors[0][1])
    assert not [r for r in released(tmp_path / SITES[0], kind="reveal") if len(r["salts"]) == 3]
    # Where that site does not mind, or did not when it took part, nothing stands against it.
    outcome = Federation(study, fewer, folder=tmp_path / "other", policies=all_shy()).run()
    assert not outcome.missing


def test_two_of_three_are_not_masked_for_a_shy_site() -> None:
    """Catches a coordinator that loses sites until two are left, whose sums it could read."""
    study = secure(n=N[:3])
    policies = dict.fromkeys(SITES[:3], SHY)
    failing = on("train.phase", refusing("site-failed"))
    sites = Federation(study, alter={SITES[0]: failing}, policies=policies)
    with pytest.raises(QuorumError, match="policy"):
        sites.run()
    revealed = [s for s in sites.sent if s.action == "query.reveal"]
    assert not revealed
    assert {type(error).__name__ for _, error in sites.errors} == {"PolicyError"}


def test_a_site_lost_while_it_is_judged() -> None:
    """Catches an evaluation that starts over without it, and a model that is lost with it."""
    study = secure(evaluation={"metrics": "summed", "held_out": 0.3})
    failing = after("evaluation_moments", refusing("site-failed"))
    for policy, judged in ((SHY, False), (OPEN, True)):
        sites = Federation(study, alter={SITES[1]: failing}, policies=all_shy(policy))
        outcome = sites.run()
        assert not outcome.missing
        assert (outcome.judgement is not None) is judged
        assert outcome.unjudged == {SITES[1]: "site-failed"}
        told = [e.code for e in sites.events if e.kind is Kind.UNJUDGED]
        assert ("subtraction" in told) is not judged


@pytest.mark.parametrize(
    "changes",
    [
        {"covariates": ("age",)},
        {"evaluation": {"metrics": "summed", "held_out": 0.3}},
        {"options": {"adjust": "location"}},
        {"seed": 0},
    ],
    ids=["other covariates", "other evaluation", "other options", "the same"],
)
def test_another_study_of_the_same_people(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Catches a sum without one site that passes for new since the study is another: what is
    summed of these people is the same."""
    people = OPEN.model_copy(update={"plain_sums": False, "changed_by": 2})
    ran(secure(), folder=tmp_path, policies=all_shy(people))
    other = secure(**changes)
    fewer = {site: table for site, table in other.tables().items() if site != SITES[2]}
    sites = Federation(other, fewer, folder=tmp_path, policies=all_shy(people))
    with pytest.raises(SubtractionError, match="Nothing was read"):
        sites.run()
    assert any("those of site-b2" in str(error) for _, error in sites.errors)


def test_other_people_are_other_equations(tmp_path: Path) -> None:
    """Catches a consortium that can never grow: sums of others give nobody away."""
    people = OPEN.model_copy(update={"plain_sums": False, "changed_by": 5, "smallest_n": 2})
    ran(secure(), folder=tmp_path, policies=all_shy(people))
    later = {
        site: replace(table, people=np.array([f"later-{who}" for who in table.people]))
        for site, table in secure().tables().items()
        if site != SITES[2]
    }
    outcome = Federation(secure(), later, folder=tmp_path, policies=all_shy(people)).run()
    assert not outcome.missing


def test_one_that_is_lost_while_it_harmonizes() -> None:
    """Catches an evaluation over the others: with the sums of the fit, it gives this one's."""
    study = secure(evaluation={"metrics": "summed"})
    failing = on("query.finish", refusing("site-failed"))
    for policy, judged in ((SHY, False), (OPEN, True)):
        sites = Federation(study, alter={SITES[1]: failing}, policies=all_shy(policy))
        outcome = sites.run()
        assert outcome.missing == {SITES[1]: "site-failed"}
        assert (outcome.judgement is not None) is judged
