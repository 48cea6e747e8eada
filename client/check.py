"""``motet site check``: everything that a site needs, looked at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from motet.bids.covariates import CovariateRequest
from motet.bids.read import IMAGES, read_people, read_site
from motet.client.home import SiteHome
from motet.flower.fleet import look
from motet.images.find import Name


def examine(home: SiteHome) -> Iterator[str]:
    """Say what is well, one sentence each.

    Raises
    ------
    MotetError
        At the first thing that is not.
    """
    settings = home.settings
    yield f"Site {settings.name}: settings and key can be read."
    yield _of_data(settings.data, settings.name)
    look(settings.coordinator, home.certificate.read_bytes())
    yield f"The coordinator at {settings.coordinator} is there; certificate and clock agree."


def _of_data(data: Path, site: str) -> str:
    """What there is: measures, or images of which contrasts."""
    requests: dict[str, CovariateRequest] = {}
    here = read_people(data, site=site, covariates=requests)
    images = Counter(
        name.suffix
        for pattern in IMAGES
        for file in data.glob(pattern)
        if (name := Name.of(file)) is not None and name.suffix != "mask"
    )
    if images and not any((data / f"features.{form}").exists() for form in ("tsv", "npy")):
        said = ", ".join(f"{count} {suffix}" for suffix, count in sorted(images.items()))
        batches = len(set(here.batches))
        return f"Data: {len(here.people)} people, images: {said}, {batches} batch(es)."
    table = read_site(data, site=site, covariates=requests, batch="scanner")
    return (
        f"Data: {len(set(table.people.tolist()))} people, {len(table.features)} features, "
        f"{len(table.batches)} batch(es)."
    )
