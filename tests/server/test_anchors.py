"""The coordinator remembers how far a site's ledger was, and signs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from conformance.cases import case
from conformance.federation import Federation
from motet.client.anchoring import Anchoring
from motet.errors import DeploymentError
from motet.flower.records import Body
from motet.ledger import Ledger
from motet.ledger.verify import is_signed
from motet.server.anchors import Anchors, last_heads, new_key, public_of, read_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
STUDY = case("combat", n=(12, 12, 12), covariates=("age",), p=4)


def stating(number: Any, head: Any, was: str = "") -> Body:
    return Body(document={"ledger": [number, head], **({"ledger_was": was} if was else {})})


def test_a_ledger_only_grows(tmp_path: Path) -> None:
    """Catches a ledger that was cut off or made anew between two studies, and a reply that is sent
    again being taken for one."""
    one, two, three = ("ab" * 32, "cd" * 32, "ef" * 32)
    anchors = Anchors(KEY, tmp_path)
    assert anchors.take("hull", stating(3, one)) == ""
    assert anchors.take("hull", stating(5, two, one), fresh=True) == ""
    again = Anchors(KEY, tmp_path)  # the coordinator was started again
    assert again.take("hull", stating(3, one)) == ""
    assert again.take("hull", stating(3, two)) == "ledger"
    assert again.last(["hull", "new"]) == {"hull": 5}
    assert again.take("hull", stating(4, three), fresh=True) == "ledger"
    assert again.take("hull", stating(5, three, two), fresh=True) == "ledger"
    assert again.take("hull", stating(9, three), fresh=True) == "ledger"
    assert again.take("hull", stating(9, three, one), fresh=True) == "ledger"
    assert again.take("hull", stating(5, two, two), fresh=True) == ""
    assert again.take("other", stating(1, three), fresh=True) == ""
    assert last_heads(tmp_path) == {"hull": f"5:{two}", "other": f"1:{three}"}
    for stated in ([1], [1, "x"], ["1", one], [True, one], {"number": 1}, "1"):
        assert again.take("hull", Body(document={"ledger": stated})) == "invalid-reply"
    assert again.take("hull", Body()) == ""
    signed = again.signed()
    assert set(signed) == {"hull", "other"}
    (tmp_path / "damaged.json").write_text("{")
    with pytest.raises(DeploymentError, match="taken for a new one"):
        again.take("damaged", stating(1, one))
    assert is_signed(PUBLIC, "hull", 5, two, signed["hull"]["signature"])
    assert not is_signed(PUBLIC, "other", 5, two, signed["hull"]["signature"])


def test_every_study_is_anchored(tmp_path: Path) -> None:
    """Catches a release that the coordinator did not put on record, a signature that the site does
    not keep or of something else, and a site that goes on with a ledger made anew."""
    anchors = Anchors(KEY, tmp_path / "anchors")
    given = {"folder": tmp_path, "anchors": anchors, "countersigned_by": PUBLIC}
    outcome = Federation(STUDY, **given).run()
    assert not outcome.missing
    for site in STUDY.tables():
        book = Ledger(tmp_path / site / "ledger.sqlite", site=site)
        *releases, anchor = (entry.body for entry in book.entries())
        assert [r["kind"] for r in releases] == ["release", "release"]
        assert anchor["kind"] == "anchor"
        number, _, head = last_heads(tmp_path / "anchors")[site].partition(":")
        assert (anchor["number"], anchor["head"]) == (int(number), head) == (2, head)
        assert book.problems(key=PUBLIC, head=(int(number), head)) == []
    # Made anew, and longer than it was.
    (tmp_path / "site-b0" / "ledger.sqlite").unlink()
    forged = Ledger(tmp_path / "site-b0" / "ledger.sqlite", site="site-b0")
    for _ in range(9):
        forged.append({"kind": "release", "study": "another", "phase": "moments"})
    outcome = Federation(STUDY, **given).run()
    assert outcome.missing == {"site-b0": "ledger"}


def test_signatures_of_somebody_else_are_not_kept(tmp_path: Path) -> None:
    """Catches a site that keeps whatever the coordinator says it signed at the end of a study."""
    said: list[str] = []
    book = Ledger(tmp_path / "ledger.sqlite", site="hull")
    entry = book.append({"kind": "release", "phase": "moments"})
    anchoring = Anchoring(book, PUBLIC, said.append)
    for key in (Ed25519PrivateKey.generate(), KEY):
        anchors = Anchors(key, tmp_path / "a")
        anchors.take("hull", stating(entry.number, entry.hash))
        anchoring.keep({"other": {}, **anchors.signed()})
    anchoring.keep(anchors.signed())
    assert [e.body["kind"] for e in book.entries()] == ["release", "anchor"]
    assert ["not of this site's ledger" in text for text in said] == [True]


def test_key(tmp_path: Path) -> None:
    """Catches a key that others can read, that changes, or whose damage makes a new one."""
    file = tmp_path / "ledger.key"
    made = new_key(file)
    assert file.stat().st_mode & 0o077 == 0
    assert read_key(file).private_bytes_raw() == made.private_bytes_raw()
    assert public_of(file) == made.public_key().public_bytes_raw().hex()
    file.write_text("no key")
    with pytest.raises(DeploymentError, match="Restore it"):
        read_key(file)
    assert public_of(tmp_path / "older") == public_of(tmp_path / "older")
