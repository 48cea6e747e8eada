"""Which sites the SuperLink knows is brought to what the folder says: enrolled, or removed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from motet.errors import DeploymentError, MotetError
from motet.flower.control import Control
from motet.server.home import ServerHome
from motet.server.public_keys import as_pem, pem
from motet.store import atomic, write_json


@dataclass(kw_only=True)
class Enrolled:
    """What came of enrolling: the sites that are new, and what is wrong with others."""

    new: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


def enrol(home: ServerHome) -> Enrolled:
    """Register the keys that the running SuperLink does not know; note all node ids.

    The SuperLink is asked which keys it has, so that neither a crash behind a registration nor a
    lost database leaves a site out. One bad key does not keep the others waiting.

    Raises
    ------
    DeploymentError
        When the SuperLink cannot be asked.
    """
    control, found = home.control(), Enrolled()
    registered = _without_removed(home, control)
    nodes: dict[str, int] = {}
    for site, file in home.public_keys().items():
        try:
            home.refuse_removed(file)
            key = as_pem(file)
            known = registered.get(key)
            nodes[site] = control.register(key) if known is None else known
        except MotetError as problem:
            found.problems[site] = str(problem)
            continue
        if known is None:
            found.new.append(site)
    if nodes != _noted(home):
        write_json(home.enrolled_file, nodes)
    return found


def remove(home: ServerHome, site: str) -> Literal["now", "at the next start"]:
    """Remove a site: its key is refused from now on. What it released stays.

    Its public key is kept in a list, so that a coordinator that is not running, or that is cut off
    here, makes up for it at its next start.

    Returns
    -------
    str
        When the SuperLink hears of it.

    Raises
    ------
    DeploymentError
        When there is no such site.
    """
    file = home.public_keys().get(site)
    if file is None:
        raise DeploymentError(
            f"There is no site '{site}'.", do=f"See 'motet server status {home.path}'."
        )
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    if text not in home.removed_keys():
        with atomic(home.removed_file) as stream:
            stream.writelines(f"{line}\n" for line in [*home.removed_keys(), text])
    file.unlink()
    write_json(home.enrolled_file, {k: v for k, v in _noted(home).items() if k != site})
    try:
        _without_removed(home, home.control())
    except DeploymentError:
        return "at the next start"
    return "now"


def _without_removed(home: ServerHome, control: Control) -> dict[bytes, int]:
    """Have the SuperLink forget removed keys; those that it still has, with their nodes."""
    registered = control.keys()
    for text in home.removed_keys():
        node = registered.pop(pem(text), None)
        if node is not None:
            control.unregister(node)
    return registered


def _noted(home: ServerHome) -> dict[str, int]:
    """The last node ids; nothing where the file is spoilt, since it can be made again."""
    try:
        return home.enrolled()
    except DeploymentError:
        return {}
