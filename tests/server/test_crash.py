"""A process that is really gone (os._exit) leaves a state from which another one goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.cases import case
from conformance.federation import Federation

CHILD = """
import os, sys
from pathlib import Path
from conformance.cases import case
from conformance.federation import Federation
import motet.server.checkpoint, motet.store

folder, where, call = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
calls = []

def dying(honest):
    def replacement(*args, **keywords):
        calls.append(1)
        if len(calls) == call:
            os._exit(9)
        return honest(*args, **keywords)
    return replacement

if where == "checkpoint":
    checkpoint = motet.server.checkpoint.Checkpoint
    checkpoint.save = dying(checkpoint.save)
else:
    os.replace = dying(os.replace)
study = case(options={"reference": "b1"}, n=(9, 12, 8, 10), p=5, missing=0.1)
Federation(study, folder=folder / "sites").run(checkpoint=folder / "progress.npz")
"""


@pytest.mark.parametrize(
    ("where", "call", "left"),
    [("checkpoint", 2, 5), ("checkpoint", 3, 1), ("rename", 5, 9), ("rename", 8, 5)],
)
def test_process_exits_and_another_goes_on(
    where: str, call: int, left: int, tmp_path: Path
) -> None:
    """Catches state that is on the disk only if the process ends well, and half-written files.

    The 5th rename is the first checkpoint's; the 8th is a site's in the second phase. ``left``
    counts the messages that the second process still has to send of nine."""
    command = [sys.executable, "-c", CHILD, str(tmp_path), where, str(call)]
    path = [str(Path(__file__).parents[1]), *(p for p in sys.path if p)]
    # The rest of the environment as it is: BLAS reads from it which kernels to use.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    child = subprocess.run(command, env=environment, timeout=60, check=False)
    assert child.returncode == 9
    study = case(options={"reference": "b1"}, n=(9, 12, 8, 10), p=5, missing=0.1)
    whole = Federation(study)
    expected = whole.run()
    resumed = Federation(study, folder=tmp_path / "sites")
    outcome = resumed.run(checkpoint=tmp_path / "progress.npz")
    assert {k: a.tobytes() for k, a in outcome.shared.items()} == {
        k: a.tobytes() for k, a in expected.shared.items()
    }
    assert resumed.values.tobytes() == whole.values.tobytes()
    assert len(resumed.asked("train.phase")) == left
    assert not (tmp_path / "progress.npz").exists()
