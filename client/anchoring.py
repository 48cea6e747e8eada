"""How far a site's ledger is, told with replies; and what the coordinator countersigned of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from motet.ledger import Ledger
from motet.ledger.verify import is_signed


@dataclass(frozen=True)
class Anchoring:
    """A site's ledger as the coordinator puts it on record.

    Parameters
    ----------
    ledger : Ledger or None
    key : str
        The coordinator's public key, hexadecimal; empty: nothing is told or kept.
    say : callable
        The site's own log.
    """

    ledger: Ledger | None
    key: str
    say: Callable[[str], None]

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
        if self.ledger is None or not self.key or not isinstance(signed_heads, dict):
            return
        own = signed_heads.get(self.ledger.site)
        if not isinstance(own, dict):
            return
        number, head, signature = (own.get(name) for name in ("number", "head", "signature"))
        if (
            type(number) is int
            and self.ledger.hash_of(number) == head
            and isinstance(signature, str)
            and is_signed(self.key, self.ledger.site, number, str(head), signature)
        ):
            self.ledger.anchor(number, str(head), signature)
        else:
            self.say("The coordinator's signature is not of this site's ledger: it was not kept.")
