"""Keys of other sites: written down when first seen, never changed unseen, compared by people."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.client.peers import SHOWN, Peers
from motet.errors import SecureSumError
from motet.ledger import Ledger
from motet.secure.keys import SumKey, fingerprint

OLD, NEW = SumKey(b"o" * 32).public, SumKey(b"n" * 32).public


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def peers(tmp_path: Path, said: list[str]) -> Peers:
    return Peers(Ledger(tmp_path / "ledger.sqlite", site="ash"), said.append)


def test_a_key_that_nobody_compared(peers: Peers, said: list[str]) -> None:
    """Catches a coordinator that makes a hospital up, or gives its own key for one."""
    with pytest.raises(SecureSumError, match=fingerprint(OLD)[:SHOWN]):
        peers.check({"birch": OLD})
    assert not peers.known()
    peers.accept("birch", fingerprint(OLD)[:SHOWN].upper() + " ", by="erika")
    peers.check({"birch": OLD})
    with pytest.raises(SecureSumError, match="Nobody has compared the key of 'cedar'"):
        peers.check({"birch": OLD, "cedar": NEW})
    assert not said


def test_a_key_is_the_same_for_ever(tmp_path: Path, said: list[str]) -> None:
    """Catches a coordinator that gives a key of its own in a later study, where the first is taken
    as it comes."""

    def peers() -> Peers:
        ledger = Ledger(tmp_path / "ledger.sqlite", site="ash")
        return Peers(ledger, said.append, first_use=True)

    peers().check({"birch": OLD})
    assert fingerprint(OLD)[:SHOWN] in said[0]
    peers().check({"birch": OLD})
    assert len(said) == 1
    with pytest.raises(SecureSumError, match=fingerprint(NEW)[:SHOWN]):
        peers().check({"birch": NEW})
    assert peers().known() == {"birch": (fingerprint(OLD), "")}


def test_people_take_a_new_key(peers: Peers) -> None:
    """Catches an old key that stays good, and words that are no fingerprint."""
    for wrong in ("", fingerprint(OLD)[: SHOWN - 1], "0" * 65, "birch's own fingerprint"):
        with pytest.raises(SecureSumError, match="no fingerprint"):
            peers.accept("birch", wrong, by="somebody")
    peers.accept("birch", fingerprint(OLD), by="erika")
    peers.accept("birch", fingerprint(NEW)[:20], by="erika")
    peers.check({"birch": NEW})
    assert peers.known() == {"birch": (fingerprint(NEW)[:20], "erika")}
    with pytest.raises(SecureSumError):
        peers.check({"birch": OLD})
