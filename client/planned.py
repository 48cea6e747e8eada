"""A study at one site from when it is planned: its phases are done, and the gate lets out sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.anchoring import Anchoring
from motet.client.drawn import Drawn
from motet.client.gate import Behind, Gate
from motet.client.in_private import InPrivate
from motet.client.keep import Keep
from motet.client.keyed import Keyed, keyed
from motet.client.local_site import LocalSite
from motet.client.masking import Masking, Summing, Veil
from motet.client.permission import Permission
from motet.client.sealing import opened, sealing
from motet.errors import PlanError, ProtocolError
from motet.phases import Local, Phase, Publish, Sum
from motet.plan import Plan
from motet.releases import Arrays, Leaves
from motet.secure.held import SHARED, of_key, read_seals
from motet.store import bytes_hash
from motet.training.exchange import Exchange, next_number


@dataclass(kw_only=True)
class Planned:
    """One study at a site.

    Attributes
    ----------
    plan : Plan
    keep : Keep
    site : LocalSite
        As phases of the fit see it.
    table : Table
        Everybody.
    fit : (n,) bool
        Whom of them the fit sees.
    permission : Permission
    gate : Gate
    masking : Masking
    anchoring : Anchoring
    drawn : Drawn
    judging : LocalSite or None
        The site as phases of the evaluation see it, once it has harmonized.
    """

    plan: Plan
    keep: Keep
    site: LocalSite
    table: Table
    fit: NDArray[np.bool_]
    permission: Permission
    gate: Gate
    masking: Masking
    anchoring: Anchoring
    drawn: Drawn
    judging: LocalSite | None = None

    def begin(self) -> None:
        """Begin with nothing kept.

        Raises
        ------
        PolicyError
            When a training of it could not be paid for again.
        """
        self._in_private.check_rerun(cohort=self.permission.cohort)
        self.keep.begin()

    def phase(self, path: str, shared: Arrays, *, run: str) -> Arrays:
        """Do one phase and return what may leave."""
        phase = self.plan.phase_at(path)
        held = isinstance(phase, Sum) and phase.read_by == "holders"
        if held or self.plan.masks(phase):
            raise ProtocolError(f"The sum '{path}' is masked by the plan.", site=self.site.name)
        if isinstance(phase, Publish) and phase.sealed:
            raise ProtocolError(f"'{path}' is sealed by the plan.", site=self.site.name)
        return self._do(phase, path, shared, run)

    def masked(
        self, path: str, shared: Arrays, *, run: str, keys: Any
    ) -> tuple[Arrays, Mapping[str, Any]]:
        """Do one phase and return what may leave, behind masks, and what goes with them.

        Parameters
        ----------
        path : str
        shared : mapping of str to ndarray
        run : str
            Name of the run.
        keys : Any
            Public keys of the sites of the sum, as the coordinator says.
        """
        summing = self._summing(path, bytes_hash(shared, ""), run=run, keys=keys)
        bounds = self.plan.bounds(summing.phase, shared)
        veil = Veil(masking=self.masking, summing=summing, bounds=bounds)
        return self._do(summing.phase, path, shared, run, veil), veil.beside

    def reveal(self, path: str, document: Any, *, run: str) -> dict[str, Any]:
        """Let masks of a sum come off, for the sites whose arrays arrived.

        This is what makes numbers readable: it waits for the countersignature of what was sent.
        """
        try:
            shared, keys, sealed = (document[key] for key in ("shared", "keys", "sealed"))
        except (KeyError, TypeError) as error:
            raise ProtocolError("A request to take masks off says not of which sum.") from error
        summing = self._summing(path, str(shared), run=run, keys=keys)
        self.permission.approved()
        self.anchoring.require_of_sum(
            document.get("countersigned"), summing.about, plan=self.plan.hash
        )
        return self.masking.reveal(
            sealed, summing, people=self.permission.people(), same=self.permission.same_people
        )

    def keyed(
        self, path: str, shared: Arrays, *, run: str, panels: Any
    ) -> tuple[Arrays, Mapping[str, Any]]:
        """Send what sums of single travelers take, behind masks that their holders take off.

        What is kept is committed when the sums have come back.
        """
        self._undo(path)
        veil = self._keyed(path, shared, run=run, panels=panels)
        self.permission.check(veil.phase, path, shared)
        arrays = veil.phase.at_site(self.site, shared)
        return self._release(arrays, veil.phase, path, shared, run, veil), veil.beside

    def sealed(
        self, path: str, shared: Arrays, *, run: str, keys: Any
    ) -> tuple[Arrays, Mapping[str, Any]]:
        """Do one phase and return what may leave, sealed for its recipient, and its salt."""
        phase = self._sealed_phase(path)
        veil = sealing(
            keys,
            shared,
            masking=self.masking,
            run=run,
            plan=self.plan,
            phase=phase,
            path=path,
            sender=self.site.name,
        )
        return self._do(phase, path, shared, run, veil), veil.beside

    def _sealed_phase(self, path: str) -> Publish:
        phase = self.plan.phase_at(path)
        if not isinstance(phase, Publish) or not phase.sealed:
            raise ProtocolError(f"'{path}' is not sealed by the plan.", site=self.site.name)
        return phase

    def conclude(self, path: str, arrays: Arrays, *, run: str, document: Any) -> None:
        """Keep what was made for this site alone: sums of its travelers, or what is sealed."""
        if not isinstance(document, dict):
            raise ProtocolError("Sums came without their seals.", site=self.site.name)
        shared = of_key(arrays, SHARED)
        if isinstance(self.plan.phase_at(path), Publish):
            self._deliver(path, arrays, shared, run=run, document=document)
            return
        sums = self._keyed(path, shared, run=run, panels=document.get("panels"))
        seals = read_seals(document.get("seals"), tuple(sums.panels))
        found = sums.phase.at_coordinator(
            sums.read(arrays, seals, sizes=self.plan.sizes(shared)), shared
        )
        self._undo(path)
        self.site.keep.update({name: np.asarray(array) for name, array in found.items()})
        self.keep.commit(path)

    def _deliver(
        self, path: str, arrays: Arrays, shared: Arrays, *, run: str, document: Any
    ) -> None:
        """Keep what other sites sealed for this one."""
        phase = self._sealed_phase(path)
        if phase.to.site != self.site.name:
            raise ProtocolError(f"'{path}' is not for this site.", site=self.site.name)
        found = opened(
            document,
            arrays,
            shared,
            masking=self.masking,
            run=run,
            plan=self.plan,
            phase=phase,
            path=path,
        )
        self._undo(path)
        self.keep.roll_back()
        self.site.keep.update(found)
        self.keep.commit(path)

    def _keyed(self, path: str, shared: Arrays, *, run: str, panels: Any) -> Keyed:
        phase = self.plan.phase_at(path)
        if not isinstance(phase, Sum) or phase.read_by != "holders":
            raise ProtocolError(f"Holders do not read '{path}'.", site=self.site.name)
        return keyed(
            panels,
            shared,
            masking=self.masking,
            run=run,
            plan=self.plan,
            phase=phase,
            path=path,
            consented=self.table.consented,
        )

    def _summing(self, path: str, shared: str, *, run: str, keys: Any) -> Summing:
        phase = self.plan.phase_at(path)
        if not self.plan.masks(phase):
            raise ProtocolError(f"'{path}' is not masked by the plan.", site=self.site.name)
        return self.masking.summing(
            keys, run=run, plan=self.plan, phase=phase, path=path, shared=shared
        )

    def _undo(self, path: str) -> None:
        """Go back to before a phase that was the last to be done; refuse one that is long done."""
        if path in self.keep.done and not self.keep.undo(path):
            raise ProtocolError(f"The phase '{path}' is long done here.", site=self.site.name)

    def _check_order(self, phase: Phase, path: str) -> None:
        """Refuse an exchange out of its turn where a site goes on from what it kept of the last."""
        if not isinstance(phase, Exchange) or phase.train.stateless:
            return
        due = next_number(self.keep.done, path)
        if phase.turn.number != due:
            name = phase.train.name
            after = "it is over" if due is None else f"exchange {due} is next"
            raise ProtocolError(
                f"Exchange {phase.turn.number} of the training '{name}' is not done: {after}, and "
                "this site goes on from what it kept. Nothing was sent.",
                do="Run the study anew: the training begins again.",
                site=self.site.name,
            )

    def _do(
        self, phase: Phase, path: str, shared: Arrays, run: str, veil: Behind | None = None
    ) -> Arrays:
        name = self.site.name
        if not self.plan.takes_part(name, phase):
            raise PlanError(f"The phase '{path}' is not for this site.", site=name)
        if self.plan.judges(phase):
            return self._judged(phase, path, shared, run, veil)
        self._undo(path)
        self.keep.roll_back()
        self._check_order(phase, path)
        arrays: Arrays = {}
        if isinstance(phase, Exchange) and phase.train.private is not None:
            self.permission.check(phase, path, shared)
            arrays = self._in_private.arrays(phase, shared, cohort=self.permission.cohort)
        elif isinstance(phase, Sum | Publish):
            self.permission.check(phase, path, shared)
            arrays = phase.at_site(self.site, shared)
        elif isinstance(phase, Local):
            phase.at_site(self.site, shared)
        else:
            raise PlanError(f"This version cannot run the phase '{path}'.", site=name)
        if isinstance(phase, Exchange) and phase.train.private is None:
            self.permission.check_step(phase, path, arrays)
        # State first, then the release: after a crash in between the phase is undone and done
        # again from the same state, and sends the same bytes.
        if not (isinstance(phase, Exchange) and phase.train.stateless):
            self.keep.commit(path)
        return self._release(arrays, phase, path, shared, run, veil)

    @property
    def _in_private(self) -> InPrivate:
        return InPrivate(plan=self.plan, site=self.site, gate=self.gate, drawn=self.drawn)

    def _judged(
        self, phase: Phase, path: str, shared: Arrays, run: str, veil: Behind | None
    ) -> Arrays:
        """Do one phase of the evaluation. It changes nothing: it can be done again at any time."""
        if self.judging is None:
            raise ProtocolError("The evaluation came before there was anything to judge.")
        if not isinstance(phase, Sum):
            raise PlanError(f"This version cannot run the phase '{path}'.", site=self.site.name)
        self.permission.check(phase, path, shared, self.judging)
        return self._release(phase.at_site(self.judging, shared), phase, path, shared, run, veil)

    def _release(
        self,
        arrays: Arrays,
        phase: Phase,
        path: str,
        shared: Arrays,
        run: str,
        veil: Behind | None,
    ) -> Arrays:
        """The last step before the transport."""
        if arrays and phase.leaves is not Leaves.PERSONAL:
            self.permission.note()
        return self.gate.release(
            arrays,
            plan=self.plan,
            phase=phase,
            path=path,
            sizes=self.plan.sizes(shared),
            cohort=self.permission.cohort,
            shared=shared,
            run=run,
            veil=veil,
        )
