"""The file of a site's person at every target: names of its arrays."""

from __future__ import annotations

FILE = "targets.npz"
"""In a site's folder."""
MEASURED = "as measured"
SPACING = "spacing"


def member(number: int, target: str) -> str:
    """Name of an array: its place on the page, and whose contrast it has.

    ``site/batch`` is said as words: a slash would be a folder in the file.
    """
    site, of_site, batch = target.partition("/")
    return f"{number}.{batch} of {site}" if of_site else f"{number}.{target}"
