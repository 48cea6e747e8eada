"""Folders that appear under their name only when they are complete."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from motet.errors import OutputFolderError


def check_target(target: Path, *, may_replace: Callable[[Path], bool] | None = None) -> None:
    """Refuse a target that is a file, or a folder holding what Motet may not replace.

    Parameters
    ----------
    target : Path
        Absent or empty is always fine.
    may_replace : callable, optional
        Whether an existing folder that is not empty may go; default: never.
    """
    if target.exists() and not target.is_dir():
        raise OutputFolderError("This is a file, not a folder.", file=target)
    if not target.exists() or not any(target.iterdir()):
        return
    if may_replace is None or not may_replace(target):
        raise OutputFolderError(
            "The folder holds something else and is not overwritten.",
            do="Name another folder, or move this one away.",
            file=target,
        )


@contextmanager
def complete_folder(
    target: Path, *, may_replace: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """Yield a hidden folder beside `target` that takes its name when the block succeeds.

    After a crash there is the old folder or the new one under the name, or, when the machine
    stops between two renames, the old one beside it, which the next call puts back.
    """
    # A link stays: the folder it points to is the one that is replaced.
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_crashed(target)
        check_target(target, may_replace=may_replace)
        partial = target.parent / f"{_prefix(target)}{os.getpid()}-{secrets.token_hex(4)}"
        partial.mkdir()
    except OSError as error:
        raise OutputFolderError(
            f"The folder cannot be written: {error.strerror}.", file=target
        ) from error
    try:
        yield partial
        check_target(target, may_replace=may_replace)
        _swap(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-{socket.gethostname()}-"


def _previous(target: Path) -> Path:
    return target.parent / f".{target.name}.previous"


def _swap(partial: Path, target: Path) -> None:
    _flush(partial)
    # A folder cannot be renamed onto one that holds files; hence two renames.
    previous = _previous(target)
    if target.exists():
        target.rename(previous)
    partial.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())


def _clear_crashed(target: Path) -> None:
    """Put back or remove what a crashed process left beside the target."""
    previous = _previous(target)
    if previous.is_dir():
        if target.exists():
            shutil.rmtree(previous, ignore_errors=True)
        else:
            previous.rename(target)
    for left in target.parent.iterdir():
        if not left.name.startswith(_prefix(target)):
            continue
        pid = left.name.removeprefix(_prefix(target)).split("-")[0]
        # Other hosts' folders have another prefix; whether those processes live is not known here.
        if pid.isdigit() and not alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def alive(pid: int) -> bool:
    """Whether a process of this number runs here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
