"""What a site keeps has a version a phase; going back one undoes a phase completely."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motet.client.keep import Keep


def keep_at(folder: Path | None, data: str = "d") -> Keep:
    return Keep(plan="p", data=data, path=None if folder is None else folder / ".keep.npz")


def three_phases(folder: Path | None) -> Keep:
    keep = keep_at(folder)
    keep.begin()
    for number, phase in enumerate(["one", "two", "three"], start=1):
        keep["x"] = np.full(2, float(number))
        keep[phase] = np.array(number)
        keep.commit(phase)
    return keep


@pytest.mark.parametrize("on_disk", [True, False])
def test_undo_goes_back_one_phase_and_no_further(on_disk: bool, tmp_path: Path) -> None:
    """Catches a phase that is half undone, and an undo of what others have built on."""
    keep = three_phases(tmp_path if on_disk else None)
    assert not keep.undo("two")
    assert keep.undo("three")
    assert keep.done == ["one", "two"]
    assert sorted(keep) == ["one", "two", "x"]
    assert keep["x"].tolist() == [2, 2]
    assert not keep.undo("two")


@pytest.mark.parametrize(("done", "x"), [(["one", "two", "three"], 3), (["one", "two"], 2)])
def test_another_process_takes_up_the_last_two_versions(
    done: list[str], x: int, tmp_path: Path
) -> None:
    """Catches a site that cannot go back the one phase that the coordinator did not hear of."""
    three_phases(tmp_path)
    keep = keep_at(tmp_path)
    assert keep.resume(done)
    assert (keep.done, keep["x"].tolist()) == (done, [x, x])
    keep["x"] = np.full(2, 9.0)
    keep.commit("next")
    again = keep_at(tmp_path)
    assert again.resume([*done, "next"])
    assert again["x"].tolist() == [9, 9]
    assert keep_at(tmp_path).resume(done)


@pytest.mark.parametrize("done", [["one"], ["two", "one"], ["one", "two", "three", "four"], []])
def test_other_progress_is_not_taken_up(done: list[str], tmp_path: Path) -> None:
    """Catches arrays of one progress under the name of another."""
    three_phases(tmp_path)
    assert not keep_at(tmp_path).resume(done)


def test_other_data_or_plan_is_not_taken_up(tmp_path: Path) -> None:
    """Catches moments of yesterday's participants.tsv."""
    three_phases(tmp_path)
    assert not keep_at(tmp_path, data="edited").resume(["one", "two"])
    other = Keep(plan="q", data="d", path=tmp_path / ".keep.npz")
    assert not other.resume(["one", "two"])


def test_begin_forgets_everything_on_disk_and_in_memory(tmp_path: Path) -> None:
    """Catches a run that starts over from what the run before left."""
    three_phases(tmp_path)
    keep = keep_at(tmp_path)
    assert keep.resume(["one", "two", "three"])
    keep.begin()
    assert (dict(keep), keep.done) == ({}, [])
    assert list(tmp_path.iterdir()) == []
    keep.commit("one")
    assert not keep_at(tmp_path).resume(["one", "two", "three"])
    assert keep_at(tmp_path).resume(["one"])


@pytest.mark.parametrize("missing", [".keep.npz", ".keep.npz.before"])
def test_one_version_lost(missing: str, tmp_path: Path) -> None:
    """Catches a crash between the two renames of a commit, after which one file is there."""
    three_phases(tmp_path)
    (tmp_path / missing).unlink()
    last, before = ["one", "two", "three"], ["one", "two"]
    assert keep_at(tmp_path).resume(last) == (missing != ".keep.npz")
    assert keep_at(tmp_path).resume(before) == (missing == ".keep.npz")


def test_what_was_read_cannot_be_changed_in_place(tmp_path: Path) -> None:
    """Catches a method that adds to a kept array: a resumed run would let it, a fresh one not."""
    fresh = three_phases(tmp_path)
    resumed = keep_at(tmp_path)
    assert resumed.resume(["one", "two", "three"])
    for keep in (fresh, resumed):
        with pytest.raises(ValueError, match="read-only"):
            keep["x"] += 1


def test_what_was_given_can_be_used_again_without_changing_what_is_kept() -> None:
    """Catches a buffer that a method fills anew for the next phase: it would change the version
    that an undo goes back to."""
    keep = keep_at(None)
    keep.begin()
    buffer = np.zeros(2)
    keep["x"] = buffer
    keep.commit("one")
    buffer += 1
    keep["y"] = buffer
    keep.commit("two")
    assert keep.undo("two")
    assert keep["x"].tolist() == [0, 0]


def test_remove_leaves_no_file(tmp_path: Path) -> None:
    """Catches a site's moments on the disk after the study is over."""
    three_phases(tmp_path).remove()
    assert list(tmp_path.iterdir()) == []
