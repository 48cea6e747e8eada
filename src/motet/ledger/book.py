"""An append-only book in SQLite, every entry bound to all before it by a hash."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet.errors import LedgerError
from motet.ledger.verify import ANCHOR, BEGIN, first, following, problems
from motet.store import canonical_json

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (site TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, text TEXT NOT NULL, hash TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_kind
    ON entries (json_extract(text, '$.kind'), json_extract(text, '$.plan'));
"""
NEVER = "".join(
    f"CREATE TRIGGER IF NOT EXISTS no_{what}_{table} BEFORE {what} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;\n"
    for table in ("about", "entries")
    for what in ("UPDATE", "DELETE")
)
WAIT = 30.0
"""Seconds to wait while another process of this site writes."""


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes
    ----------
    number : int
        From 1.
    body : dict
        What happened: ``kind``, ``at`` and what belongs to it.
    hash : str
        Of this entry and all before it.
    """

    number: int
    body: dict[str, Any]
    hash: str


class Ledger:
    """A site's ledger.

    Parameters
    ----------
    path : Path
        The file; it is made where there is none.
    site : str

    Raises
    ------
    LedgerError
        When the file is another site's, or no ledger.
    """

    def __init__(self, path: Path, *, site: str) -> None:
        self.path, self.site = path, site
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
        try:
            with closing(self._open()) as book, book:
                book.executescript(SCHEMA + NEVER)
                book.execute(
                    "INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT 1 FROM about)", (site,)
                )
                (owner,) = book.execute("SELECT site FROM about").fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        if owner != site:
            raise LedgerError(f"The ledger is that of '{owner}'.", site=site, file=path)

    @classmethod
    def found(cls, path: Path) -> Ledger | None:
        """The ledger in a file, whosever it is; None where there is no file."""
        if not path.is_file():
            return None
        try:
            with closing(sqlite3.connect(path)) as book:
                (site,) = book.execute("SELECT site FROM about").fetchone()
        except (sqlite3.Error, TypeError) as error:
            raise LedgerError("This is no ledger.", file=path) from error
        return cls(path, site=str(site))

    def append(self, body: Mapping[str, Any]) -> Entry:
        """Add an entry; it is on the disk when this returns."""
        text = canonical_json(dict(body))
        try:
            with closing(self._open()) as book:
                # Whoever else writes has to wait: the hash is of the very last entry.
                book.execute("BEGIN IMMEDIATE")
                with book:
                    number, before = self._last(book)
                    entry = Entry(number + 1, dict(body), following(before, number + 1, text))
                    book.execute(
                        "INSERT INTO entries VALUES (?, ?, ?)", (entry.number, text, entry.hash)
                    )
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return entry

    def anchor(self, number: int, head: str, signature: str) -> Entry:
        """Note the coordinator's countersignature of a head."""
        return self.append({"kind": ANCHOR, "number": number, "head": head, "signature": signature})

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last entry."""
        try:
            with closing(self._open()) as book:
                return self._last(book)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def hash_of(self, number: int) -> str:
        """The hash of an entry; empty where there is none of this number."""
        try:
            with closing(self._open()) as book:
                row = book.execute(
                    "SELECT hash FROM entries WHERE number = ?", (number,)
                ).fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return "" if row is None else str(row[0])

    def last(self, kind: str) -> Entry | None:
        """The last entry of a kind."""
        where = "json_extract(text, '$.kind') = ?"
        numbered = f"number = (SELECT max(number) FROM entries WHERE {where})"  # noqa: S608 - as below
        for number, text, value in self._rows(
            f"SELECT number, text, hash FROM entries WHERE {numbered}",  # noqa: S608 - as below
            (kind,),
        ):
            return Entry(number, json.loads(text), value)
        return None

    def entries(self, *kinds: str, plan: str = "") -> Iterator[Entry]:
        """All entries in their order, or those of some kinds, or of these of a plan."""
        where, values = "", kinds
        if kinds:
            # The expression is that of the index, or all entries would be read.
            marks = ", ".join("?" * len(kinds))
            where = f" WHERE json_extract(text, '$.kind') IN ({marks})"
            if plan:
                where, values = f"{where} AND json_extract(text, '$.plan') = ?", (*kinds, plan)
        query = f"SELECT number, text, hash FROM entries{where}"  # noqa: S608 - no words of others
        for number, text, value in self._rows(query, values):
            yield Entry(number, json.loads(text), value)

    def export(self) -> Iterator[str]:
        """The lines of a file that :mod:`motet.ledger.verify` checks."""
        yield canonical_json({"ledger": BEGIN.strip(), "site": self.site})
        for number, text, value in self._rows("SELECT number, text, hash FROM entries"):
            yield canonical_json({"number": number, "text": text, "hash": value})

    def problems(self, *, key: str = "", head: tuple[int, str] | None = None) -> list[str]:
        """What is wrong with it; empty where nothing is."""
        return problems(self.export(), key=key, head=head)

    def _rows(self, query: str, values: Sequence[str] = ()) -> list[Any]:
        try:
            with closing(self._open()) as book:
                return book.execute(f"{query} ORDER BY number", values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _last(self, book: sqlite3.Connection) -> tuple[int, str]:
        row = book.execute(
            "SELECT number, hash FROM entries ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return (0, first(self.site)) if row is None else (int(row[0]), str(row[1]))

    def _open(self) -> sqlite3.Connection:
        book = sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)
        book.execute("PRAGMA synchronous = FULL")
        return book

    def _unreadable(self, error: sqlite3.Error) -> LedgerError:
        return LedgerError(
            f"The ledger cannot be read or written: {error}.",
            do="Nothing leaves without a ledger. Restore it from a backup, or ask for help.",
            site=self.site,
            file=self.path,
        )
