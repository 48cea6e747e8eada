"""``motet site check``: everything that a site needs, looked at once."""

from __future__ import annotations

from collections.abc import Iterator

from motet.bids.covariates import CovariateRequest
from motet.bids.read import read_site
from motet.client.home import SiteHome
from motet.flower.fleet import look


def examine(home: SiteHome) -> Iterator[str]:
    """Say what is well, one sentence each.

    Raises
    ------
    MotetError
        At the first thing that is not.
    """
    settings = home.settings
    yield f"Site {settings.name}: settings and key can be read."
    requests: dict[str, CovariateRequest] = {}
    table = read_site(settings.data, site=settings.name, covariates=requests, batch="scanner")
    yield (
        f"Data: {len(set(table.people.tolist()))} people, {len(table.features)} features, "
        f"{len(table.batches)} batch(es)."
    )
    look(settings.coordinator, home.certificate.read_bytes())
    yield f"The coordinator at {settings.coordinator} is there; certificate and clock agree."
