"""The outgoing gate: the last thing before the transport. What is not declared does not leave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, Protocol

from motet.client.approval import Approvals
from motet.client.budget import Budget
from motet.client.cohorts import Marks, cohort_id, too_close
from motet.client.counts import Counts
from motet.client.policy import OPEN, SitePolicy
from motet.client.remembered import Remembered, note
from motet.errors import PolicyError, ReleaseRefusedError, SecureSumError
from motet.ledger import Ledger
from motet.phases import Phase
from motet.plan import Plan
from motet.releases import Arrays, ArraySpec, violations
from motet.store import bytes_hash, json_hash, little_endian
from motet.training.phase import Train
from motet.training.privacy import Mechanism


class Behind(Protocol):
    """What a release is hidden behind."""

    @property
    def about(self) -> str | dict[str, str]:
        """Name of the sum in the ledger, or of each traveler's."""
        ...

    @property
    def specs(self) -> Sequence[ArraySpec]:
        """What is declared."""
        ...

    def hide(self, arrays: Arrays) -> Arrays:
        """The arrays behind masks."""
        ...


class Gate:
    """Lets pass what is declared and what the site's policy allows, and writes down what left.

    Parameters
    ----------
    site : str
    ledger : Ledger or None
        Gets an entry for every release, description and refusal. None keeps no ledger.
    policy : SitePolicy
    approvals : Approvals, optional
        Has the plans that may pass the policy's counts for a written reason.
    anchored : bool
        Whether releases wait until the coordinator has countersigned their entries: these name
        the run, and what is answered again in a run has the entry that it had.
    """

    def __init__(
        self,
        site: str,
        *,
        ledger: Ledger | None = None,
        policy: SitePolicy = OPEN,
        approvals: Approvals | None = None,
        anchored: bool = False,
    ) -> None:
        self._site, self._ledger, self._policy = site, ledger, policy
        self._approvals, self._anchored = approvals, anchored

    def release(
        self,
        arrays: Arrays,
        *,
        plan: Plan,
        phase: Phase,
        path: str,
        sizes: Mapping[str, int],
        cohort: str = "",
        shared: Arrays | None = None,
        run: str = "",
        veil: Behind | None = None,
    ) -> Arrays:
        """Return `arrays` if they are exactly what `phase` declares, behind masks where asked.

        `cohort`, what the coordinator had `shared` and, where entries are countersigned, the `run`
        are noted with them. `veil` masks them.

        Raises
        ------
        ReleaseRefusedError
            Says which array departs from its declaration, and how.
        """
        specs = phase.releases if veil is None else veil.specs
        found = violations(arrays, specs, sizes)
        circle = {} if veil is None else {"circle": veil.about}
        if not found and veil is not None:
            try:
                arrays = veil.hide(arrays)
            except SecureSumError as error:
                found = (error.what,)
        if found:
            self.refused(plan, path, found, cohort=cohort, shared=shared)
            raise ReleaseRefusedError(
                f"The phase '{path}' would send what its plan does not declare: "
                f"{'; '.join(found)}. Nothing was sent.",
                site=self._site,
            )
        if arrays:
            self._note_release(
                study=plan.study,
                plan=plan.hash,
                phase=path,
                arrays=[
                    {
                        "name": name,
                        "dtype": array.dtype.name,
                        "shape": list(array.shape),
                        "bytes": array.nbytes,
                        "sha256": hashlib.sha256(little_endian(array).tobytes()).hexdigest(),
                    }
                    for name, array in sorted(arrays.items())
                ],
                **({"cohort": cohort, "shared": bytes_hash(shared or {}, "")} if cohort else {}),
                **circle,
                **({"run": run} if self._anchored else {}),
                **{"class": str(phase.leaves)},
            )
        return arrays

    def _note_release(self, **body: Any) -> None:
        """Write a release down; where a run asks for the very same again, it is the same one."""
        if self._ledger is not None and self._anchored:
            same = {**body, "kind": "release"}
            for entry in self._ledger.entries("release", plan=str(body["plan"])):
                if {name: value for name, value in entry.body.items() if name != "at"} == same:
                    return
        self._note("release", **body)

    def describe(
        self, description: Mapping[str, Any], declared: tuple[str, ...], *, study: str = ""
    ) -> Any:
        """Return a public description if it holds nothing but the declared keys."""
        if undeclared := sorted(set(description) - set(declared)):
            raise ReleaseRefusedError(
                f"The description would hold undeclared keys: {', '.join(undeclared)}.",
                site=self._site,
            )
        self._note(
            "release",
            study=study,
            phase="schema",
            keys=sorted(description),
            sha256=json_hash(description),
            **{"class": "schema"},
        )
        return description

    def check_method(self, method: str, *, study: str) -> None:
        """Refuse a study whose method this site takes no part in.

        Raises
        ------
        PolicyError
        """
        if not self._policy.allows(method):
            self._note("refusal", study=study, phase="schema", why=[f"method {method}"])
            raise PolicyError(
                f"The study '{study}' wants '{method}', which this site does not take part in.",
                do="Add it to policy.methods in site.yaml if the site should.",
                site=self._site,
            )

    def check_plain(self, plan: Plan) -> None:
        """Refuse a plan in which the coordinator would read this site's own sums.

        Raises
        ------
        PolicyError
        """
        if why := self._policy.against_plan(plan):
            self.refused(plan, "sums", [why])
            raise PolicyError(
                f"In the study '{plan.study}' {why}, which this site does not allow. Sums are "
                "masked where three sites or more take part, unless the study file says "
                "secure_sum: false or asks for rows of single batches (by_batch: true).",
                do="Wait for a third site; or, where the board agrees, set plain_sums: true under "
                "policy in site.yaml.",
                site=self._site,
            )

    def check_people(
        self,
        groups: Iterable[Counts],
        *,
        plan: Plan,
        path: str,
        cohort: str = "",
        alone: bool = False,
    ) -> None:
        """Refuse a phase behind whose sums too few people would stand.

        Raises
        ------
        PolicyError
            With all counts that are too small. Only its code leaves.
        """
        why = [words for group in groups for words in self._policy.against(group, alone=alone)]
        if why:
            self._stop(f"the phase '{path}'", why, plan=plan, path=path, cohort=cohort)

    def check_samples(
        self, counted: Mapping[str, int], *, plan: Plan, path: str, cohort: str = ""
    ) -> None:
        """Refuse an exchange of a training with samples of too few; none at all are allowed.

        Raises
        ------
        PolicyError
        """
        least = self._policy.smallest_n
        why = [
            f"{count} {what}, fewer than {least}: a larger 'batch', or more steps "
            "between exchanges, makes it more"
            for what, count in counted.items()
            if 0 < count < least
        ]
        if why:
            self._stop(f"the exchange '{path}'", why, plan=plan, path=path, cohort=cohort)

    def check_cohort(self, found: Marks, *, plan: Plan, cohort: str) -> None:
        """Refuse people who are too nearly those of an earlier release, or one cohort too many.

        Raises
        ------
        PolicyError
        """
        if self._ledger is None:
            return
        earlier = [entry.body for entry in self._ledger.entries("cohort")]
        known = {str(body["cohort"]) for body in earlier}
        why = []
        if apart := list(too_close(found, earlier, changed_by=self._policy.changed_by)):
            why.append(
                f"these people differ from those of an earlier release by {min(apart)}, fewer "
                f"than {self._policy.changed_by}: the difference of two sums would be theirs"
            )
        if cohort_id(found) not in known and len(known) >= self._policy.most_cohorts:
            why.append(f"{len(known)} different sets of people were summed already")
        if why:
            self._stop(f"the study '{plan.study}'", why, plan=plan, path="cohort", cohort=cohort)

    def check_repeats(self, shared: Arrays, *, plan: Plan, path: str, cohort: str) -> None:
        """Refuse to answer a phase again and again for other numbers of the coordinator.

        Raises
        ------
        PolicyError
        """
        if self._ledger is None or not cohort:
            return
        # Refusals count: whether a number is beyond a bound is an answer, too.
        asked = {
            str(entry.body.get("shared"))
            for entry in self._ledger.entries("release", "refusal", plan=plan.hash)
            if entry.body.get("phase") == path
            and entry.body.get("cohort") == cohort
            and "shared" in entry.body
        }
        if bytes_hash(shared, "") not in asked and len(asked) >= self._policy.repeats:
            why = [f"it was answered for {len(asked)} different models already"]
            self._stop(f"the phase '{path}'", why, plan=plan, path=path, cohort=cohort)

    def check_lifetime(
        self, numbers: int, shared: Arrays, *, plan: Plan, path: str, cohort: str
    ) -> None:
        """Refuse what would tell more numbers than may leave in the site's life.

        Raises
        ------
        PolicyError
        """
        if self._ledger is None or self._policy.lifetime is None:
            return
        # By what it answers: what was sent again, behind whatever masks, told nothing new.
        told = {
            tuple(str(entry.body.get(k)) for k in ("plan", "phase", "cohort", "shared")): sum(
                prod(array["shape"]) for array in entry.body.get("arrays", ())
            )
            for entry in self._ledger.entries("release")
        }
        told.pop((plan.hash, path, cohort, bytes_hash(shared, "")), None)
        if (total := sum(told.values())) + numbers > self._policy.lifetime:
            why = [
                f"{numbers} numbers more than the {total} that left would be more than the "
                f"{self._policy.lifetime} of its life"
            ]
            self._stop(f"the phase '{path}'", why, plan=plan, path=path, cohort=cohort)

    def charge(self, plan: Plan, train: Train, how: Mechanism, *, cohort: str) -> None:
        """Spend a training's epsilon and delta before anything of it leaves, once a training.

        No override helps: the budget is the site's own, and stands in its site.yaml.

        Raises
        ------
        PolicyError
            When that would be more than the site spends in its life.
        """
        asked, budget = train.private, self.budget
        if asked is None or budget.unused(plan.hash, train.name, cohort):
            return
        self._afford(plan, train, cohort=cohort)
        self._note(
            "charge",
            study=plan.study,
            plan=plan.hash,
            phase=train.name,
            cohort=cohort,
            rate=how.rate,
            steps=how.steps,
            noise_multiplier=how.noise_multiplier,
            **(plan.privacy or {}),
        )

    def check_rerun(self, plan: Plan, train: Train, *, cohort: str) -> None:
        """Refuse a training that was paid for, begins again, and cannot be paid for again.

        Raises
        ------
        PolicyError
        """
        if not self.budget.unused(plan.hash, train.name, cohort):
            self._afford(plan, train, cohort=cohort)

    def check_budget(self, plan: Plan) -> None:
        """Refuse a plan that the site could not pay for, before the sums that come first leave.

        Raises
        ------
        PolicyError
        """
        private = [p for p in plan.phases if isinstance(p, Train) and p.private is not None]
        if private and not self.budget.charged(plan.hash):
            for train in private:
                self._afford(plan, train)

    def _afford(self, plan: Plan, train: Train, *, cohort: str = "") -> None:
        why = "" if train.private is None else self.budget.against(train.private)
        if why:
            self.refused(plan, train.name, [why], cohort=cohort)
            raise PolicyError(
                f"The policy of this site refuses the training '{train.name}': {why}. Nothing of "
                "it was sent.",
                do="See policy.epsilon and policy.delta in site.yaml: what they allow is spent.",
                site=self._site,
            )

    @property
    def remembered(self) -> Remembered:
        """Of whom, and with which knots, sums have left this site."""
        return Remembered(ledger=self._ledger, policy=self._policy)

    @property
    def budget(self) -> Budget:
        """Epsilon and delta of this site."""
        return Budget(policy=self._policy, ledger=self._ledger)

    def refused(
        self,
        plan: Plan,
        path: str,
        why: Sequence[str],
        *,
        cohort: str = "",
        shared: Arrays | None = None,
    ) -> None:
        """Note a refusal."""
        body = {"cohort": cohort} if cohort else {}
        body |= {} if shared is None or not cohort else {"shared": bytes_hash(shared, "")}
        self._note("refusal", study=plan.study, plan=plan.hash, phase=path, why=list(why), **body)

    def _stop(self, what: str, why: Sequence[str], *, plan: Plan, path: str, cohort: str) -> None:
        """Refuse, unless a data manager lets these very people pass."""
        if self._approvals is not None and self._approvals.overridden(plan.hash, cohort):
            return
        self.refused(plan, path, why, cohort=cohort)
        raise PolicyError(
            f"The policy of this site refuses {what}: {'; '.join(why)}. Nothing was sent.",
            do="See policy in site.yaml. Where somebody withdrew consent, or the board agreed, "
            "'motet site override' lets these people pass for that reason.",
            site=self._site,
        )

    def _note(self, kind: str, **body: Any) -> None:
        note(self._ledger, kind, **body)
