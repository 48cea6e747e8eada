"""The most epsilon and delta that a site spends in its life: counted in its ledger.

Composition over studies is the plain sum of epsilons and of deltas, which holds whatever
they do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum

from motet.client.policy import SitePolicy
from motet.ledger import Entry, Ledger
from motet.training.exchange import split_path
from motet.training.privacy import Private

ROUNDING = 1e-12
"""So that ten charges of 0.1 fit into 1."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What is spent and left.

    Parameters
    ----------
    policy : SitePolicy
    ledger : Ledger or None
    """

    policy: SitePolicy
    ledger: Ledger | None

    @property
    def spent(self) -> tuple[float, float]:
        """Epsilon and delta of all charges."""
        charges = [entry.body for entry in self._charges()]
        return fsum(float(c["epsilon"]) for c in charges), fsum(float(c["delta"]) for c in charges)

    def against(self, asked: Private) -> str:
        """What stands against spending so much more; empty: nothing."""
        limits = self.policy.epsilon, self.policy.delta
        more = asked.epsilon, asked.delta
        for name, limit, spent, cost in zip(
            ("epsilon", "delta"), limits, self.spent, more, strict=True
        ):
            if limit is not None and spent + cost > limit * (1 + ROUNDING):
                return (
                    f"{name} {cost:g} more than the {spent:g} that is spent would be more than "
                    f"the {limit:g} of its life"
                )
        return ""

    def said(self) -> str:
        """What is left, in words."""
        spent = self.spent
        if self.policy.epsilon is None and self.policy.delta is None:
            return (
                f"epsilon {spent[0]:g} and delta {spent[1]:g} are spent; the policy sets no limit"
            )
        found = [
            f"{name} {max(0.0, limit - used):g} of {limit:g} is left"
            for name, limit, used in zip(
                ("epsilon", "delta"), (self.policy.epsilon, self.policy.delta), spent, strict=True
            )
            if limit is not None
        ]
        return ", ".join(found)

    def charged(self, plan: str) -> bool:
        """Whether a plan was paid for, once at least."""
        return any(True for _ in self._charges(plan))

    def unused(self, plan: str, training: str, cohort: str) -> bool:
        """Whether the last charge for a training has paid for nothing yet: a crash came between."""
        paid = [
            e.number
            for e in self._charges(plan)
            if (e.body["phase"], e.body["cohort"]) == (training, cohort)
        ]
        if not paid or self.ledger is None:
            return False
        left = self.ledger.entries("release", plan=plan)
        return not any(e.number > paid[-1] and _of(e, training) for e in left)

    def _charges(self, plan: str = "") -> Iterator[Entry]:
        if self.ledger is not None:
            yield from self.ledger.entries("charge", plan=plan)


def _of(entry: Entry, training: str) -> bool:
    found = split_path(str(entry.body.get("phase", "")))
    return found is not None and found[0] == training
