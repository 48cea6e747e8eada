"""Travelers: the same person wherever scanned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

Link = Mapping[str, str]
"""participant_id at one site -> the traveler's name, the same at all sites."""


def same_people(
    names: NDArray[Any], sites: NDArray[Any], links: Mapping[str, Link]
) -> Sequence[str]:
    """Who each row is, (n,): the traveler where one is named, else the participant.

    One ``participant_id`` is one person at whichever site, as for the draw of who is held out.
    """
    return [
        f"traveler {links[site][name]}" if name in links.get(site, {}) else name
        for name, site in zip(names.tolist(), sites.tolist(), strict=True)
    ]
