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


def test_a_key_is_the_same_for_ever(peers: Peers, said: list[str], tmp_path: Path) -> None:
    """Catches a coordinator that gives a key of its own for a hospital, in a later study."""
    peers.check({"birch": OLD})
    assert fingerprint(OLD)[:SHOWN] in said[0]
    peers.check({"birch": OLD})
    assert len(said) == 1
    again = Peers(Ledger(tmp_path / "ledger.sqlite", site="ash"), said.append)
    with pytest.raises(SecureSumError, match=fingerprint(NEW)[:SHOWN]):
        again.check({"birch": NEW})
    with pytest.raises(SecureSumError):
        peers.check({"birch": NEW})
    assert peers.known() == {"birch": OLD}


def test_people_take_a_new_key(peers: Peers) -> None:
    """Catches a key that is taken by its name, or by a fingerprint that nobody read."""
    peers.check({"birch": OLD})
    assert peers.compared() == {"birch": ""}
    peers.accept("birch", fingerprint(OLD)[:SHOWN].upper() + " ", by="mallory")
    assert peers.compared() == {"birch": "mallory"}
    for wrong in ("", fingerprint(OLD)[: SHOWN - 1], fingerprint(NEW), "0" * 64):
        with pytest.raises(SecureSumError, match="No key that came"):
            peers.accept("birch", wrong, by="somebody")
    with pytest.raises(SecureSumError):
        peers.check({"birch": NEW})
    with pytest.raises(SecureSumError, match="No key that came for 'cedar'"):
        peers.accept("cedar", fingerprint(NEW), by="somebody")
    peers.accept("birch", fingerprint(NEW), by="erika")
    peers.check({"birch": NEW})
    assert peers.compared() == {"birch": "erika"}
    with pytest.raises(SecureSumError):
        peers.check({"birch": OLD})
