"""Hashes say what is in the arrays and nothing else; files are whole or not there."""

from __future__ import annotations

import ast
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motet.errors import ModelError
from motet.store import (
    atomic,
    canonical_json,
    content_hash,
    load_array,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
)

ARRAYS: dict[str, Any] = {
    "b": np.arange(6.0).reshape(2, 3),
    "a": np.array([1, 2], dtype=np.int64),
    "n": np.asarray(7, dtype=np.int64),
    "empty": np.zeros((0, 3)),
    "yes": np.array([True, False]),
}


def test_order_memory_and_endianness_do_not_change_the_hash() -> None:
    """Catches a hash of how something lies in memory, which differs between machines."""
    expected = content_hash(ARRAYS, {"x": 1, "y": [2]})
    assert content_hash(dict(reversed(ARRAYS.items())), {"y": [2], "x": 1}) == expected
    for change in (
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        np.asfortranarray,
        lambda a: np.repeat(a[None], 3, axis=0)[1],
    ):
        changed = {name: change(array).reshape(array.shape) for name, array in ARRAYS.items()}
        assert content_hash(changed, {"x": 1, "y": [2]}) == expected


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("b", ARRAYS["b"].T),
        ("b", ARRAYS["b"].astype(np.float32)),
        ("b", ARRAYS["b"] + np.eye(2, 3) * 1e-15),
        ("n", np.array([7])),
        ("empty", np.zeros((3, 0))),
        ("c", np.zeros(1)),
        ("a", ARRAYS["a"].view(np.float64)),
    ],
)
def test_any_change_changes_the_hash(name: str, array: Any) -> None:
    """Catches a hash over the bytes alone: shape, dtype and names count."""
    assert content_hash({**ARRAYS, name: array}, None) != content_hash(ARRAYS, None)
    assert content_hash(ARRAYS, {"a": 1}) != content_hash(ARRAYS, {"a": 2})


def test_canonical_json_has_one_text() -> None:
    """Catches spaces, key order, escapes; NaN, which is no JSON, is refused."""
    assert canonical_json({"b": "é", "a": [1, 2.5, None]}) == '{"a":[1,2.5,null],"b":"é"}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


def test_arrays_come_back_as_they_went(tmp_path: Path) -> None:
    """Catches a shape or dtype lost on the disk: () read back as (1,) is another array."""
    write_arrays(tmp_path / "a.npz", ARRAYS)
    read = read_arrays(tmp_path / "a.npz")
    assert list(read) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()
    assert content_hash(read, None) == content_hash(ARRAYS, None)


def test_objects_are_never_written(tmp_path: Path) -> None:
    """Catches numpy falling back to pickle when it writes: nothing of ours could read it."""
    with pytest.raises((ModelError, TypeError, ValueError)):
        write_arrays(tmp_path / "a.npz", {"a": np.array([{}], dtype=object)})
    assert not (tmp_path / "a.npz").exists()


def test_pickle_in_a_file_is_not_read(tmp_path: Path) -> None:
    """Catches code that runs when a model is opened."""
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ModelError):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_crash_in_the_middle_leaves_the_old_file(mode: str, tmp_path: Path) -> None:
    """Catches a write in place, and temporary files that stay behind."""

    class PowerCut(BaseException):
        pass

    def write_half() -> None:
        with atomic(path, mode) as stream:
            stream.write(b"new" if "b" in mode else "new")
            stream.flush()
            raise PowerCut

    path = tmp_path / "model.npz"
    path.write_text("old")
    with pytest.raises(PowerCut):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["model.npz"]


def test_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """Catches a window in which the file is missing or short while it is replaced."""
    path = tmp_path / "a.npz"
    write_arrays(path, {"a": np.zeros(20_000)})
    stop = time.monotonic() + 0.5
    seen, failed = set(), []

    def read() -> None:
        while time.monotonic() < stop:
            try:
                array = read_arrays(path)["a"]
            except ModelError as error:
                failed.append(error)
                return
            seen.add(float(array[0]))
            assert (array == array[0]).all()

    reader = threading.Thread(target=read)
    reader.start()
    turn = 0
    while time.monotonic() < stop:
        turn += 1
        write_arrays(path, {"a": np.full(20_000, float(turn))})
    reader.join()
    assert not failed
    assert len(seen) > 1


def test_sites_that_are_threads_read_one_header_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches arrays that are read beside each other: CPython 3.11 now and then fails at that."""
    write_arrays(tmp_path / "a.npz", ARRAYS)
    np.save(tmp_path / "a.npy", np.arange(3.0))
    inside, seen = 0, []
    parse = ast.literal_eval

    def slow(header: str) -> Any:
        nonlocal inside
        inside += 1
        seen.append(inside)
        try:
            time.sleep(0.005)
            return parse(header)
        finally:
            inside -= 1

    monkeypatch.setattr(ast, "literal_eval", slow)  # what numpy asks of a header
    reads: list[Callable[[], Any]] = [
        lambda: read_arrays(tmp_path / "a.npz"),
        lambda: load_array(tmp_path / "a.npy"),
        lambda: load_array(tmp_path / "a.npy", mapped=True),
    ]
    with ThreadPoolExecutor(2 * len(reads)) as pool:
        found = list(pool.map(lambda read: read(), [*reads, *reads]))
    assert len(seen) == 2 * (len(ARRAYS) + 2)
    assert max(seen) == 1
    assert found[1].tolist() == found[2].tolist() == [0.0, 1.0, 2.0]
    assert isinstance(found[2], np.memmap)
    assert not found[2].flags.writeable


def test_failed_json_leaves_the_old_file(tmp_path: Path) -> None:
    """Catches a document that turns out not to be JSON half way through the file."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    for bad in ({"a": 1, "b": float("inf")}, {"a": 1, "b": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, bad)
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"\x00"])
def test_file_that_is_no_json_is_named(content: bytes, tmp_path: Path) -> None:
    """Catches a traceback of json for a file a person has to find."""
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.json"):
        read_json(tmp_path / "a.json")
