"""Nobody changes a ledger unseen."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from motet.errors import LedgerError
from motet.ledger import Ledger, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def filled(path: Path, entries: int, *, anchored: int) -> Ledger:
    """A ledger whose coordinator countersigned some heads, the last at `anchored`."""
    book = Ledger(path, site="hull")
    for k in range(entries):
        entry = book.append({"kind": "release", "phase": f"p{k}", "bytes": k})
        if k + 1 in (anchored // 2, anchored):
            signature = KEY.sign(verify.signed("hull", entry.number, entry.hash)).hex()
            book.anchor(entry.number, entry.hash, signature)
    return book


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    return list(filled(path, 40, anchored=40).export())


def edit(rows: list[dict], rng: random.Random) -> None:
    row = rng.choice(rows[1:])
    name = rng.choice(sorted(row))
    value = str(row[name])
    at = rng.randrange(len(value))
    other = rng.choice([c for c in "0123456789abcdef" if c != value[at]])
    changed = value[:at] + other + value[at + 1 :]
    row[name] = int(changed) if isinstance(row[name], int) and changed.isdigit() else changed


def delete(rows: list[dict], rng: random.Random) -> None:
    del rows[rng.randrange(1, len(rows) - 1)]


def insert(rows: list[dict], rng: random.Random) -> None:
    at = rng.randrange(1, len(rows) - 1)
    rows.insert(at, dict(rows[rng.randrange(1, len(rows))]))


def reorder(rows: list[dict], rng: random.Random) -> None:
    a, b = rng.sample(range(1, len(rows)), 2)
    rows[a], rows[b] = rows[b], rows[a]


def cut_off(rows: list[dict], rng: random.Random) -> None:
    del rows[rng.randrange(1, len(rows)) :]


def rechain(rows: list[dict], rng: random.Random) -> None:
    """An entry is changed, and all hashes after it are made to fit."""
    rows[rng.randrange(1, 20)]["text"] = f'{{"kind":"release","bytes":{rng.random()}}}'
    before = verify.first("hull")
    for row in rows[1:]:
        before = row["hash"] = verify.following(before, row["number"], row["text"])


TAMPERINGS = (edit, delete, insert, reorder, cut_off, rechain)


def found(lines: list[str], times: int, seed: int) -> None:
    assert verify.problems(lines, key=PUBLIC) == []
    last = json.loads(lines[-1])
    head = (int(last["number"]), str(last["hash"]))
    rng = random.Random(seed)
    for turn in range(times):
        rows = [json.loads(line) for line in lines]
        how = TAMPERINGS[turn % len(TAMPERINGS)]
        how(rows, rng)
        written = [json.dumps(row, sort_keys=True, separators=(",", ":")) for row in rows]
        if written == lines:  # an entry that changed places with itself, or a cut behind the end
            continue
        assert verify.problems(written, key=PUBLIC, head=head), (how.__name__, turn)


def test_tampering_is_found(lines: list[str]) -> None:
    """Catches an entry that is changed, taken out, put in or moved, a tail that is cut off, and a
    chain that is made anew from some entry on."""
    found(lines, 1200, seed=1)


@pytest.mark.long
def test_every_tampering_is_found(lines: list[str]) -> None:
    """The same 10,000 times."""
    found(lines, 10_000, seed=2)


def test_anchors_alone_show_what_the_chain_does_not(lines: list[str]) -> None:
    """Catches a chain that was made anew where nobody has the coordinator's record."""
    rows = [json.loads(line) for line in lines]
    rechain(rows, random.Random(3))
    written = [json.dumps(row) for row in rows]
    assert any("anchor" in problem for problem in verify.problems(written, key=PUBLIC))
    # The anchors, too, are made to fit: then their signatures do not.
    before, hashes = verify.first("hull"), {}
    for row in rows[1:]:
        body = json.loads(row["text"])
        if body["kind"] == verify.ANCHOR:
            row["text"] = json.dumps(body | {"head": hashes[body["number"]]})
        before = row["hash"] = verify.following(before, row["number"], row["text"])
        hashes[row["number"]] = before
    written = [json.dumps(row) for row in rows]
    assert verify.problems(written) == []
    assert verify.problems(written, key=PUBLIC) == ["the anchor at entry 41 has no valid signature"]


