"""The other sites' public keys: each is written down when it is first seen, and never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from motet.errors import SecureSumError
from motet.ledger import Ledger
from motet.secure.keys import fingerprint


@dataclass(frozen=True)
class Peers:
    """Public keys of other sites, as this one knows them.

    A coordinator that hands out keys of its own could read what is sealed for others, so people
    compare fingerprints: see ``motet site peers``.

    Parameters
    ----------
    ledger : Ledger
        Where keys stand.
    say : callable
        The site's own log.
    """

    ledger: Ledger
    say: Callable[[str], None]

    def known(self) -> dict[str, bytes]:
        """Site -> key; the last word counts."""
        found = [entry.body for entry in self.ledger.entries("peer")]
        return {str(body["peer"]): bytes.fromhex(str(body["key"])) for body in found}

    def compared(self) -> dict[str, str]:
        """Site -> who compared the fingerprint of its present key; empty where nobody has."""
        found: dict[str, str] = {}
        for entry in self.ledger.entries("peer"):
            found[str(entry.body["peer"])] = str(entry.body.get("by", ""))
        return found

    def check(self, keys: Mapping[str, bytes]) -> None:
        """Refuse a key that is another than before; write down one that is new.

        Raises
        ------
        SecureSumError
        """
        known = self.known()
        for site, key in sorted(keys.items()):
            if site in known and known[site] != key:
                raise SecureSumError(
                    f"The coordinator gives another key for '{site}' (fingerprint "
                    f"{fingerprint(key)[:16]}) than the one that is known here "
                    f"({fingerprint(known[site])[:16]}).",
                    do=f"Ask '{site}' by telephone for its fingerprint ('motet site peers'); if it "
                    f"has a new key, take it with 'motet site peers HOME --accept {site} "
                    "FINGERPRINT'.",
                )
            if site not in known:
                self.say(
                    f"'{site}' is new here: its key for secure sums has the fingerprint "
                    f"{fingerprint(key)[:16]}; compare it by telephone."
                )
                self.note(site, key)

    def note(self, site: str, key: bytes, *, by: str = "") -> None:
        """Write a key down, and who compared it."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        body = {"kind": "peer", "at": now, "peer": site, "key": key.hex()}
        self.ledger.append({**body, **({"by": by} if by else {})})
