"""The file of a site's person at every target: names of its arrays."""

from __future__ import annotations

FILE = "targets.npz"
"""In a site's folder."""
MEASURED = "as measured"
SPACING = "spacing"


def member(number: int, target: str) -> str:
    """Name of an array: its place on the page, and whose contrast it has."""
    return f"{number}.{target.replace('/', ' of ')}"
