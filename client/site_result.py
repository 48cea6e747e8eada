"""What a site keeps for itself when a study is done: who was in the fit, and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.bids.features import read_measures
from motet.bids.table import Table, as_slice
from motet.bids.tsv import read_text, write_text
from motet.errors import DataError
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
    """Read back the harmonized values of a derivative, (n, p), rows as in `like`.

    Only the measures are read: what stands in participants.tsv beside the names is the site's own.

    Raises
    ------
    DataError
        Where the folder does not hold these people and features.
    """
    file = folder / "participants.tsv"
    people = read_text(file, place=Place(site=like.site, file=file)).column("participant_id")
    measures = read_measures(folder, people, site=like.site)
    row_of = {who: i for i, who in enumerate(_rows(measures.people, measures.sessions))}
    wanted = _rows(like.people.tolist(), None if like.sessions is None else like.sessions.tolist())
    if measures.features != like.features or row_of.keys() != set(wanted):
        raise DataError(
            "The people or features are not those of the study any more.",
            site=like.site,
            file=folder,
        )
    return np.asarray(measures.values[as_slice(np.array([row_of[who] for who in wanted]))])


def _rows(people: Sequence[str], sessions: Sequence[str] | None) -> list[tuple[str, str]]:
    return list(zip(people, sessions or [""] * len(people), strict=True))


def write_report(
    folder: Path,
    table: Table,
    fit: NDArray[np.bool_],
    *,
    about: Mapping[str, Any],
    warnings: Sequence[str],
    ledger: Path | None = None,
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
        ledger=ledger,
    )
