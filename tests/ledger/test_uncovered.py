"""A release that left without the coordinator's countersignature is found in the exported text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from e2e.consortium import motet, refused, succeeded
from motet.ledger import Ledger, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
SIGNED = "signed"


def release(phase: str, run: str = "s/1", **more: Any) -> dict[str, Any]:
    return {"kind": "release", "phase": phase, "run": run, "plan": "p", **more}


def book_of(path: Path, bodies: Sequence[dict[str, Any] | str]) -> Ledger:
    """A ledger of these entries; where it says so, the one before was countersigned."""
    book = Ledger(path / "ledger.sqlite", site="hull")
    for body in bodies:
        if isinstance(body, str):
            number, head = book.head
            book.anchor(number, head, KEY.sign(verify.signed("hull", number, head)).hex())
        else:
            book.append(body)
    return book


READ = {"kind": "reveal", "circle": "c", "salts": {}}
OLD = {"kind": "release", "phase": "a", "plan": "p"}
"""As a version before wrote them, which waited for nothing."""
HELD = {"t1": "c"}


@pytest.mark.parametrize(
    ("bodies", "uncovered"),
    [
        ([], []),
        ([release("a"), SIGNED, release("b"), SIGNED], []),
        ([release("a"), release("b"), SIGNED], []),
        # The last one was stopped; in each of two runs, too.
        ([release("a"), SIGNED, release("b")], []),
        ([release("a"), SIGNED, release("b"), release("a", run="s/2")], []),
        ([release("a"), release("b")], [1]),
        ([release("a"), SIGNED, release("b"), release("c"), release("d")], [3, 4]),
        ([release("a"), SIGNED, release("b", circle=HELD), release("c")], [3]),
        # Behind masks it is the word that takes them off.
        ([release("a", circle="c"), release("b", circle="d")], []),
        ([release("a", circle="c"), READ], [1]),
        ([release("a", circle="c"), SIGNED, READ], []),
        ([OLD, OLD], []),
        ([OLD, SIGNED, OLD, OLD, release("a")], []),
        ([{"kind": "release", "phase": "schema", "keys": []}, OLD], []),
    ],
)
def test_uncovered(bodies: Any, uncovered: list[int], tmp_path: Path) -> None:
    """Catches one that is not found, and one that is found though it never left."""
    found = book_of(tmp_path, bodies).problems(key=PUBLIC)
    assert [int(problem.split()[1].rstrip(",")) for problem in found] == uncovered


def test_a_signature_of_somebody_else_covers_nothing(tmp_path: Path) -> None:
    """Catches an anchor that a site made for itself."""
    book = book_of(tmp_path, [release("a"), SIGNED, release("b"), release("c")])
    number, head = book.head
    book.anchor(number, head, Ed25519PrivateKey.generate().sign(b"").hex())
    assert "no valid signature" in book.problems(key=PUBLIC)[0]


def test_it_is_said(tmp_path: Path) -> None:
    """Catches a command, or the auditor's script, that says of such a ledger that it is whole."""
    book = book_of(tmp_path, [release("a"), SIGNED, release("moments"), release("c")])
    words = "entry 3, 'moments', was never countersigned"
    answer = refused(motet("site", "ledger", "verify", tmp_path, "--key", PUBLIC), "not whole")
    file = tmp_path / "ledger.jsonl"
    file.write_text("\n".join(book.export()))
    command = [sys.executable, "-I", "-S", verify.__file__, str(file), "--key", PUBLIC]
    offline = subprocess.run(command, capture_output=True, text=True, check=False)
    assert offline.returncode == 1
    for printed in (" ".join(answer.split()), offline.stdout):
        assert words in printed
    stopped = book_of(tmp_path / "stopped", [release("a"), SIGNED, release("moments")])
    printed = succeeded("site", "ledger", "verify", stopped.path.parent, "--key", PUBLIC)
    assert "entry 3, 'moments', was not countersigned and did not leave" in " ".join(
        printed.split()
    )
