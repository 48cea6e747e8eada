"""One derivative of several runs, each of some participants, as BIDS-Apps are run on clusters."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motet.bids.checks import Place
from motet.bids.description import SOURCE, is_harmonized
from motet.bids.tsv import read_text, write_text
from motet.errors import OutputFolderError

TABLES = ("participants.tsv", "features.tsv")
SAME = ("method", "study", "plan", "model", "target")
"""Keys of features.json that say what the values were made with."""


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other run is putting its people into `folder`."""
    handle = os.open(folder.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def check_joinable(
    earlier: Path, description: Mapping[str, Any], *, source: Path | None = None
) -> None:
    """Refuse a folder whose people were harmonized with another model, or are of another dataset.

    Parameters
    ----------
    earlier : Path
        Absent is fine.
    description : mapping
        What the new values are made with.
    source : Path, optional
        The dataset of the new people.

    Raises
    ------
    OutputFolderError
    """
    if not is_harmonized(earlier):
        return  # absent, empty, or nothing of Motet's, which is refused elsewhere
    held = _document(earlier)
    differs = [key for key in SAME if held.get(key) != description.get(key)]
    if differs == ["target"]:
        raise OutputFolderError(
            f"The folder holds people who were brought to another target ({_target(held)}; these "
            f"are brought to {_target(description)}).",
            do="Name another folder: these participants would lie beside them.",
            file=earlier,
        )
    if not differs and not (earlier / "features.tsv").is_file():
        raise OutputFolderError(
            "Single people cannot be added to values that lie in a features.npy.",
            do="Harmonize everybody, or name another folder.",
            file=earlier,
        )
    if differs:
        raise OutputFolderError(
            f"The folder holds people who were harmonized with another model ({differs[0]}).",
            do="Name another folder: these participants would lie beside them.",
            file=earlier,
        )
    before = _source(earlier)
    if source is not None and before not in ("", source.resolve().as_uri()):
        raise OutputFolderError(
            f"The folder holds people of another dataset ({before}).",
            do="Name another folder: their sources would be looked for here.",
            file=earlier,
        )


def check_replaceable(earlier: Path, description: Mapping[str, Any]) -> None:
    """Refuse to replace what was made with another model or target: nobody asked for its end.

    Raises
    ------
    OutputFolderError
    """
    held = _document(earlier) if is_harmonized(earlier) else {}
    if "model" not in held:
        return
    of = ""
    if held["model"] != description.get("model"):
        of = "another model"
    elif held.get("target") != description.get("target"):
        of = f"another target ({_target(held)})"
    if of:
        raise OutputFolderError(
            f"The folder holds a result of {of}, which would be lost.",
            do="Name another folder, or take this one away first.",
            file=earlier,
        )


def keep_others(new: Path, earlier: Path, people: Collection[str]) -> None:
    """Take over into `new` what `earlier` holds of people who are not among `people`.

    Parameters
    ----------
    new : Path
        A derivative of `people`, not yet under its name.
    earlier : Path
        One made with the same model; absent or empty is fine.
    people : collection of str
    """
    if not (earlier / "features.tsv").is_file():
        return
    for name in TABLES:
        both = [folder / name for folder in (earlier, new)]
        tables = [read_text(file, place=Place(file=file)) for file in both]
        header = tables[1].header
        if tables[0].header != header:
            raise OutputFolderError(
                f"{name} has other columns than in an earlier run.",
                do="Name another folder.",
                file=earlier,
            )
        at = tables[0].position("participant_id")
        rows = [row for row in tables[0].rows if row[at] not in people] + tables[1].rows
        write_text(new / name, header, sorted(rows, key=lambda row: row[at]))
    for folder in sorted(earlier.glob("sub-*")):
        if folder.is_dir() and not (new / folder.name).exists():
            shutil.copytree(folder, new / folder.name, copy_function=os.link)
    held, own = _document(earlier), _document(new)
    own["Sources"] = sorted({*held.get("Sources", ()), *own.get("Sources", ())})
    (new / "features.json").write_text(json.dumps(own, indent=2, ensure_ascii=False) + "\n")


def _target(description: Mapping[str, Any]) -> str:
    return str(description.get("target", "none"))


def _source(folder: Path) -> str:
    """The dataset that a derivative was made from, as its description names it."""
    try:
        document = json.loads((folder / "dataset_description.json").read_text(encoding="utf-8"))
        return str(document["DatasetLinks"][SOURCE])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _document(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "features.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
