"""Opening a site's data as a study's method wants them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from motet.bids.covariates import CovariateRequest
from motet.bids.read import read_site
from motet.bids.table import Table
from motet.harmonizer import Params


def requests(params: Params, biology: Sequence[str] = ()) -> dict[str, CovariateRequest]:
    """How the study wants each covariate; the columns of `biology` come behind them."""
    covariates = {
        name: CovariateRequest(levels=kind)
        if isinstance(kind, tuple)
        else CovariateRequest(kind=kind)
        for name, kind in params.covariates.items()
    }
    return covariates | {name: CovariateRequest() for name in biology if name not in covariates}


def open_site(folder: Path, *, site: str, params: Params, biology: Sequence[str] = ()) -> Table:
    """Read the folder of a site, with the columns of `biology` beside the covariates.

    Raises
    ------
    DataError
        Names the file, column, person or feature that does not fit.
    """
    return read_site(folder, site=site, covariates=requests(params, biology), batch=params.batch)
