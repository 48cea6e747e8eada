"""The reports: one of the study, from what was released; one of each site, which stays there.

They need jinja2 and matplotlib (the extra ``report``), which are imported when a report is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.report.needs import ReportExtraError, installed, require

SitePages = Literal["shown", "left out"]
ABOUT = ("study", "method", "plan", "model", "motet")
"""Keys of ``run.json`` that a site's page tells of the study."""


def write_study_report(folder: Path, *, site_pages: SitePages) -> Path:
    """Write ``DIR/report.html`` from run.json, plan.json, metrics.json, evaluation.npz, shared/.

    Parameters
    ----------
    folder : Path
        A finished study.
    site_pages : {"shown", "left out"}
        ``shown``: include the pages of the sites, which show people. In a simulation only, since
        there all data are one person's; the page says so.

    Returns
    -------
    Path
        The file written: self-contained, under 5 MB, the same bytes for the same study.

    Raises
    ------
    ModelError
        Names the file that is missing or damaged, or says that a deployed study has no site pages.
    ReportExtraError
        jinja2 or matplotlib is not installed.
    """
    require()
    from motet.report import study

    return study.write(folder, site_pages=site_pages)


def write_site_report(
    folder: Path,
    *,
    raw: Table,
    harmonized: NDArray[np.float64],
    fit: NDArray[np.bool_],
    about: Mapping[str, Any],
    warnings: Sequence[str],
    ledger: Path | None = None,
) -> Path:
    """Write ``sites/<site>/report.html``: people and densities; it stays at the site.

    Parameters
    ----------
    folder : Path
        The site's own, with ``ledger.sqlite`` and ``model/`` where it has them.
    raw : Table
        The people as measured, with covariates.
    harmonized : (n, p) float64
        The same rows after harmonization; may be memory-mapped.
    fit : (n,) bool
        Who was in the fit.
    about : mapping
        ``study``, ``method``, ``plan``, ``model`` and ``motet``: see ``ABOUT``.
    warnings : sequence of str
        What the site said to itself.
    ledger : Path, optional
        Where the ledger lies, if not in the folder.

    Returns
    -------
    Path

    Raises
    ------
    ReportExtraError
        jinja2 or matplotlib is not installed.
    """
    require()
    from motet.report import site

    return site.write(
        folder,
        raw=raw,
        harmonized=harmonized,
        fit=fit,
        about=about,
        warnings=warnings,
        ledger=ledger,
    )


__all__ = [
    "ABOUT",
    "ReportExtraError",
    "SitePages",
    "installed",
    "write_site_report",
    "write_study_report",
]
