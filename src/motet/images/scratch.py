"""Folders for what is made of a site's images and not to be kept: they show people."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path

from motet.bids.folder import alive


class Scratch:
    """A folder that is made when it is asked for, and gone with its holder.

    Processes that were killed leave theirs: the next one that needs such a folder removes them.

    Parameters
    ----------
    what : str
        First part of the name, after ``motet-``.
    """

    def __init__(self, what: str) -> None:
        self._prefix = f"motet-{what}-"
        self._folder: Path | None = None
        self._lock = threading.Lock()

    def path(self) -> Path:
        """The folder."""
        with self._lock:
            if self._folder is None:
                self._sweep()
                self._folder = Path(tempfile.mkdtemp(prefix=f"{self._prefix}{os.getpid()}-"))
                weakref.finalize(self, _remove, self._folder, os.getpid())
            return self._folder

    def _sweep(self) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{self._prefix}*-*"):
            process = left.name.removeprefix(self._prefix).split("-")[0]
            if process.isdigit() and not alive(int(process)):
                shutil.rmtree(left, ignore_errors=True)


def _remove(folder: Path, made_by: int) -> None:
    """Remove a folder, but in a forked process that ends and never made it."""
    if os.getpid() == made_by:
        shutil.rmtree(folder, ignore_errors=True)
