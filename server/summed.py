"""Secure sums of a run: the sites' keys, and whom a sum without somebody would give away."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from motet.errors import ProtocolError, SubtractionError, listed
from motet.phases import Phase
from motet.secure.circle import Circle
from motet.secure.wire import read_key
from motet.server.advice import about_lost
from motet.server.asking import SitesLostError


@dataclass(kw_only=True)
class Summed:
    """Secure sums of one run.

    Attributes
    ----------
    keys : dict of str to bytes
        Site -> its public key.
    """

    keys: dict[str, bytes] = field(default_factory=dict)
    _alone: dict[str, bool] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set)

    def told(self, documents: Mapping[str, Any]) -> None:
        """Take what sites say of themselves when a plan is prepared.

        Raises
        ------
        SitesLostError
            With the sites whose key is none.
        """
        failed = {}
        for site, document in documents.items():
            try:
                self.keys[site] = read_key(document["sum_key"])
                self._alone[site] = document.get("alone") is True
            except (ProtocolError, KeyError, TypeError, AttributeError):
                failed[site] = "invalid-reply"
        if failed:
            raise SitesLostError(failed)

    def opened(self, phase: Phase, circle: Circle) -> None:
        """Remember whose numbers are in a sum that is read."""
        self._read.update(circle.members)

    def exposes(self, lost: Collection[str]) -> list[str]:
        """Of lost sites, those whose numbers would follow from a sum without them."""
        read = self._read
        return sorted(site for site in lost if site in read and not self._alone.get(site, False))

    def check_without(self, lost: Mapping[str, str]) -> None:
        """Refuse to start over without sites whose numbers are in a sum that was read.

        Parameters
        ----------
        lost : mapping of str to str
            Site -> code.

        Raises
        ------
        SubtractionError
        """
        refusing = sorted(site for site, code in lost.items() if code == SubtractionError.code)
        if refusing:
            raise SubtractionError(
                f"{listed(refusing)} took part in an earlier sum over other sites, and with that "
                "one this sum would give away what single sites sent. Nothing was read.",
                do="Have the same sites take part as before. The sites' logs name who would be "
                "read; where those set plain_sums: true in their policy, nothing stands against "
                "it.",
            )
        if found := self.exposes(lost):
            raise SubtractionError(
                f"Lost after a sum with its numbers had been read: {listed(found)}. A sum without "
                "a lost site would give its numbers away by subtraction, so the study stops here.",
                do=about_lost({site: lost[site] for site in found}),
            )
