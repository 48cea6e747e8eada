"""Whose sums have left before: two that differ by one person give that person away."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from motet.bids.table import Table

TAG = 8
"""Bytes of a person's mark: enough to tell people of a site apart, and no name."""

CHUNK = 4096


def marks(table: Table, secret: bytes) -> tuple[str, ...]:
    """One mark for every person and their data, sorted; another where a value has changed.

    Parameters
    ----------
    table : Table
    secret : bytes
        The site's own: without it nobody can tell whether somebody is among them.
    """
    people = table.people.astype(str)
    digests = [hashlib.sha256(name.encode()) for name in people.tolist()]
    p = len(table.features)
    for start in range(0, p, CHUNK):
        block = np.ascontiguousarray(table.block(slice(start, min(start + CHUNK, p))))
        for digest, row in zip(digests, block, strict=True):
            digest.update(row.tobytes())
    rows = table.covariates.astype(str).to_numpy()
    of_person: dict[str, list[bytes]] = {}
    for name, batch, digest, covariates in zip(
        people.tolist(), table.batch.tolist(), digests, rows, strict=True
    ):
        digest.update("\x1f".join([str(batch), *covariates.tolist()]).encode())
        of_person.setdefault(name, []).append(digest.digest())
    return tuple(
        sorted(
            hmac.digest(secret, b"".join(sorted(own)), "sha256")[:TAG].hex()
            for own in of_person.values()
        )
    )


def cohort_id(found: Sequence[str]) -> str:
    """What a cohort is called in the ledger."""
    return hashlib.sha256(",".join(found).encode()).hexdigest()[:16]


def too_close(
    found: Sequence[str], earlier: Iterable[Mapping[str, Any]], *, changed_by: int
) -> Iterator[int]:
    """By how many people the cohort differs from earlier ones, where they are too few.

    Parameters
    ----------
    found : sequence of str
        Marks.
    earlier : iterable of mapping
        Entries of cohorts in the ledger.
    changed_by : int
        See :class:`motet.client.policy.SitePolicy`.
    """
    own = set(found)
    for entry in earlier:
        apart = len(own ^ set(entry["marks"]))
        if 0 < apart < changed_by:
            yield apart
