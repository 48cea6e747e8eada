"""What is made of images on the way goes with its holder, and after a process that was killed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from motet.images.scratch import Scratch


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_goes_with_its_holder(home: Path) -> None:
    """Catches slices of people that lie on the disk until the process ends, which a daemon's may
    not for months."""
    holder = Scratch("slices")
    assert not list(home.iterdir()), "made before it was asked for"
    (holder.path() / "x.npy").write_text("a brain")
    assert holder.path() == holder.path()
    assert holder.path().stat().st_mode & 0o077 == 0, "others can read it"
    del holder
    gc.collect()
    assert not list(home.iterdir())


def test_what_a_killed_process_left_is_removed(home: Path) -> None:
    """Catches images of people that stay after a power cut, and folders of a living process, of
    another kind or of another program that are taken for such."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    kept = [
        f"motet-slices-{os.getpid()}-a",
        f"motet-prepared-{ended.pid}-a",
        "motet-slices-of-mine",
    ]
    for name in (*kept, f"motet-slices-{ended.pid}-a"):
        (home / name).mkdir()
    made = Scratch("slices")
    assert {path.name for path in home.iterdir()} >= set(kept)
    assert {path.name for path in (made.path(), *home.iterdir())} == {*kept, made.path().name}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_leaves_it_to_whoever_made_it(tmp_path: Path) -> None:
    """Catches images that are gone while somebody works on them, since a helper process ended."""
    script = """
import os, sys, tempfile
tempfile.tempdir = sys.argv[1]
from motet.images.scratch import Scratch
holder = Scratch("slices")
place = holder.path()
child = os.fork()
if not child:
    sys.exit(0)  # with all that is done at an exit
os.waitpid(child, 0)
print(place.is_dir())
"""
    words = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True"]
    assert not list(tmp_path.iterdir())