def test_signatures_are_those_of_the_standard() -> None:
    """Catches a script that takes any signature, or none of the real ones."""
    rng = random.Random(4)
    for _ in range(12):
        key = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), rng.randbytes(50)
        signature = key.sign(message)
        assert verify.ed25519(public, message, signature)
        assert not verify.ed25519(public, message + b"x", signature)
        at = rng.randrange(512)
        wrong = bytearray(signature)
        wrong[at // 8] ^= 1 << at % 8
        assert not verify.ed25519(public, message, bytes(wrong))
        assert not verify.ed25519(rng.randbytes(32), message, signature)
    assert not verify.ed25519(b"", b"", b"")


def test_the_script_needs_nothing(lines: list[str], tmp_path: Path) -> None:
    """Catches an import that an auditor's machine does not have."""
    file = tmp_path / "ledger.jsonl"
    file.write_text("\n".join(lines))
    script = tmp_path / "verify.py"
    script.write_text(Path(verify.__file__).read_text())

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", str(script), str(file), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    whole = run("--key", PUBLIC)
    assert (whole.returncode, whole.stdout) == (0, "The ledger is whole.\n")
    assert "not checked" in run().stdout
    other = run("--key", "00" * 32)
    assert other.returncode == 1
    assert "no valid signature" in other.stdout
    file.write_text("\n".join(lines[:20]))
    assert run("--head", f"30:{json.loads(lines[30])['hash']}").returncode == 1
    file.write_text("something else\n")
    assert "cannot be read" in run().stdout


def test_sqlite_itself_refuses(tmp_path: Path) -> None:
    """Catches a slip of our own, or of somebody with a database browser, that changes entries."""
    book = filled(tmp_path / "ledger.sqlite", 5, anchored=4)
    for words in ("UPDATE entries SET text = '{}'", "DELETE FROM entries", "DELETE FROM about"):
        with (
            sqlite3.connect(book.path) as raw,
            pytest.raises(sqlite3.IntegrityError, match="append-only"),
        ):
            raw.execute(words)
    assert book.problems(key=PUBLIC) == []
    phases = [entry.body.get("phase", "anchor") for entry in book.entries()]
    assert phases == ["p0", "p1", "anchor", "p2", "p3", "anchor", "p4"]
    with pytest.raises(LedgerError, match="that of 'hull'"):
        Ledger(book.path, site="other")


def test_some_of_a_large_ledger(tmp_path: Path) -> None:
    """Catches approvals that are looked for among all releases of years, at every phase."""
    book = filled(tmp_path / "ledger.sqlite", 3, anchored=3)
    assert [e.body["kind"] for e in book.entries("anchor", "refusal")] == ["anchor", "anchor"]
    assert [e.number for e in book.entries("release")] == [1, 3, 4]
    assert book.hash_of(5) == next(e.hash for e in book.entries() if e.number == 5)
    assert book.hash_of(99) == ""
    with closing(sqlite3.connect(book.path)) as raw:
        words = "SELECT * FROM entries WHERE json_extract(text, '$.kind') IN (?) ORDER BY number"
        (plan,) = raw.execute(f"EXPLAIN QUERY PLAN {words}", ("approval",)).fetchall()[:1]
    assert "by_kind" in str(plan)


def test_many_write_at_once(tmp_path: Path) -> None:
    """Catches two processes of a site that bind their entries to the same one before."""
    path = tmp_path / "deep" / "ledger.sqlite"
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda k: Ledger(path, site="hull").append({"kind": "release", "k": k}), range(80)
            )
        )
    book = Ledger(path, site="hull")
    assert book.problems() == []
    assert sorted(entry.body["k"] for entry in book.entries()) == list(range(80))
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no database, but long enough to be looked at " * 20),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    ],
)
def test_a_damaged_file_is_a_sentence(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    """Catches a traceback, and a new ledger that begins where the old one cannot be read."""
    path = tmp_path / "ledger.sqlite"
    filled(path, 400, anchored=4)
    spoil(path)
    with pytest.raises(LedgerError, match="Nothing leaves without a ledger"):
        list(Ledger(path, site="hull").entries())


def test_hundred_thousand_entries(tmp_path: Path) -> None:
    """Catches a check that nobody waits for. Asked: below 3 s; with room for a busy machine."""
    before, rows = verify.first("hull"), [json.dumps({"ledger": "motet ledger 1", "site": "hull"})]
    text = json.dumps({"kind": "release", "phase": "moments", "sha256": "0" * 64, "bytes": 12345})
    for number in range(1, 100_001):
        before = verify.following(before, number, text)
        rows.append(json.dumps({"number": number, "text": text, "hash": before}))
    signature = KEY.sign(verify.signed("hull", 100_000, before)).hex()
    body = {"kind": "anchor", "number": 100_000, "head": before, "signature": signature}
    before = verify.following(before, 100_001, json.dumps(body))
    rows.append(json.dumps({"number": 100_001, "text": json.dumps(body), "hash": before}))
    began = time.process_time()
    assert verify.problems(rows, key=PUBLIC) == []
    assert time.process_time() - began < 6.0
