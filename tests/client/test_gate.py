"""The outgoing gate: nothing passes but what is declared, and the ledger has what passed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from conformance.direct import direct
from conformance.ledgers import released
from motet.client.gate import Gate
from motet.errors import ReleaseRefusedError
from motet.flower.records import PACKED, Body, Envelope, encode
from motet.ledger import Ledger
from motet.plan import AGREE

STUDY = case(p=4)
FIT = direct(STUDY, STUDY.tables())
PHASE = FIT.plan.phases[1]
SIZES = FIT.plan.sizes(FIT.shared)
HONEST = next(arrays for _, site, arrays in FIT.sent if site == "site-b0")


def release(gate: Gate, arrays: Any) -> Any:
    return gate.release(arrays, plan=FIT.plan, phase=PHASE, path=PHASE.name, sizes=SIZES)


def edited(name: str, change: Any) -> dict[str, Any]:
    return {**HONEST, name: change(np.array(HONEST[name]))}


def with_first(value: float) -> Any:
    def change(array: np.ndarray) -> np.ndarray:
        array.reshape(-1)[0] = value
        return array

    return change


REFUSED = {
    "an array too many": ({**HONEST, "rows": np.zeros((9, 4))}, "rows"),
    "an array too few": ({k: v for k, v in HONEST.items() if k != "yy"}, "yy"),
    "a row a person": (edited("sum_y", lambda a: np.zeros((9, 4))), "sum_y"),
    "one column wider": (edited("wy", lambda a: np.hstack([a, a[:, :1]])), "wy"),
    "one dimension more": (edited("sum_y", lambda a: a[None]), "sum_y"),
    "float32": (edited("yy", lambda a: a.astype(np.float32)), "yy"),
    "objects": (edited("yy", lambda a: a.astype(object)), "yy"),
    "text": (edited("yy", lambda a: a.astype(str)), "yy"),
    "int32 for int64": (edited("people", lambda a: a.astype(np.int32)), "people"),
    "NaN": (edited("sum_y", with_first(np.nan)), "sum_y"),
    "infinity": (edited("wy", with_first(np.inf)), "wy"),
    "negative count": (edited("people", with_first(-1)), "people"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_departure_from_the_declaration_is_refused_by_name(what: str, tmp_path: Path) -> None:
    """Catches any of these leaving, and a ledger entry for what did not leave."""
    arrays, name = REFUSED[what]
    book = Ledger(tmp_path / "ledger.sqlite", site="hull")
    with pytest.raises(ReleaseRefusedError, match=f"'{name}'") as error:
        release(Gate("hull", ledger=book), arrays)
    assert error.value.where == {"site": "hull"}
    assert released(book.path) == []
    (refused,) = released(book.path, kind="refusal")
    assert f"'{name}'" in " ".join(refused["why"])


def test_the_refusal_holds_no_value() -> None:
    """Catches a sum, which may be one person's value, in the text of an error."""
    arrays = edited("sum_y", with_first(np.nan)) | {"secret": np.array([73.0625])}
    with pytest.raises(ReleaseRefusedError) as error:
        release(Gate("hull"), arrays)
    assert "73.0625" not in str(error.value)
    assert not any(f"{v:.3g}" in str(error.value) for v in HONEST["sum_y"])


def test_what_passes_is_what_was_given_and_stands_in_the_ledger(tmp_path: Path) -> None:
    """Catches digests of something else than the bytes that leave, in their order or endianness."""
    path = tmp_path / "deep" / "ledger.sqlite"
    gate = Gate("hull", ledger=Ledger(path, site="hull"))
    passed = release(gate, HONEST)
    assert all(passed[name] is HONEST[name] for name in HONEST)
    release(gate, {name: HONEST[name] for name in reversed(list(HONEST))})
    first, second = released(path)
    assert first == second
    assert (first["study"], first["plan"]) == (FIT.plan.study, FIT.plan.hash)
    assert (first["phase"], first["class"]) == (PHASE.name, "sum")
    assert first["arrays"] == [
        {
            "name": name,
            "dtype": HONEST[name].dtype.name,
            "shape": list(HONEST[name].shape),
            "bytes": HONEST[name].nbytes,
            "sha256": hashlib.sha256(HONEST[name].tobytes()).hexdigest(),
        }
        for name in sorted(HONEST)
    ]


def test_ledger_digest_of_a_strided_array_is_of_the_bytes_that_leave(tmp_path: Path) -> None:
    """Catches a digest over the memory of a transposed array instead of over what is encoded."""
    arrays = edited("wy", lambda a: np.asfortranarray(a))
    book = Ledger(tmp_path / "ledger.sqlite", site="hull")
    gate = Gate("hull", ledger=book)
    content = encode(Envelope(run="r"), Body(arrays=release(gate, arrays)))
    written = released(book.path)[0]["arrays"]
    sent, start = content["arrays"][PACKED].data, 0
    for entry in written:
        left = sent[start : start + entry["bytes"]]
        assert entry["sha256"] == hashlib.sha256(left).hexdigest(), entry["name"]
        start += entry["bytes"]
    assert start == len(sent)


def test_description_with_an_undeclared_key_is_refused() -> None:
    """Catches a count of people, or anything else, slipping into the first message."""
    declared = (*AGREE.equal, "covariates", "batches")
    description = {"features": ["a"], "units": [""], "covariates": [], "batches": ["b"]}
    gate = Gate("hull")
    assert gate.describe(description, declared) == description
    with pytest.raises(ReleaseRefusedError, match="people"):
        gate.describe(description | {"people": 12}, declared)
