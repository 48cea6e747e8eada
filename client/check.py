"""``motet site check``: everything that a site needs, looked at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from motet.bids.checks import Place
from motet.bids.covariates import CovariateRequest
from motet.bids.read import IMAGES, read_people, read_site
from motet.client.home import SiteHome
from motet.errors import DataError, listed
from motet.flower.fleet import look
from motet.images.find import Found, Name, find_mask
from motet.images.volume import read_grid
from motet.training.options import TrainedParams
from motet.training.where import check_device


def examine(home: SiteHome) -> Iterator[str]:
    """Say what is well, one sentence each.

    Raises
    ------
    MotetError
        At the first thing that is not.
    """
    settings = home.settings
    yield f"Site {settings.name}: settings and key can be read."
    yield of_data(settings.data, settings.name)
    if settings.device == "cuda":
        check_device(TrainedParams(), settings.device)
        yield "CUDA is there: networks are trained on it."
    look(settings.coordinator, home.certificate.read_bytes())
    yield f"The coordinator at {settings.coordinator} is there; certificate and clock agree."


def of_data(data: Path, site: str) -> str:
    """What there is: measures, or images of which contrasts."""
    requests: dict[str, CovariateRequest] = {}
    here = read_people(data, site=site, covariates=requests)
    images = list(_images(data))
    if images and not any((data / f"features.{form}").exists() for form in ("tsv", "npy")):
        problems = [words for image in images if (words := _problem(image, site))]
        contrasts = Counter(image.name.suffix for image in images)
        said = ", ".join(f"{count} {suffix}" for suffix, count in sorted(contrasts.items()))
        masked = sum(find_mask(data, image) is not None for image in images)
        batches = here.batches_of(here.people)
        return (
            f"Data: {len(here.people)} people, images: {said}, {len(batches)} batch(es). "
            f"{masked} of {len(images)} have a brain mask. "
            + (
                f"{len(problems)} cannot be used: {listed(problems, at_most=3)}."
                if problems
                else "Every header can be read; voxels are looked at when a study opens them."
            )
        )
    table = read_site(data, site=site, covariates=requests, batch="scanner")
    return (
        f"Data: {len(set(table.people.tolist()))} people, {len(table.features)} features, "
        f"{len(table.batches)} batch(es)."
    )


def _problem(image: Found, site: str) -> str:
    """What keeps a study from using an image; empty where its header is well."""
    try:
        read_grid(image.file, place=Place(site=site, file=image.file))
    except DataError as error:
        return f"{image.file.name} ({error.what.rstrip('.')})"
    return ""


def _images(data: Path) -> Iterator[Found]:
    """Every structural image of everybody, of whichever contrast."""
    for pattern in IMAGES:
        for file in sorted(data.glob(pattern)):
            name = Name.of(file)
            structural = file.parent.name == "anat"
            if structural and name is not None and name.suffix not in ("mask", "dseg"):
                person, session = (name.entities.get(key, "") for key in ("sub", "ses"))
                yield Found(person=f"sub-{person}", session=session, file=file, name=name)
