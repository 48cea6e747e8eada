"""Opening a site's data as a study's method wants them."""

from __future__ import annotations

from pathlib import Path

from motet.bids.covariates import CovariateRequest
from motet.bids.read import read_site
from motet.bids.table import Table
from motet.harmonizer import Params


def requests(params: Params) -> dict[str, CovariateRequest]:
    """How the study wants each covariate."""
    return {
        name: CovariateRequest(levels=kind)
        if isinstance(kind, tuple)
        else CovariateRequest(kind=kind)
        for name, kind in params.covariates.items()
    }


def open_site(folder: Path, *, site: str, params: Params) -> Table:
    """Read the folder of a site.

    Raises
    ------
    DataError
        Names the file, column, person or feature that does not fit.
    """
    return read_site(folder, site=site, covariates=requests(params), batch=params.batch)
