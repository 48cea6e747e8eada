"""Arrays that one other site opens, and nobody between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from motet.errors import ProtocolError, SecureSumError
from motet.releases import ArraySpec
from motet.secure.keys import SumKey
from motet.secure.sealed import Seal, sealed_specs
from motet.secure.wire import read_salt

SPECS = (
    ArraySpec(name="unit", shape=("p",), dtype="float32", meaning="weights"),
    ArraySpec(name="n", shape=(), dtype="int64", meaning="steps"),
)
SIZES = {"p": 1000}
A, B, OTHER = (SumKey.of(word) for word in (b"a", b"b", b"c"))
ARRAYS = {"unit": np.linspace(-1, 1, 1000, dtype=np.float32), "n": np.asarray(7, dtype=np.int64)}
SEAL = Seal(what={"run": "r"}, sender="a", recipient="b", keys={"a": A.public, "b": B.public})


def test_the_recipient_reads_what_was_sealed() -> None:
    """Catches a byte that is lost, and a length that is not the declared one."""
    salt, sealed = SEAL.close(A, ARRAYS)
    declared = {spec.name: spec.shape for spec in sealed_specs(SPECS, SIZES)}
    assert {name: array.shape for name, array in sealed.items()} == declared
    found = SEAL.open(B, read_salt(salt.hex()), sealed, SPECS, SIZES)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_nobody_else_reads_it() -> None:
    """Catches a key that a third site, or another release, has too."""
    salt, sealed = SEAL.close(A, ARRAYS)
    thief = replace(SEAL, recipient="c", keys={"a": A.public, "c": OTHER.public})
    with pytest.raises(SecureSumError, match="'a' sealed"):
        thief.open(OTHER, salt, sealed, SPECS, SIZES)
    with pytest.raises(SecureSumError, match="'a' sealed"):
        replace(SEAL, what={"run": "s"}).open(B, salt, sealed, SPECS, SIZES)
    with pytest.raises(SecureSumError, match="Another key"):
        SEAL.open(OTHER, salt, sealed, SPECS, SIZES)


def test_what_was_changed_or_exchanged_is_refused() -> None:
    """Catches ciphertext that is taken though a bit of it is another, and one array for another."""
    salt, sealed = SEAL.close(A, ARRAYS)
    changed = {name: array.copy() for name, array in sealed.items()}
    changed["unit"][5] ^= 1
    for wrong in (changed, {"unit": sealed["n"], "n": sealed["unit"]}, {"n": sealed["n"]}):
        with pytest.raises(SecureSumError, match="'a' sealed"):
            SEAL.open(B, salt, wrong, SPECS, SIZES)


def test_the_same_bytes_again_and_never_one_key_for_two() -> None:
    """Catches a run that goes on with other bytes, and a keystream over two contents, whose
    difference the coordinator could read."""
    salt, sealed = SEAL.close(A, ARRAYS)
    again, same = SEAL.close(A, ARRAYS)
    assert (salt, sealed["unit"].tobytes()) == (again, same["unit"].tobytes())
    moved = {**ARRAYS, "unit": ARRAYS["unit"] + 1}
    other, different = SEAL.close(A, moved)
    assert other != salt
    mixed = np.frombuffer(sealed["unit"].tobytes()[:-16], dtype=np.uint32)
    mixed = mixed ^ np.frombuffer(different["unit"].tobytes()[:-16], dtype=np.uint32)
    plain = ARRAYS["unit"].view(np.uint32) ^ moved["unit"].view(np.uint32)
    assert not np.array_equal(mixed, plain)


def test_what_a_coordinator_may_not_say() -> None:
    """Catches a release to oneself, and words that are no salt."""
    with pytest.raises(SecureSumError, match="one other"):
        replace(SEAL, recipient="a")
    for wrong in ("AAAA", "no hex", None, 7):
        with pytest.raises(ProtocolError, match="salt"):
            read_salt(wrong)
