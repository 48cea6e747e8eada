"""The other sites' public keys for secure sums: compared by people, and never changed unseen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from motet.errors import SecureSumError
from motet.ledger import Ledger
from motet.secure.keys import fingerprint

SHOWN = 16
"""Characters of a fingerprint that are shown, and that people compare at least."""


@dataclass(frozen=True)
class Peers:
    """Fingerprints of the keys of other sites, in the ledger.

    The coordinator hands keys on. One that hands on keys of its own could read what is sealed for
    others, so a key counts once somebody has compared its fingerprint: ``motet site peers``.

    Parameters
    ----------
    ledger : Ledger
    say : callable
        The site's own log.
    first_use : bool
        Whether a key that nobody compared is taken when it is first seen.
    """

    ledger: Ledger
    say: Callable[[str], None]
    first_use: bool = False

    def known(self) -> dict[str, tuple[str, str]]:
        """Site -> how its key's fingerprint begins, and who compared it; the last word counts."""
        bodies = [entry.body for entry in self.ledger.entries("peer")]
        return {str(b["peer"]): (str(b["fingerprint"]), str(b.get("by", ""))) for b in bodies}

    def check(self, keys: Mapping[str, bytes]) -> None:
        """Refuse a key that is another than the known one, and one that nobody knows.

        Raises
        ------
        SecureSumError
        """
        known = self.known()
        for site, key in sorted(keys.items()):
            own = fingerprint(key)
            begins, _ = known.get(site, ("", ""))
            if site in known and not own.startswith(begins):
                raise SecureSumError(
                    f"The coordinator gives another key for '{site}' ({own[:SHOWN]}) than the one "
                    f"that is known here ({begins[:SHOWN]}).",
                    do=_ask(site),
                )
            if site in known:
                continue
            if not self.first_use:
                raise SecureSumError(
                    f"Nobody has compared the key of '{site}'; the coordinator says that its "
                    f"fingerprint is {own[:SHOWN]}.",
                    do=_ask(site),
                )
            self.say(f"The key of '{site}' ({own[:SHOWN]}) is new, and was not compared.")
            self._note(site, own)

    def accept(self, site: str, said: str, *, by: str) -> None:
        """Take, from now on, the key with the fingerprint that a site read out.

        Raises
        ------
        SecureSumError
            When that is no fingerprint, or too short.
        """
        asked = "".join(said.split()).lower()
        if len(asked) < SHOWN or len(asked) > 64 or set(asked) - set("0123456789abcdef"):
            raise SecureSumError(
                f"'{said}' is no fingerprint: {SHOWN} to 64 characters, 0 to 9 and a to f.",
                do=f"'{site}' reads it from the first line of 'motet site peers'.",
            )
        self._note(site, asked, by=by)

    def _note(self, site: str, begins: str, *, by: str = "") -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        body = {"kind": "peer", "at": now, "peer": site, "fingerprint": begins}
        self.ledger.append({**body, **({"by": by} if by else {})})


def _ask(site: str) -> str:
    return (
        f"Ask '{site}' by telephone for the first line of its 'motet site peers', then: motet site "
        f"peers HOME --accept {site} --fingerprint … If it reads out another one than the "
        "coordinator gives, take part in nothing."
    )
