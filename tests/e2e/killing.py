"""A ``motet`` command in a process of its own that is killed (SIGKILL) where a test says so.

It is forked from a process that has loaded Motet: to load it takes longer than these studies do.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from motet.cli import main

FORKED = multiprocessing.get_context("forkserver")
# Of this process, whoever else forks in it. What it cannot load it passes over in silence.
FORKED.set_forkserver_preload(["motet.cli", "motet.simulation", "motet.bids.derivatives"])
PATIENCE = 60.0


def killed_at(point: str, *words: object, also: Callable[[], bool] = lambda: True) -> None:
    """Run ``motet simulate …`` until it stops at `point` and `also` holds, and kill it there.

    Parameters
    ----------
    point : str
        ``replace NAME`` or ``rename NAME``: before a file or a folder gets a name that ends so;
        ``write SITE``, ``judge SITE``, ``finish SITE``: before the site does; without a site: the
        first that would.
    *words : object
        The command; its reports are left for later.
    also : callable
        Another condition, asked again until it holds.
    """
    with tempfile.TemporaryDirectory() as folder:
        flag, said = Path(folder) / "flag", Path(folder) / "said"
        arguments = (point, flag, said, [*map(str, words), "--reports", "later"])
        said.touch()
        child = FORKED.Process(target=_run, args=arguments)
        child.start()
        try:
            until = time.monotonic() + PATIENCE
            while not (flag.exists() and also()):
                assert child.is_alive(), f"it ended by itself: {said.read_text()}"
                assert time.monotonic() < until, "it never came to this point"
                time.sleep(0.001)
        finally:
            child.kill()
            child.join()
        assert child.exitcode == -signal.SIGKILL


def _run(point: str, flag: Path, said: Path, words: list[str]) -> None:
    sys.argv = ["motet", *words]
    with said.open("w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            _stop_at(point, flag)
            main()
        except BaseException:
            traceback.print_exc(file=out)
            raise


def _stop_at(point: str, flag: Path) -> None:
    """Have what gets to a point say so and stop there."""
    from motet.bids.derivatives import DerivativeWriter
    from motet.client.planned import Planned
    from motet.client.worker import SiteWorker

    def stopping(honest: Callable[..., Any], here: Callable[..., bool]) -> Callable[..., Any]:
        def replacement(*args: Any, **keywords: Any) -> Any:
            if here(*args):
                flag.touch()
                time.sleep(2 * PATIENCE)
            return honest(*args, **keywords)

        return replacement

    kind, _, place = point.partition(" ")
    of: dict[str, tuple[Any, str, Callable[..., bool]]] = {
        # Files and folders appear under their names by these two.
        "replace": (os, "replace", lambda old, new: str(new).endswith(place)),
        "rename": (os, "rename", lambda old, new: str(new).endswith(place)),
        "write": (DerivativeWriter, "_finish", lambda writer: writer.like.site == place),
        "judge": (
            Planned,
            "_judged",
            lambda planned, phase, path, *rest: (
                planned.site.name == place and path == "evaluation_probes"
            ),
        ),
        "finish": (SiteWorker, "finish", lambda worker, *rest: place in ("", worker.name)),
    }
    owner, name, here = of[kind]
    setattr(owner, name, stopping(getattr(owner, name), here))
