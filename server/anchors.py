"""Heads of the sites' ledgers: on record here, and countersigned for the sites."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from motet.errors import DeploymentError, ModelError
from motet.flower.records import Body
from motet.ledger.verify import signed
from motet.store import OWNER, atomic, read_json, write_json

HASH = re.compile(r"[0-9a-f]{64}")
KEPT = 1000
"""Heads of a site that stay on record."""


def new_key(file: Path) -> Ed25519PrivateKey:
    """Make the key with which a coordinator countersigns, and write it."""
    key = Ed25519PrivateKey.generate()
    with atomic(file, readable_by=OWNER) as stream:
        stream.write(key.private_bytes_raw().hex())
    return key


def read_key(file: Path) -> Ed25519PrivateKey:
    """The key with which a coordinator countersigns; made where an older folder has none.

    Raises
    ------
    DeploymentError
    """
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text().strip()))
    except FileNotFoundError:
        return new_key(file)
    except (OSError, ValueError) as error:
        raise DeploymentError(
            "The key that countersigns ledgers cannot be read.",
            do="Restore it from the backup: the sites check signatures with its public half.",
            file=file,
        ) from error


class Anchors:
    """Heads of every site's ledger, as its replies state them.

    Parameters
    ----------
    key : Ed25519PrivateKey
    folder : Path
        A file a site: what it stated, over all studies.
    """

    def __init__(self, key: Ed25519PrivateKey, folder: Path) -> None:
        self._key, self._folder = key, folder
        self._heads: dict[str, tuple[int, str]] = {}

    def take(self, site: str, body: Body, *, fresh: bool = False) -> str:
        """Put a reply's head on record; the code of what is wrong with it, or nothing.

        A ledger only grows: one that has another entry at a place that is on record, or where
        the reply was made just now (`fresh`) is shorter than the record, was changed. A reply
        that is sent again states the head of its time.
        """
        stated = body.document.get("ledger") if isinstance(body.document, dict) else None
        if stated is None:
            return ""
        if (
            not isinstance(stated, list)
            or len(stated) != 2
            or type(stated[0]) is not int
            or not isinstance(stated[1], str)
            or not HASH.fullmatch(stated[1])
        ):
            return "invalid-reply"
        number, head = stated
        heads = on_record(self._file(site))
        last = max(heads, default=0)
        if heads.get(number, head) != head:
            return "ledger"
        # Longer is not enough: at the number on record it has to be what it was.
        if fresh and last and body.document.get("ledger_was") != heads[last]:
            return "ledger"
        if number not in heads:
            kept = dict(sorted((heads | {number: head}).items())[-KEPT:])
            write_json(self._file(site), {str(n): h for n, h in kept.items()})
        if number >= self._heads.get(site, (0, ""))[0]:
            self._heads[site] = (number, head)
        return ""

    def last(self, sites: Iterable[str]) -> dict[str, int]:
        """Number of the last head on record, of sites that have one: its hash is asked for."""
        found = {site: max(on_record(self._file(site)), default=0) for site in sites}
        return {site: number for site, number in found.items() if number}

    def signed(self) -> dict[str, dict[str, Any]]:
        """The last heads of this run's sites, with a signature each."""
        return {site: self.countersigned(site) for site in sorted(self._heads)}

    def countersigned(self, site: str) -> dict[str, Any]:
        """The last head that a site stated in this run, signed; empty where it stated none."""
        if site not in self._heads:
            return {}
        number, head = self._heads[site]
        signature = self._key.sign(signed(site, number, head)).hex()
        return {"number": number, "head": head, "signature": signature}

    def _file(self, site: str) -> Path:
        return self._folder / f"{site}.json"


def on_record(file: Path) -> dict[int, str]:
    """Number -> hash, of the heads that a site stated."""
    if not file.is_file():
        return {}
    try:
        return {int(number): str(head) for number, head in read_json(file).items()}
    except (ModelError, AttributeError, TypeError, ValueError) as error:
        raise DeploymentError(
            "The record of a site's ledger cannot be read: without it a ledger that was changed "
            "would be taken for a new one.",
            do="Restore it from the backup.",
            file=file,
        ) from error


def public_of(file: Path) -> str:
    """The public half of a key, hexadecimal, for the sites."""
    return read_key(file).public_key().public_bytes_raw().hex()


def last_heads(folder: Path) -> dict[str, str]:
    """Site -> ``NUMBER:HASH``, as ``motet site ledger verify --head`` takes it."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        number, head = max(on_record(file).items(), default=(0, ""))
        found[file.stem] = f"{number}:{head}"
    return found
