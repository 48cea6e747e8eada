"""A site's part in secure sums: with whom, behind which masks, and what it let be taken off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from numpy.typing import NDArray

from motet.client.peers import Peers
from motet.errors import SecureSumError, SubtractionError, listed
from motet.ledger import Ledger
from motet.phases import Phase
from motet.plan import Plan
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds
from motet.secure.circle import Circle, what_is_summed
from motet.secure.declared import hidden
from motet.secure.keys import SumKey
from motet.secure.party import Masked, Party
from motet.secure.subtraction import exposed
from motet.secure.wire import (
    masked_document,
    read_keys,
    read_relayed,
    revealed_document,
)

SHY, OPEN_WORD = b"\x00", b"\x01"
"""What a site says to the others: whether its own sums may be read."""


def always(people: str) -> bool:
    """Take all people for the same."""
    return True


@dataclass(frozen=True, kw_only=True)
class Summing:
    """One phase that is summed where nobody reads single sites.

    Attributes
    ----------
    plan : Plan
    phase : Phase
    path : str
    circle : Circle
    """

    plan: Plan
    phase: Phase
    path: str
    circle: Circle

    @property
    def about(self) -> str:
        """What this sum is called in the ledger."""
        return self.circle.about.hex()


@dataclass(kw_only=True)
class Masking:
    """What a site needs for secure sums.

    Parameters
    ----------
    site : str
    key : SumKey
    ledger : Ledger or None
        Has whom this site summed with. None: that is remembered as long as the process lives.
    alone : bool
        Whether this site's own sums may be read.
    peers : Peers, optional
        Has the others' keys. None: whatever keys there are, since all sites are one person's.
    everybody : bool
        Whether masks come off only where all members say so: each of them answers once what it
        sent is countersigned.
    """

    site: str
    key: SumKey
    ledger: Ledger | None
    alone: bool
    peers: Peers | None = None
    everybody: bool = False
    sent: dict[str, dict[str, str]] = field(default_factory=dict, init=False)
    _noted: list[dict[str, Any]] = field(default_factory=list, init=False)

    def sent_before(self, key: str, about: str, *, plan: str) -> dict[str, str] | None:
        """Digests of a traveler's arrays that went out in a sum; None where none did."""
        for entry in () if self.ledger is None else self.ledger.entries("release", plan=plan):
            circle = entry.body.get("circle")
            if isinstance(circle, dict) and circle.get(key) == about:
                arrays = entry.body["arrays"]
                return {a["name"]: a["sha256"] for a in arrays if a["name"].startswith(f"{key}/")}
        return self.sent.get(about)

    def summing(
        self, document: Any, *, run: str, plan: Plan, phase: Phase, path: str, shared: str
    ) -> Summing:
        """Whom the coordinator wants a sum over, if this site takes part in it.

        Parameters
        ----------
        document : Any
            Public keys by site.
        run, plan, phase, path
            What is asked for.
        shared : str
            Hash of what the coordinator has shared.

        Raises
        ------
        SecureSumError
            When other sites take part than the plan's, one has another key than before, or they
            are too few.
        """
        keys = read_keys(document)
        expected = plan.participants(phase)
        others = set(keys) - set(expected)
        missing = set(expected) - set(keys)
        # In the evaluation sites that were lost are left out; in the fit the plan starts over.
        if others or (missing and not plan.judges(phase)) or self.site not in keys:
            raise SecureSumError(
                f"The sum of '{path}' is to be over {listed(sorted(keys)) or 'nobody'}; by the "
                f"plan it is over {listed(expected)}.",
                site=self.site,
            )
        what = what_is_summed(run=run, plan=plan.hash, path=path, shared=shared, schema=plan.schema)
        circle = Circle(what, keys, everybody=self.everybody)
        self.check_keys(keys)
        return Summing(plan=plan, phase=phase, path=path, circle=circle)

    def check_keys(self, keys: Mapping[str, bytes]) -> None:
        """Refuse another key than this site's own for it, or than the known one for a peer.

        Raises
        ------
        SecureSumError
        """
        if keys.get(self.site) != self.key.public:
            raise SecureSumError(
                "The coordinator gives the others another key for this site than its own.",
                do="Compare fingerprints with the other sites: 'motet site peers'.",
                site=self.site,
            )
        if self.peers is not None:
            self.peers.check({site: key for site, key in keys.items() if site != self.site})

    def hide(self, arrays: Arrays, summing: Summing, bounds: Bounds) -> tuple[Arrays, Masked]:
        """Arrays that look uniform to everybody, and what goes with them.

        Raises
        ------
        SecureSumError
            When an entry is beyond its public bound.
        """
        phase = summing.phase
        ring = hidden(arrays, phase.releases, bounds, sites=len(summing.circle.members))
        flat: list[NDArray[Any]] = [ring[name].reshape(-1) for name in sorted(ring)]
        word = OPEN_WORD if self.alone else SHY
        return ring, self._party(summing).mask(flat, word=word)

    def reveal(
        self,
        document: Any,
        summing: Summing,
        *,
        people: str = "",
        same: Callable[[str], bool] = always,
    ) -> dict[str, Any]:
        """Shares of the masks that come off, so that the sum can be read.

        Once a sum, for what was masked once; and never where some site's own would follow.

        Parameters
        ----------
        document : Any
            What the members sealed for this site.
        summing : Summing
        people : str
            What the ledger calls the people of this site.
        same : callable
            Whether earlier people, as the ledger calls them, are nearly the same: sums of other
            people are other equations.

        Raises
        ------
        SecureSumError, SubtractionError
        """
        relayed = read_relayed(document)
        survivors = sorted(relayed)
        if survivors != list(summing.circle.members):
            # A study that lost a site starts over. Who could say that one was lost could have
            # its masks from those who believe it.
            raise SecureSumError(
                f"The sum of '{summing.path}' is over {listed(summing.circle.members)}; the "
                f"coordinator asks for the masks of {listed(survivors)}.",
                site=self.site,
            )
        salts = {site: salt.hex() for site, (salt, _) in sorted(relayed.items())}
        before = [b for b in self._revealed() if b["circle"] == summing.about]
        if before and before[-1]["salts"] != salts:
            raise SecureSumError(
                f"The masks of '{summing.path}' came off for other numbers already.",
                site=self.site,
            )
        party = self._party(summing)
        words = party.words(relayed)
        shy = sorted(site for site, word in words.items() if word != OPEN_WORD)
        revealed = party.reveal(survivors, relayed)
        if not before:
            self._refuse_subtraction(survivors, shy, same)
            self._note(
                study=summing.plan.study,
                plan=summing.plan.hash,
                phase=summing.path,
                circle=summing.about,
                salts=salts,
                shy=shy,
                people=people,
            )
        return revealed_document(revealed)

    def _refuse_subtraction(
        self, survivors: list[str], shy: list[str], same: Callable[[str], bool]
    ) -> None:
        known: dict[str, bool] = {}
        earlier = []
        for before in self._revealed():
            people = str(before["people"])
            if people not in known:
                known[people] = same(people)
            if known[people]:
                earlier.append(before)
        circles = [list(before["salts"]) for before in earlier]
        all_shy = {*shy, *(site for before in earlier for site in before["shy"])}
        if found := exposed([*circles, survivors], all_shy):
            raise SubtractionError(
                f"With the sums that were read before, this one would give away those of "
                f"{listed(found)}.",
                do="Have the same sites take part as before; or let the policy of "
                f"{listed(found)} allow plain sums (policy.plain_sums in its site.yaml).",
                site=self.site,
            )

    def _revealed(self) -> list[dict[str, Any]]:
        if self.ledger is None:
            return self._noted
        return [entry.body for entry in self.ledger.entries("reveal")]

    def _note(self, **body: Any) -> None:
        if self.ledger is None:
            self._noted.append(body)
        else:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            self.ledger.append({"kind": "reveal", "at": now, **body})

    def _party(self, summing: Summing) -> Party:
        return Party(self.site, self.key, summing.circle)


@dataclass(kw_only=True)
class Veil:
    """What the gate hides a release behind.

    Attributes
    ----------
    beside : mapping
        What goes with the masked arrays, once they are.
    """

    masking: Masking
    summing: Summing
    bounds: Bounds
    beside: Mapping[str, Any] = field(default_factory=dict, init=False)

    @property
    def about(self) -> str:
        """Name of the sum in the ledger."""
        return self.summing.about

    @property
    def specs(self) -> tuple[ArraySpec, ...]:
        """What is declared."""
        return self.summing.phase.releases

    def hide(self, arrays: Arrays) -> Arrays:
        """The arrays behind masks."""
        ring, masked = self.masking.hide(arrays, self.summing, self.bounds)
        self.beside = masked_document(masked)
        return ring
