"""One exchange of a private training at a site: charge, draw, write down; then it may leave."""

from __future__ import annotations

from dataclasses import dataclass

from motet.client.drawn import Drawn
from motet.client.gate import Gate
from motet.client.local_site import LocalSite
from motet.plan import Plan
from motet.releases import Arrays
from motet.store import bytes_hash
from motet.training.exchange import Exchange
from motet.training.phase import Train
from motet.training.privacy import mechanism


@dataclass(frozen=True, kw_only=True)
class InPrivate:
    """What a private training takes beside what others do.

    Attributes
    ----------
    plan : Plan
    site : LocalSite
    gate : Gate
    drawn : Drawn
    """

    plan: Plan
    site: LocalSite
    gate: Gate
    drawn: Drawn

    def check_rerun(self, *, cohort: str) -> None:
        """Refuse a run from its beginning whose training could not be paid for once more.

        Raises
        ------
        PolicyError
            Before the exact sums that come first leave for nothing.
        """
        for train in (p for p in self.plan.phases if isinstance(p, Train) and p.private):
            of = {"plan": self.plan.hash, "train": train.name, "cohort": cohort}
            if not self.drawn.at_first(of):
                self.gate.check_rerun(self.plan, train, cohort=cohort)

    def arrays(self, phase: Exchange, shared: Arrays, *, cohort: str) -> Arrays:
        """What is going to leave: drawn now, or the same bytes as before a crash.

        Raises
        ------
        PolicyError
            When the site's budget is used up.
        ProtocolError
            When the noise of this exchange was drawn for another model.
        """
        train, number = phase.train, phase.turn.number
        samples = int(shared[train.counted])
        of = {"plan": self.plan.hash, "train": train.name, "samples": samples, "cohort": cohort}
        digest = bytes_hash(shared, "")
        before = self.drawn.again(of, number, digest)
        if before is not None:
            return before
        how = mechanism(train, samples)
        if number == 0:
            self.gate.charge(self.plan, train, how, cohort=cohort)
        arrays = phase.at_site(self.site, shared)
        self.drawn.put(of, number, digest, arrays)
        return arrays
