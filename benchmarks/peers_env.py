"""The environments in which the compared packages run.

Motet and neuroCombat share the interpreter that runs the benchmark: neuroCombat works with numpy 2
and is in Motet's development environment, so both use the same numpy and the same BLAS.
neuroHarmonize needs numpy < 2 and gets a virtual environment of its own with pinned versions.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINS = HERE / "peers-neuroharmonize.txt"
PEER_ENV = HERE / ".peers" / "neuroharmonize"
OLD_KERNEL_PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def python_for(package: str) -> Path:
    """The interpreter for `package`; makes neuroHarmonize's environment at first use."""
    return _peer_python() if package == "neuroHarmonize" else Path(sys.executable)


def environment_for(package: str) -> dict[str, str]:
    """This process's environment, without variables that pin an old OpenBLAS kernel."""
    dropped = set(OLD_KERNEL_PINS)
    if package == "neuroHarmonize":
        dropped.add("PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _peer_python() -> Path:
    python = PEER_ENV / "bin" / "python"
    stamp = PEER_ENV / "pins.sha256"
    digest = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    print("Making neuroHarmonize's environment (once) ...", file=sys.stderr)
    venv.create(PEER_ENV, with_pip=True, clear=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--requirement", PINS],
        check=True,
        env=environment_for("neuroHarmonize"),
    )
    stamp.write_text(digest)
    return python
