"""What a site keeps for itself when a study is done: who was in the fit, and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.bids.tsv import write_text
from motet.client.opening import open_site
from motet.harmonizer import Params
from motet.report import write_site_report


def write_cohort(
    folder: Path, table: Table, fit: NDArray[np.bool_], *, others: str = "held_out"
) -> None:
    """Write ``cohort.tsv``: who of a site was in the fit; the others are held out, or unseen.

    Parameters
    ----------
    folder : Path
        The site's own.
    table : Table
    fit : (n,) bool
    others : {"held_out", "unseen"}
    """
    used = dict(zip(table.people.tolist(), fit.tolist(), strict=True))
    rows = [[person, "fit" if inside else others] for person, inside in used.items()]
    write_text(folder / "cohort.tsv", ["participant_id", "used"], rows)


def reread(folder: Path, like: Table) -> NDArray[np.float64]:
    """Read back the harmonized values of a derivative, (n, p), rows as in `like`."""
    if like.form == "npy":
        return np.asarray(np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False))
    return open_site(folder, site=like.site, params=Params()).values


def write_report(
    folder: Path,
    table: Table,
    fit: NDArray[np.bool_],
    *,
    about: Mapping[str, Any],
    warnings: Sequence[str],
) -> Path:
    """Write the site's report from its own folder.

    Raises
    ------
    ReportExtraError
        Where jinja2 and matplotlib are not installed.
    """
    return write_site_report(
        folder,
        raw=table,
        harmonized=reread(folder / "harmonized", table),
        fit=fit,
        about=about,
        warnings=warnings,
    )
