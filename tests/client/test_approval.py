"""Nothing starts that the data manager did not approve, as it is, for its time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conformance.cases import Case, case
from conformance.direct import direct
from conformance.ledgers import released
from motet.client import approval
from motet.client.approval import Approvals, Rule
from motet.client.pending import PendingStudies
from motet.client.policy import OPEN, SitePolicy
from motet.client.worker import SiteWorker
from motet.errors import MotetError, NotApprovedError, PolicyError
from motet.ledger import Ledger
from motet.plan import Plan

STUDY = case("combat", n=(30, 30), covariates=("age", "sex"), p=4)
TODAY = datetime(2027, 3, 1, 12, tzinfo=UTC)


def worker(study: Case, folder: Path, *, policy: SitePolicy = OPEN, **given: Any) -> SiteWorker:
    table = study.tables()["site-b0"]
    book = Ledger(folder / "ledger.sqlite", site="site-b0")
    return SiteWorker(
        name="site-b0",
        open_table=lambda params, **asked: table,
        sink=None,  # type: ignore[arg-type]
        ledger=book.path,
        policy=policy,
        secret=b"secret",
        approvals=Approvals(book, given.pop("rules", ()), given.pop("now", lambda: TODAY)),
        asked=PendingStudies(folder / "pending").keep,
    )


def started(study: Case, site: SiteWorker, *, plan: Plan | None = None) -> Any:
    """What the first sum of a study sends, if anything."""
    made = plan or direct(study, study.tables()).plan
    site.agree({"study": study.study.public()})
    site.prepare({"schema": made.schema.to_json(), "done": []}, made.hash)
    return site.phase("moments", {}, made.hash)


def approved(folder: Path, plan: Plan, **changes: Any) -> Approvals:
    found = Approvals(Ledger(folder / "ledger.sqlite", site="site-b0"), now=lambda: TODAY)
    asked = {"study": plan.study, "purpose": "thickness", "until": date(2027, 6, 1), "by": "me"}
    found.approve(plan.hash, **{**asked, **changes})
    return found


def nothing_left(folder: Path) -> None:
    assert {entry["phase"] for entry in released(folder)} <= {"schema"}


def test_only_what_was_approved_starts(tmp_path: Path) -> None:
    """Catches a study that starts unasked, one that does not start though it was approved, and an
    approval that nobody finds in the ledger."""
    plan = direct(STUDY, STUDY.tables()).plan
    with pytest.raises(NotApprovedError, match="is not approved"):
        started(STUDY, worker(STUDY, tmp_path))
    nothing_left(tmp_path)
    (pending,) = PendingStudies(tmp_path / "pending").all()
    assert (pending.plan, pending.study) == (plan.hash, "made-up")
    assert pending.build().hash == plan.hash
    found = approved(tmp_path, plan)
    assert started(STUDY, worker(STUDY, tmp_path))
    (entry,) = released(tmp_path, kind="approval")
    assert (entry["plan"], entry["purpose"], entry["by"]) == (plan.hash, "thickness", "me")
    found.revoke(plan.hash, study=plan.study, reason="consent withdrawn", by="me")
    with pytest.raises(NotApprovedError, match="revoked"):
        started(STUDY, worker(STUDY, tmp_path))


def test_revoked_in_the_middle(tmp_path: Path) -> None:
    """Catches a run that goes on to its end although the word was taken back."""
    study = replace(STUDY, options={"reference": "b0"})
    plan = direct(study, study.tables()).plan
    found = approved(tmp_path, plan)
    site = worker(study, tmp_path)
    sums = started(study, site)
    assert sums
    found.revoke(plan.hash, study=plan.study, reason="consent withdrawn", by="me")
    before = len(released(tmp_path))
    with pytest.raises(NotApprovedError, match="revoked"):
        site.phase("moments", {}, plan.hash)
    assert len(released(tmp_path)) == before


def altered(rng: random.Random) -> Iterator[tuple[str, Case]]:
    """Studies that are nearly the one that was approved."""
    options: list[dict[str, Any]] = [
        {"prior": "none"},
        {"prior": "nonparametric"},
        {"adjust": "location"},
        {"reference": "b0"},
        {"feature_groups": {"some": ["f0*"]}},
    ]
    while True:
        kind = rng.randrange(4)
        if kind == 0:
            yield "options", replace(STUDY, options=rng.choice(options))
        elif kind == 1:
            yield "seed", replace(STUDY, seed=rng.randrange(1, 10**6))
        elif kind == 2:
            share = rng.randrange(1, 900) / 1000
            yield "evaluation", replace(STUDY, evaluation={"metrics": "none", "held_out": share})
        else:
            metrics = {"metrics": "summed", "biology": [rng.choice(["age", "sex"])]}
            yield "biology", replace(STUDY, evaluation=metrics)


def nothing_starts(folder: Path, times: int, seed: int) -> None:
    """Altered plans, forged hashes, approvals that ran out, were revoked, or another version's."""
    rng = random.Random(seed)
    plan = direct(STUDY, STUDY.tables()).plan
    studies = altered(rng)
    for turn in range(times):
        home = folder / str(turn)
        home.mkdir()
        kind = turn % 5
        if kind == 0:
            approved(home, plan)
            _, study = next(studies)
            with pytest.raises(NotApprovedError, match="not approved"):
                started(study, worker(study, home))
        elif kind == 1:  # the approved hash for another study
            approved(home, plan)
            _, study = next(studies)
            site = worker(study, home)
            site.agree({"study": study.study.public()})
            with pytest.raises(MotetError):
                site.prepare({"schema": plan.schema.to_json(), "done": []}, plan.hash)
        elif kind == 2:
            days = rng.randrange(1, 4000)
            approved(home, plan, until=(TODAY - timedelta(days=days)).date())
            with pytest.raises(NotApprovedError, match="approved until"):
                started(STUDY, worker(STUDY, home), plan=plan)
        elif kind == 3:
            approved(home, plan).revoke(plan.hash, study="made-up", reason="no", by="me")
            with pytest.raises(NotApprovedError, match="revoked"):
                started(STUDY, worker(STUDY, home), plan=plan)
        else:
            before = approval.__version__
            approval.__version__ = f"0.{rng.randrange(9)}.{rng.randrange(99)}.old"
            try:
                approved(home, plan)
            finally:
                approval.__version__ = before
            with pytest.raises(NotApprovedError, match="approved for Motet"):
                started(STUDY, worker(STUDY, home), plan=plan)
        nothing_left(home)


