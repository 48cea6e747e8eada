"""What a site's ledger remembers of whom sums have left, for the studies that come after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from motet.client.cohorts import Marks, cohort_id
from motet.client.policy import OPEN, SitePolicy
from motet.ledger import Ledger
from motet.plan import Plan


def note(ledger: Ledger | None, kind: str, **body: Any) -> None:
    """Write an entry of this kind, now."""
    if ledger is not None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        ledger.append({"kind": kind, "at": now, **body})


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """People, cohorts and knots in a site's ledger.

    Parameters
    ----------
    ledger : Ledger or None
    policy : SitePolicy
    """

    ledger: Ledger | None
    policy: SitePolicy

    def note_cohort(self, found: Marks, *, plan: Plan) -> None:
        """Write down whose sums are going to leave."""
        if self.ledger is None:
            return
        cohort = cohort_id(found)
        if not any(e.body["cohort"] == cohort for e in self.ledger.entries("cohort")):
            note(
                self.ledger, "cohort", study=plan.study, plan=plan.hash, cohort=cohort, marks=found
            )

    def note_knots(self, plan: Plan) -> None:
        """Write down the knots of splines that sums are going to leave with, where they are new."""
        if self.ledger is None or self.policy == OPEN:
            return
        known = self.earlier_knots()
        for covariate in plan.schema.covariates:
            own = covariate.spline.every_knot.tolist() if covariate.spline else []
            if set(own) - set(known.get(covariate.name, ())):
                note(
                    self.ledger,
                    "knots",
                    study=plan.study,
                    plan=plan.hash,
                    covariate=covariate.name,
                    knots=own,
                )

    def earlier_knots(self) -> dict[str, list[float]]:
        """Covariate -> knots and bounds of all splines that sums left with."""
        found: dict[str, list[float]] = {}
        for entry in () if self.ledger is None else self.ledger.entries("knots"):
            found.setdefault(str(entry.body["covariate"]), []).extend(entry.body["knots"])
        return found

    def note_people(self, name: str, people: Sequence[str]) -> None:
        """Write down who a site's people are, marked, under a name."""
        if self.ledger is not None and self.people_called(name) is None:
            note(self.ledger, "people", name=name, people=list(people))

    def people_called(self, name: str) -> frozenset[str] | None:
        """The people of a name; None where nobody is called so."""
        for entry in () if self.ledger is None else self.ledger.entries("people"):
            if entry.body["name"] == name:
                return frozenset(map(str, entry.body["people"]))
        return None
