"""Pages of the sites within the study report: in a simulation only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from motet.errors import listed

BEGINS, ENDS = "<!-- site page begins -->", "<!-- site page ends -->"
"""What of a site's report.html goes into the study's; the templates write the marks."""


@dataclass(frozen=True, kw_only=True)
class SitePages:
    """The pages shown, and a sentence on those that are not."""

    shown: tuple[tuple[str, str], ...]
    said: str


def site_pages_of(folder: Path, sites: Sequence[str], *, room: int) -> SitePages:
    """Read the pages of `sites` as far as they fit into `room` bytes."""
    shown: list[tuple[str, str]] = []
    missing, too_large = [], []
    for site in sites:
        path = folder / "sites" / site / "report.html"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if BEGINS not in text or ENDS not in text:
            missing.append(site)
            continue
        part = text.split(BEGINS, 1)[1].rsplit(ENDS, 1)[0]
        part = re.sub(r"<(/?)h([2-4])\b", lambda m: f"<{m.group(1)}h{int(m.group(2)) + 1}", part)
        if len(part.encode()) > room:
            too_large.append(site)
            continue
        room -= len(part.encode())
        shown.append((site, part))
    said = ""
    if missing:
        said += f"There is no page of {listed(missing)}. "
    if too_large:
        said += f"Not here, since the file would exceed 5 MB: {listed(too_large)}; see their own."
    return SitePages(shown=tuple(shown), said=said.strip())