def test_altered_plans_do_not_start(tmp_path: Path) -> None:
    """Catches an approval that covers more than the one plan, version and time it was given for."""
    nothing_starts(tmp_path, 60, seed=1)


@pytest.mark.long
def test_five_hundred_altered_plans_do_not_start(tmp_path: Path) -> None:
    """The same 500 times."""
    nothing_starts(tmp_path, 500, seed=2)


def test_rules(tmp_path: Path) -> None:
    """Catches a rule that covers other studies, methods or days, one that leaves no trace, and one
    that brings back what was revoked."""
    plan = direct(STUDY, STUDY.tables()).plan
    fits = {"purpose": "methods research", "until": "2027-03-01"}
    for number, rule in enumerate(
        (
            {**fits, "studies": ["other-*"]},
            {**fits, "methods": ["nyul"]},
            {**fits, "until": "2027-02-28"},
        )
    ):
        home = tmp_path / str(number)
        home.mkdir()
        with pytest.raises(NotApprovedError):
            started(STUDY, worker(STUDY, home, rules=[Rule.model_validate(rule)]))
    rules = [Rule.model_validate({**fits, "studies": ["made-*"], "methods": ["combat"]})]
    assert started(STUDY, worker(STUDY, tmp_path, rules=rules))
    (entry,) = released(tmp_path, kind="approval")
    assert (entry["by"], entry["purpose"]) == ("a rule", "methods research")
    book = Ledger(tmp_path / "ledger.sqlite", site="site-b0")
    Approvals(book).revoke(plan.hash, study=plan.study, reason="not any more", by="me")
    with pytest.raises(NotApprovedError, match="revoked"):
        started(STUDY, worker(STUDY, tmp_path, rules=rules))


def test_override(tmp_path: Path) -> None:
    """Catches an override that covers another plan, that is not on record, or that stands in for
    an approval."""
    strict = SitePolicy(smallest_n=40, plain_sums=True)
    plan = direct(STUDY, STUDY.tables()).plan
    approved(tmp_path, plan)
    with pytest.raises(PolicyError, match="30 people, fewer than 40"):
        started(STUDY, worker(STUDY, tmp_path, policy=strict))
    found = Approvals(Ledger(tmp_path / "ledger.sqlite", site="site-b0"), now=lambda: TODAY)
    why = {"study": "made-up", "reason": "a pilot, ethics 12/2027", "by": "me"}
    refused = found.refused_cohort(plan.hash)
    assert refused
    late = {"until": date(2027, 2, 28), "cohort": refused}
    for plans, given in (
        ("0" * 64, {"until": date(2027, 6, 1), "cohort": refused}),
        (plan.hash, late),
        (plan.hash, {"until": date(2027, 6, 1), "cohort": "of others"}),
    ):
        found.override(plans, **why, **given)
        with pytest.raises(PolicyError):
            started(STUDY, worker(STUDY, tmp_path, policy=strict))
    found.override(plan.hash, **why, until=date(2027, 6, 1), cohort=refused)
    assert started(STUDY, worker(STUDY, tmp_path, policy=strict))
    assert released(tmp_path, kind="override")[-1]["reason"] == "a pilot, ethics 12/2027"
    # The people are others now: the word was not for them.
    fewer = replace(STUDY, evaluation={"metrics": "none", "held_out": 0.3})
    approved(tmp_path, direct(fewer, fewer.tables()).plan)
    with pytest.raises(PolicyError):
        started(fewer, worker(fewer, tmp_path, policy=strict))
    home = tmp_path / "unapproved"
    home.mkdir()
    Approvals(Ledger(home / "ledger.sqlite", site="site-b0"), now=lambda: TODAY).override(
        plan.hash, **why, until=date(2027, 6, 1), cohort=refused
    )
    with pytest.raises(NotApprovedError):
        started(STUDY, worker(STUDY, home, policy=strict))
    assert released(home, kind="refusal")[-1]["phase"] == "approval"


def test_names_of_plans(tmp_path: Path) -> None:
    """Catches a study that is called as another's plan begins, and a name that means the newest
    plan, which nobody looked at."""
    pending = PendingStudies(tmp_path)
    plan = direct(STUDY, STUDY.tables()).plan
    pending.keep(plan, STUDY.study.public())
    assert pending.find("made-up").plan == plan.hash
    thief = replace(plan, study=plan.hash[:12])
    pending.keep(thief, STUDY.study.public())
    assert pending.find(plan.hash[:12]).plan == plan.hash
    other = direct(replace(STUDY, seed=7), STUDY.tables()).plan
    pending.keep(other, STUDY.study.public())
    with pytest.raises(MotetError, match="what several plans are called"):
        pending.find("made-up")
    assert pending.find(other.hash[:10]).plan == other.hash
