"""The other sites' public keys: each is written down when it is first seen, and never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from motet.errors import SecureSumError, listed
from motet.ledger import Ledger
from motet.secure.keys import fingerprint

SHOWN = 16
"""Characters of a fingerprint that are shown, and that people compare at least."""


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
                self._offered(site, key)
                raise SecureSumError(
                    f"The coordinator gives another key for '{site}' (fingerprint "
                    f"{fingerprint(key)[:SHOWN]}) than the one that is known here "
                    f"({fingerprint(known[site])[:SHOWN]}).",
                    do=f"Ask '{site}' by telephone for its fingerprint ('motet site peers'); if it "
                    f"has a new key, take it with 'motet site peers HOME --accept {site} "
                    "--fingerprint …'.",
                )
            if site not in known:
                self.say(
                    f"'{site}' is new here: its key for secure sums has the fingerprint "
                    f"{fingerprint(key)[:SHOWN]}; compare it by telephone."
                )
                self.note(site, key)

    def accept(self, site: str, said: str, *, by: str) -> None:
        """Take the key that has the fingerprint which a site read out.

        Raises
        ------
        SecureSumError
            When no key that the coordinator gave for the site has it.
        """
        keys = [*self._keys("peer", site), *self._keys("peer-offered", site)]
        asked = said.strip().lower()
        found = [key for key in keys if len(asked) >= SHOWN and fingerprint(key).startswith(asked)]
        if not found:
            raise SecureSumError(
                f"No key that came for '{site}' has the fingerprint '{said}': "
                f"{listed(sorted({fingerprint(key)[:SHOWN] for key in keys})) or 'none came'}.",
                do=f"Read at least {SHOWN} characters. If '{site}' reads out another one, the "
                "coordinator gave a key of its own: take part in nothing.",
            )
        self.note(site, found[-1], by=by)

    def _keys(self, kind: str, site: str) -> list[bytes]:
        bodies = [entry.body for entry in self.ledger.entries(kind)]
        return [bytes.fromhex(str(b["key"])) for b in bodies if b["peer"] == site]

    def _offered(self, site: str, key: bytes) -> None:
        if key not in self._keys("peer-offered", site):
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            body = {"kind": "peer-offered", "at": now, "peer": site, "key": key.hex()}
            self.ledger.append(body)

    def note(self, site: str, key: bytes, *, by: str = "") -> None:
        """Write a key down, and who compared it."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        body = {"kind": "peer", "at": now, "peer": site, "key": key.hex()}
        self.ledger.append({**body, **({"by": by} if by else {})})
