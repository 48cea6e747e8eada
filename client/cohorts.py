"""Whose sums have left before: two that differ by one person give that person away."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from motet.bids.table import Table
from motet.schema import names_digest
from motet.store import canonical_json

TAG = 8
"""Bytes of a mark: enough to tell people of a site apart, and no name."""

CHUNK = 4096

Marks = Mapping[str, Mapping[str, str]]
"""Person (a keyed hash) -> what of the person -> a keyed hash of it."""


def marks(table: Table, secret: bytes) -> dict[str, dict[str, str]]:
    """A mark for every person, with one for the values and one for every covariate.

    People are known again in studies of other features and other covariates; who has other values
    of what two studies have in common counts as changed.

    Parameters
    ----------
    table : Table
    secret : bytes
        The site's own: without it nobody can tell whether somebody is among them.
    """
    people = table.people.astype(str).tolist()
    digests = [hashlib.sha256() for _ in people]
    p = len(table.features)
    for start in range(0, p, CHUNK):
        block = np.ascontiguousarray(table.block(slice(start, min(start + CHUNK, p))))
        for digest, row in zip(digests, block, strict=True):
            digest.update(row.tobytes())
    of_values = f"values {names_digest(table.features)[:16]}"
    rows: dict[str, dict[str, list[bytes]]] = {}
    columns = {str(name): table.covariates[name].astype(str).tolist() for name in table.covariates}
    for i, (name, batch, digest) in enumerate(
        zip(people, table.batch.tolist(), digests, strict=True)
    ):
        own = rows.setdefault(name, {})
        own.setdefault(of_values, []).append(digest.digest() + str(batch).encode())
        for column, values in columns.items():
            own.setdefault(column, []).append(values[i].encode())
    return {
        mark_of(secret, name): {
            what: _mark(secret, what, sorted(found)) for what, found in sorted(own.items())
        }
        for name, own in sorted(rows.items())
    }


def mark_of(secret: bytes, person: str) -> str:
    """The mark of a person, whatever the data."""
    return _mark(secret, "person", [person.encode()])


def _mark(secret: bytes, what: str, found: list[bytes]) -> str:
    text = b"".join(len(part).to_bytes(8, "big") + part for part in (what.encode(), *found))
    return hmac.digest(secret, text, "sha256")[:TAG].hex()


def cohort_id(found: Marks) -> str:
    """What a cohort is called in the ledger: the same people with the same data."""
    return hashlib.sha256(canonical_json(found).encode()).hexdigest()[:16]


def apart(one: Marks, other: Marks) -> int:
    """By how many people two cohorts differ: who is in one only, or has other data."""
    both = one.keys() & other.keys()
    changed = sum(
        any(one[who][what] != other[who][what] for what in one[who].keys() & other[who].keys())
        for who in both
    )
    return len(one.keys() ^ other.keys()) + changed


def too_close(
    found: Marks, earlier: Iterable[Mapping[str, Any]], *, changed_by: int
) -> Iterator[int]:
    """By how many people the cohort differs from earlier ones, where they are too few.

    Parameters
    ----------
    found : Marks
    earlier : iterable of mapping
        Entries of cohorts in the ledger.
    changed_by : int
        See :class:`motet.client.policy.SitePolicy`.
    """
    for entry in earlier:
        if 0 < (n := apart(found, entry["marks"])) < changed_by:
            yield n
