"""What the docstrings of parameters say, for people who do not read code."""

from __future__ import annotations

import inspect
import re

from pydantic import BaseModel

ENTRY = re.compile(r"^(\w+) : (.+)$")


def meanings(kind: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Parameter -> its type and meaning in words, from the numpydoc of a class and its bases."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _entries(inspect.cleandoc(base.__doc__ or ""))
    return found


def _entries(text: str) -> dict[str, tuple[str, str]]:
    """The section 'Parameters' of a docstring."""
    _, _, section = text.partition("Parameters\n----------\n")
    found: dict[str, tuple[str, str]] = {}
    name = ""
    for line in section.split("\n"):
        if entry := ENTRY.match(line):
            name = entry[1]
            found[name] = (entry[2], "")
        elif line.startswith(" ") and name:
            kind, said = found[name]
            found[name] = (kind, f"{said} {line.strip()}".strip())
        elif line.strip():
            break  # the next section
    return found
