"""A site's part in sums of single travelers, which only the sites that scanned them read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from numpy.typing import NDArray

from motet.client.masking import Masking
from motet.errors import PolicyError, ProtocolError, SecureSumError, listed
from motet.phases import Sum
from motet.plan import Plan
from motet.releases import Arrays, ArraySpec, bind
from motet.scale import Bounds
from motet.secure.circle import what_is_summed
from motet.secure.declared import hidden, summed
from motet.secure.held import TOTAL, of_key, seals_document, with_key
from motet.secure.panel import Holder, Panel
from motet.secure.wire import read_keys
from motet.store import bytes_hash, little_endian


@dataclass(kw_only=True)
class Keyed:
    """The sums of one phase in which a site takes part.

    Parameters
    ----------
    masking : Masking
    plan : Plan
    phase : Sum
    path : str
    bounds : mapping
    panels : mapping of str to Panel
        Key of a traveler -> those who scanned this person, this site among them.
    """

    masking: Masking
    plan: Plan
    phase: Sum
    path: str
    bounds: Bounds
    panels: Mapping[str, Panel]
    beside: Mapping[str, Any] = field(default_factory=dict, init=False)

    @property
    def about(self) -> dict[str, str]:
        """What each traveler's sum is called in the ledger."""
        return {key: panel.about.hex() for key, panel in sorted(self.panels.items())}

    @property
    def specs(self) -> tuple[ArraySpec, ...]:
        """What leaves."""
        return self.phase.of_keys(sorted(self.panels))

    def hide(self, arrays: Arrays) -> Arrays:
        """The arrays behind masks.

        Raises
        ------
        SecureSumError
            When an entry is beyond its bound, or other arrays went out in these sums before.
        """
        found: dict[str, NDArray[Any]] = {}
        seals = {}
        for key, panel in self.panels.items():
            ring = hidden(
                of_key(arrays, key), self.phase.arrays, self.bounds, sites=len(panel.members)
            )
            sealed = self._holder(panel).mask([ring[name].reshape(-1) for name in sorted(ring)])
            if panel.members[0] == self.masking.site:
                seals[key] = sealed
            found |= with_key(ring, key)
        self._refuse_others(found)
        self.beside = seals_document(seals)
        return found

    def read(
        self,
        arrays: Arrays,
        seals: Mapping[str, Mapping[str, bytes]],
        *,
        sizes: Mapping[str, int],
    ) -> Arrays:
        """The sums, ``<key>/<array>``, of what the coordinator handed over.

        Raises
        ------
        ProtocolError, SecureSumError
        """
        found: dict[str, NDArray[Any]] = {}
        for key, panel in self.panels.items():
            totals = of_key(of_key(arrays, TOTAL), key)
            for spec in self.phase.arrays:
                if spec.name not in totals or totals[spec.name].shape != bind(spec.shape, sizes):
                    raise ProtocolError(f"The sum '{key}/{spec.name}' was not handed over whole.")
            ring = {spec.name: totals[spec.name].copy() for spec in self.phase.arrays}
            sealed = seals.get(key, {}).get(self.masking.site, b"")
            self._holder(panel).read([ring[name].reshape(-1) for name in sorted(ring)], sealed)
            sums = summed(ring, self.phase.arrays, self.bounds, sites=len(panel.members))
            found |= with_key(sums, key)
        return found

    def _holder(self, panel: Panel) -> Holder:
        return Holder(self.masking.site, self.masking.key, panel)

    def _refuse_others(self, masked: Arrays) -> None:
        """The same masks hide one set of arrays: the difference of two would be readable."""
        digests = {n: sha256(little_endian(a).tobytes()).hexdigest() for n, a in masked.items()}
        for key, about in self.about.items():
            own = {name: d for name, d in digests.items() if name.startswith(f"{key}/")}
            if self.masking.sent_before(key, about, plan=self.plan.hash) not in (None, own):
                raise SecureSumError("Other arrays were sent in this very sum before.")
            self.masking.sent.setdefault(about, own)


def keyed(
    document: Any,
    shared: Arrays,
    *,
    masking: Masking,
    run: str,
    plan: Plan,
    phase: Sum,
    path: str,
    consented: frozenset[str],
) -> Keyed:
    """The sums that the coordinator asks for, if they are the plan's.

    Parameters
    ----------
    document : Any
        Key of a traveler -> public keys by site.
    shared : mapping of str to ndarray
        What the coordinator has shared.
    masking, run, plan, phase, path
    consented : frozenset of str
        Keys of the travelers of this site who agreed.

    Raises
    ------
    PolicyError
        When a traveler has not agreed, or not any more.
    ProtocolError, SecureSumError
        When other sites are to take part than those that scanned the traveler.
    """
    own = plan.schema.keys_of(masking.site)
    if missing := [key for key in own if key not in consented]:
        raise PolicyError(
            f"The traveler(s) {listed(missing)} of this site have not agreed that something of "
            "their own leaves it.",
            do="Where they have, say so in travelers.tsv: a column 'consent' with the date.",
            site=masking.site,
        )
    if not isinstance(document, dict):
        raise ProtocolError("A request for keyed sums names no holders.")
    panels = {}
    for key in own:
        keys = read_keys(document.get(key))
        if set(keys) != set(plan.holders[key]):
            raise SecureSumError(
                f"The sum of '{key}' is to be over {listed(sorted(keys))}; by the plan it is over "
                f"{listed(plan.holders[key])}.",
                site=masking.site,
            )
        masking.check_keys(keys)
        what = what_is_summed(
            run=run,
            plan=plan.hash,
            path=path,
            shared=bytes_hash(shared, ""),
            schema=plan.schema,
            key=key,
        )
        panels[key] = Panel(what, keys)
    bounds = plan.bounds(phase, shared)
    return Keyed(masking=masking, plan=plan, phase=phase, path=path, bounds=bounds, panels=panels)
