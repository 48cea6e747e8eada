"""Keep processes running: started again on any exit, ended together, told of in a status file."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler, WatchedFileHandler
from pathlib import Path
from types import FrameType
from typing import Any

from motet.errors import DeploymentError, ModelError, OutputFolderError
from motet.store import read_json, write_json

log = logging.getLogger("motet.supervise")

PAUSES = (0.2, 1.0, 2.0, 5.0)
"""Seconds before a process is started again: longer each time it ends soon after its start."""
STEADY = 30.0
"""Seconds after which a process counts as well started."""
GRACE = 10.0
"""Seconds a process has to end when asked."""
PR_SET_PDEATHSIG = 1


def die_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to end this process when its parent ends, however that happens (Linux)."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)
    except (OSError, AttributeError):
        return


@contextmanager
def claimed(folder: Path, whose: str, *, name: str = "") -> Iterator[None]:
    """Hold a folder for this process; a second one is refused.

    Parameters
    ----------
    folder : Path
    whose : str
        What holds it, for the sentence.
    name : str
        A file to lock in its place, where several processes share the folder.

    Raises
    ------
    DeploymentError
        When another process holds it.
    """
    flags = os.O_RDWR | os.O_CREAT if name else os.O_RDONLY
    handle = os.open(folder / name, flags, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise DeploymentError(
            f"A {whose} runs in this folder already.", do="See its 'status'.", file=folder
        ) from error
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make a study's folder, and hold it: two runs would take each other's files away.

    Raises
    ------
    OutputFolderError
        When it cannot be made, or another run holds it.
    """
    with ExitStack() as stack:
        try:
            if folder.exists() and not folder.is_dir():
                raise OutputFolderError("This is a file, not a folder.", file=folder)
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(claimed(folder, "study"))
        except OSError as error:
            raise OutputFolderError(
                f"The folder cannot be written: {error.strerror}.", file=folder
            ) from error
        except DeploymentError as error:
            raise OutputFolderError(
                "Another run is writing into this folder.",
                do="Wait until it is done, or name another folder.",
                file=folder,
            ) from error
        yield


def log_to(file: Path, *, largest: int = 0) -> None:
    """Append what this package says to a file, whatever other loggers do.

    Parameters
    ----------
    file : Path
        Several processes may share it; where a log rotation moves it away it is opened again.
    largest : int
        Bytes after which it is set aside, three times at most. For a file of one process.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handler: logging.Handler = WatchedFileHandler(file)
    if largest:
        handler = RotatingFileHandler(file, maxBytes=largest, backupCount=3)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("motet")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False


def started(pid: int) -> str:
    """When a process of this machine started, as the kernel counts; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def supervised(status: Path) -> dict[str, Any] | None:
    """The processes that a status file tells of; None where its supervisor is gone, however."""
    try:
        document = read_json(status)
        own = document["supervisor"]
        alive = started(int(own["pid"])) == own["started"] != ""
        return dict(document["processes"]) if alive else None
    except (ModelError, KeyError, TypeError, ValueError):
        return None


def python_module(name: str, *words: str) -> list[str]:
    """The command that runs a module of this package in the same environment."""
    return [sys.executable, "-m", name, *words]


@dataclass(kw_only=True)
class Child:
    """One process to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] | None = None
    output: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    not_before: float = 0.0
    ends: int = 0
    soon: int = field(default=0, repr=False)

    @property
    def running(self) -> bool:
        """Whether it is running."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, its output appended to a file."""
        stream = None
        if self.output is not None:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            stream = self.output.open("ab")
        try:
            self.process = subprocess.Popen(  # noqa: S603 - the caller's own command
                list(self.command),
                env=None if self.environment is None else dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                preexec_fn=die_with_parent,
            )
        finally:
            if stream is not None:
                stream.close()
        self.started = time.monotonic()

    def look(self) -> None:
        """Start it again where it has ended and its pause is over."""
        if self.process is not None and self.process.poll() is not None:
            lasted = time.monotonic() - self.started
            self.soon = 0 if lasted > STEADY else min(self.soon + 1, len(PAUSES) - 1)
            pause = PAUSES[self.soon]
            log.warning(
                "%s ended with status %s after %.1f s; it starts again in %.1f s",
                self.name,
                self.process.returncode,
                lasted,
                pause,
            )
            self.ends += 1
            self.process, self.not_before = None, time.monotonic() + pause
        if self.process is None and time.monotonic() >= self.not_before:
            self.start()

    def end(self) -> None:
        """Ask it to end."""
        if self.running and self.process is not None:
            self.process.terminate()

    def wait(self, until: float) -> None:
        """Wait for its end, then kill it."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Runs children until it is told to end (SIGTERM, SIGINT).

    Parameters
    ----------
    children : sequence of Child
    status : Path
        JSON of what runs; removed at the end.
    tick : callable, optional
        Called every half second, for work beside.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        status: Path,
        tick: Callable[[], None] = lambda: None,
        interval: float = 0.5,
    ) -> None:
        self._children, self._status, self._tick = list(children), status, tick
        self._interval = interval
        self._over = False
        self._written: object = None

    def run(self) -> None:
        """Keep them running; returns when all have ended."""
        before = {s: signal.signal(s, self._end) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._over:
                for child in self._children:
                    child.look()
                self._say()
                self._tick()
                if not self._over:
                    time.sleep(self._interval)
        finally:
            for child in reversed(self._children):
                child.end()
            until = time.monotonic() + GRACE
            for child in reversed(self._children):
                child.wait(until)
            self._status.unlink(missing_ok=True)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._over = True

    def _say(self) -> None:
        document = {
            "supervisor": {"pid": os.getpid(), "started": started(os.getpid())},
            "processes": {
                child.name: {
                    "pid": child.process.pid if child.process else None,
                    "running": child.running,
                    "restarts": child.ends,
                }
                for child in self._children
            },
        }
        if document != self._written:
            write_json(self._status, document)
            self._written = document
