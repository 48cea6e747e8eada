"""Templates into one self-contained page: everything escaped, nothing loaded from anywhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from motet.report import words
from motet.store import EVERYBODY, atomic

LARGEST = 5_000_000
"""Bytes that no report exceeds."""


@cache
def environment() -> Environment:
    """The templates of this package; autoescape is always on."""
    made = Environment(
        loader=PackageLoader("motet.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["short"] = words.short
    return made


def render(template: str, **context: Any) -> str:
    """The page, with its style sheet within it."""
    return environment().get_template(template).render(**context)


def colours() -> dict[str, str]:
    """The light colours of the style sheet: CSS variable -> value."""
    style = environment().get_template("style.css").render()
    light = style[: style.index("}")]
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+);", light))


def write_page(path: Path, text: str, *, readable_by: int = EVERYBODY) -> Path:
    """Write a page atomically."""
    with atomic(path, readable_by=readable_by) as stream:
        stream.write(text)
    return path
