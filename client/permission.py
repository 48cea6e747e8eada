"""Whether a phase may run at this site: asked before anything is computed, at every phase."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.approval import Approvals
from motet.client.cohorts import Marks, cohort_id, mark_of, marks
from motet.client.counts import groups
from motet.client.gate import Gate
from motet.client.local_site import LocalSite
from motet.client.policy import OPEN, SitePolicy
from motet.errors import NotApprovedError
from motet.evaluation.rows import rows
from motet.phases import Phase, Publish
from motet.plan import Plan
from motet.releases import Arrays, Leaves, bind
from motet.store import canonical_json
from motet.training.exchange import Exchange
from motet.training.phase import SAMPLES, VALIDATED, WEIGHT

Bool = NDArray[np.bool_]
INCOMPLETE = ("incomplete", "judged_incomplete")
"""Sizes of arrays that are of people with a value of some features alone."""


@dataclass(kw_only=True)
class Permission:
    """What this site asks before it computes what may leave, for one plan.

    Attributes
    ----------
    gate : Gate
    policy : SitePolicy
    approvals : Approvals or None
    plan : Plan
    table : Table
    fit : (n,) bool
    secret : bytes
        By which people are marked.
    """

    gate: Gate
    policy: SitePolicy
    approvals: Approvals | None
    plan: Plan
    table: Table
    fit: Bool
    secret: bytes
    _cohorts: list[Marks] | None = field(default=None, init=False)

    def approved(self) -> None:
        """Refuse a plan that nobody approved, or whose sums would be read; note that it was.

        Raises
        ------
        NotApprovedError, PolicyError
        """
        self.gate.check_plain(self.plan)
        self.gate.check_budget(self.plan)
        if self.approvals is None:
            return
        try:
            self.approvals.check(self.plan)
        except NotApprovedError as error:
            self.gate.refused(self.plan, "approval", [error.what])
            raise

    def check(
        self, phase: Phase, path: str, shared: Arrays, judging: LocalSite | None = None
    ) -> None:
        """Refuse what is not approved, sums over too few, and people nearly those of before.

        Parameters
        ----------
        phase : Phase
        path : str
        shared : mapping of str to ndarray
        judging : LocalSite, optional
            The site as an evaluation sees it.

        Raises
        ------
        NotApprovedError, PolicyError
        """
        self.approved()
        if self.policy == OPEN or phase.leaves is Leaves.PERSONAL:
            return  # one person's own, who consented: the method asks for that
        self._check_cohorts()
        sizes = self.plan.sizes(shared)
        by_feature = any(
            dim in INCOMPLETE and sizes[dim] for spec in phase.releases for dim in spec.shape
        )
        found = groups(
            self.table,
            self.plan.schema,
            self._masks(phase, shared, judging),
            by_feature=by_feature,
            earlier=self.gate.remembered.earlier_knots(),
        )
        cohort = self.cohort
        self.gate.check_people(
            found, plan=self.plan, path=path, cohort=cohort, alone=isinstance(phase, Publish)
        )
        self.gate.check_repeats(shared, plan=self.plan, path=path, cohort=cohort)
        numbers = sum(prod(bind(spec.shape, sizes)) for spec in phase.releases)
        self.gate.check_lifetime(numbers, shared, plan=self.plan, path=path, cohort=cohort)

    def check_step(self, phase: Exchange, path: str, arrays: Arrays) -> None:
        """Refuse an exchange of a training behind which too few samples stand.

        Masks hide a site's part of a sum, but not rows of single batches, which are one site's.
        Of local steps every group counts by itself: behind that of an update with an interval of
        its own stand fewer.

        Raises
        ------
        PolicyError
        """
        owned = any(group.keeper == "owned" for group in phase.train.groups)
        if self.plan.masks(phase) and not owned:
            return
        behind = arrays.get(WEIGHT, arrays.get(SAMPLES, np.zeros(1)))
        counted = {
            # A group without samples changes nothing.
            "samples are trained on": int(min(behind[behind > 0], default=0)),
            "samples validate": int(arrays.get(VALIDATED, 0)),
        }
        self.gate.check_samples(counted, plan=self.plan, path=path, cohort=self.cohort)

    @property
    def cohort(self) -> str:
        """Name of the people whom the releases of this plan are of; empty where nobody asks."""
        return "+".join(cohort_id(one) for one in self._marked())

    def people(self) -> str:
        """What the ledger calls this site's people; empty where nobody compares them."""
        if not self.policy.changed_by:
            return ""
        marked = sorted(self._people())
        name = hashlib.sha256(canonical_json(marked).encode()).hexdigest()[:16]
        self.gate.remembered.note_people(name, marked)
        return name

    def same_people(self, name: str) -> bool:
        """Whether earlier people differ from these by too few to tell sums of them apart."""
        earlier = self.gate.remembered.people_called(name) if name else None
        return earlier is None or len(earlier ^ self._people()) < self.policy.changed_by

    def _people(self) -> frozenset[str]:
        return frozenset(mark_of(self.secret, str(who)) for who in set(self.table.people.tolist()))

    def note(self) -> None:
        """Write down whose sums are going to leave, and with which knots, for the next study."""
        for found in self._marked():
            self.gate.remembered.note_cohort(found, plan=self.plan)
        self.gate.remembered.note_knots(self.plan)

    def _marked(self) -> list[Marks]:
        """Marks of the fit and of the others; once a process: its table does not change."""
        if self._cohorts is None:
            self._cohorts = []
            if self.policy.changed_by:
                parts = (self.fit, ~self.fit) if self.plan.evaluation else (self.fit,)
                self._cohorts = [
                    marks(self.table.where(part), self.secret) for part in parts if part.any()
                ]
        return self._cohorts

    def _check_cohorts(self) -> None:
        for found in self._marked():
            self.gate.check_cohort(found, plan=self.plan, cohort=self.cohort)

    def _masks(self, phase: Phase, shared: Arrays, judging: LocalSite | None) -> Mapping[str, Bool]:
        """The rows that a phase sums over, by what they are called."""
        if phase.of:
            known = self.table.travelers
            named = [known[key] for key in phase.of if key in known]
            return {"travelers": self.fit & np.isin(self.table.people, named)}
        if judging is None or not self.plan.judges(phase):
            return {"fit": self.fit}
        everybody = bool(shared.get("everybody", self.plan.held_out == 0))
        chosen = rows(
            judging, everybody=everybody, held_out=self.plan.held_out, seed=self.plan.seed
        )
        masks = {"fit": self.fit, "held out": ~self.fit}
        masks |= {"judged": chosen.judged, "trained": chosen.trained, "read": chosen.read}
        return {name: mask for name, mask in masks.items() if mask.any()}
