"""What a data manager allowed: a plan, for a purpose, until a day. It stands in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict

from motet.errors import NotApprovedError
from motet.ledger import Entry, Ledger
from motet.plan import Plan
from motet.version import __version__


class Rule(BaseModel):
    """One of ``approve_automatically`` in ``site.yaml``: studies that need nobody's word.

    Parameters
    ----------
    purpose : str
        What the data may be used for.
    until : date
        The last day on which it holds.
    studies : list of str
        Names, with ``*`` for anything.
    methods : list of str
        Empty: all that the policy allows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    purpose: str
    until: date
    studies: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = ()

    def covers(self, plan: Plan, today: date) -> bool:
        """Whether a plan is meant, today."""
        return (
            today <= self.until
            and any(fnmatchcase(plan.study, pattern) for pattern in self.studies)
            and (not self.methods or plan.method in self.methods)
        )


def utc_now() -> datetime:
    """The time; tests give another."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Approvals:
    """Approvals of a site, by plan.

    Parameters
    ----------
    ledger : Ledger
    rules : sequence of Rule
    now : callable
    """

    ledger: Ledger
    rules: Sequence[Rule] = ()
    now: Callable[[], datetime] = utc_now

    def approve(self, plan: str, *, study: str, purpose: str, until: date, by: str) -> Entry:
        """Allow a plan, for this version of Motet."""
        return self._note(
            "approval",
            plan=plan,
            study=study,
            purpose=purpose,
            until=until.isoformat(),
            by=by,
            motet=__version__,
        )

    def revoke(self, plan: str, *, study: str, reason: str, by: str) -> Entry:
        """Take an approval back. What has left has left."""
        return self._note("revocation", plan=plan, study=study, reason=reason, by=by)

    def override(
        self, plan: str, *, study: str, cohort: str, reason: str, until: date, by: str
    ) -> Entry:
        """Let the people of a cohort pass the policy in one plan; the reason is on record."""
        return self._note(
            "override",
            plan=plan,
            study=study,
            cohort=cohort,
            reason=reason,
            until=until.isoformat(),
            by=by,
        )

    def state(self, plan: str) -> str:
        """``approved``, or in words why it is not."""
        last = self._last(plan, "approval", "revocation")
        if last is None:
            return "not approved"
        if last["kind"] == "revocation":
            return "revoked"
        if last["motet"] != __version__:
            return f"approved for Motet {last['motet']}, not for {__version__}"
        if self.now().date() > date.fromisoformat(str(last["until"])):
            return f"approved until {last['until']}"
        return "approved"

    def overridden(self, plan: str, cohort: str) -> bool:
        """Whether a data manager lets these people pass the policy in this plan."""
        found = False
        for entry in self.ledger.entries("override", "revocation"):
            body = entry.body
            if body.get("plan") != plan:
                continue
            if body["kind"] == "revocation":
                found = False
            elif body["cohort"] == cohort:
                found = self.now().date() <= date.fromisoformat(str(body["until"]))
        return found

    def refused_cohort(self, plan: str) -> str:
        """The people whom the policy last refused in a plan; empty where it refused nobody.

        Where the policy compares no cohorts, people have no name: then an override is of all.
        """
        found = ""
        for entry in self.ledger.entries("refusal"):
            if entry.body.get("plan") == plan and entry.body["phase"] != "approval":
                found = str(entry.body.get("cohort", ""))
        return found

    def check(self, plan: Plan) -> None:
        """Refuse a plan that nobody approved; a rule that covers it approves it.

        A plan that was revoked stays revoked whatever the rules say.

        Raises
        ------
        NotApprovedError
        """
        found = self.state(plan.hash)
        if found == "approved":
            return
        rule = next((r for r in self.rules if r.covers(plan, self.now().date())), None)
        if rule is not None and found != "revoked":
            self.approve(
                plan.hash, study=plan.study, purpose=rule.purpose, until=rule.until, by="a rule"
            )
            return
        raise NotApprovedError(
            f"The plan {plan.hash[:12]} of the study '{plan.study}' is {found}.",
            do="Look at it with 'motet site preview', then 'motet site approve'.",
        )

    def _last(self, plan: str, *kinds: str) -> dict[str, Any] | None:
        found = None
        for entry in self.ledger.entries(*kinds):
            if entry.body.get("plan") == plan:
                found = entry.body
        return found

    def _note(self, kind: str, **body: Any) -> Entry:
        return self.ledger.append(
            {"kind": kind, "at": self.now().isoformat(timespec="milliseconds"), **body}
        )
