"""How far a site's ledger is, told with replies; and what the coordinator countersigned of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from motet.errors import CountersignatureError
from motet.ledger import Ledger
from motet.ledger.verify import ANCHOR, is_signed


@dataclass(frozen=True)
class Anchoring:
    """A site's ledger as the coordinator puts it on record.

    Parameters
    ----------
    ledger : Ledger or None
    key : str
        The coordinator's public key, hexadecimal; empty: nothing is told, kept or waited for.
    say : callable
        The site's own log.
    """

    ledger: Ledger | None
    key: str
    say: Callable[[str], None]

    @property
    def on(self) -> bool:
        """Whether a release waits until its entry is countersigned."""
        return self.ledger is not None and bool(self.key)

    def standing(self, asked: Any = None) -> dict[str, Any]:
        """How far the ledger is, and what it was at the number that is on record."""
        if self.ledger is None or not self.key:
            return {}
        last = asked.get("ledger_at") if isinstance(asked, dict) else None
        number = last.get(self.ledger.site) if isinstance(last, dict) else None
        was = {} if type(number) is not int else {"ledger_was": self.ledger.hash_of(number)}
        return {"ledger": list(self.ledger.head), **was}

    def keep(self, signed_heads: Any) -> None:
        """Keep the coordinator's countersignature of a head that this ledger has."""
        if not self.on or not isinstance(signed_heads, dict):
            return
        own = signed_heads.get(self.site)
        if isinstance(own, dict) and not self._kept(own):
            self.say("The coordinator's signature is not of this site's ledger: it was not kept.")

    def require(self, countersigned: Any, number: int) -> None:
        """Keep the countersignature that lets a release leave.

        Parameters
        ----------
        countersigned : Any
            What the coordinator sent: number, head and signature.
        number : int
            The entry that has to be covered.

        Raises
        ------
        CountersignatureError
            Where this is no signature of the coordinator's over this ledger up to that entry.
        """
        if self.on and self._kept(countersigned) < number:
            raise CountersignatureError(
                f"The coordinator's signature is not of this site's ledger up to entry {number}, "
                "so what the entry is of does not leave.",
                do="Compare ledger_key in site.yaml with the coordinator's, and the ledger with "
                "its record ('motet server heads', 'motet site ledger verify --head').",
                site=self.site,
            )

    def require_of_sum(self, countersigned: Any, circle: str, *, plan: str) -> None:
        """Keep the countersignature that lets the masks of a secure sum come off.

        Raises
        ------
        CountersignatureError
            As above, and where nothing left in a sum of this name.
        """
        if self.ledger is None or not self.key:
            return
        sent = [
            entry.number
            for entry in self.ledger.entries("release", plan=plan)
            if entry.body.get("circle") == circle
        ]
        if not sent:
            raise CountersignatureError(
                "The ledger has no entry of a sum whose masks are to come off.",
                do="Run the study again; if the ledger was restored from a backup, tell the "
                "coordinator.",
                site=self.site,
            )
        self.require(countersigned, sent[-1])

    @property
    def site(self) -> str:
        """Whose ledger it is."""
        return "" if self.ledger is None else self.ledger.site

    def _kept(self, own: Any) -> int:
        """How far a countersignature goes, once it stands in the ledger; 0 where it is none."""
        if self.ledger is None or not isinstance(own, dict):
            return 0
        number, head, signature = (own.get(name) for name in ("number", "head", "signature"))
        if (
            type(number) is not int
            or self.ledger.hash_of(number) != head
            or not isinstance(signature, str)
            or not is_signed(self.key, self.site, number, str(head), signature)
        ):
            return 0
        last = self.ledger.last(ANCHOR)
        # A request may come twice, and what is younger covers it.
        if last is None or last.body["number"] < number:
            self.ledger.anchor(number, str(head), signature)
        return number
