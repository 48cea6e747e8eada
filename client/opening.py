"""Opening a site's data as a study's method wants them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from motet.bids.covariates import CovariateRequest
from motet.bids.plausible import far_features, far_values
from motet.bids.read import read_site
from motet.bids.table import Table
from motet.client.local_site import silent
from motet.harmonizer import CovariateType, Params
from motet.images.open import open_images
from motet.images.params import ImageParams
from motet.spline import Spline


def requests(params: Params, biology: Sequence[str] = ()) -> dict[str, CovariateRequest]:
    """How the study wants each covariate; the columns of `biology` come behind them."""
    covariates = {name: _request(kind) for name, kind in params.covariates.items()}
    return covariates | {name: CovariateRequest() for name in biology if name not in covariates}


def _request(kind: CovariateType) -> CovariateRequest:
    if isinstance(kind, Spline):
        return CovariateRequest(kind="continuous", spline=kind)
    return CovariateRequest(levels=kind) if isinstance(kind, tuple) else CovariateRequest(kind=kind)


def open_site(
    folder: Path,
    *,
    site: str,
    params: Params,
    biology: Sequence[str] = (),
    say: Callable[[str], None] = silent,
) -> Table:
    """Read the folder of a site, with the columns of `biology` beside the covariates.

    Raises
    ------
    DataError
        Names the file, column, person or feature that does not fit.
    """
    return open_as(folder, site=site, params=params, covariates=requests(params, biology), say=say)


def open_as(
    folder: Path,
    *,
    site: str,
    params: Params,
    covariates: Mapping[str, CovariateRequest],
    say: Callable[[str], None] = silent,
    workers: int = 1,
    only: Collection[str] = (),
) -> Table:
    """Read measures or images, as the method's parameters want them.

    Images are read by `workers`, and where `only` names people, those of these alone. `say` is told
    of numbers of covariates that are far from everybody else's.
    """
    table: Table
    if isinstance(params, ImageParams):
        table = open_images(
            folder,
            site=site,
            params=params,
            covariates=covariates,
            say=say,
            workers=workers,
            only=only,
        )
    else:
        table = read_site(folder, site=site, covariates=covariates, batch=params.batch)
    for sentence in (*far_values(table), *far_features(table)):
        say(sentence)
    return table
