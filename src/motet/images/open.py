"""Opening a site's images: every one is looked at before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.assemble import assembled
from motet.bids.checks import Place
from motet.bids.covariates import CovariateRequest
from motet.bids.read import read_people
from motet.errors import StudyFileError, listed
from motet.images.contrast import check_contrast
from motet.images.find import Found, Pick, find_images, find_mask, find_seconds
from motet.images.images import Image, Images, Scan, measured, read_image
from motet.images.measures import names, units
from motet.images.params import ImageParams, PairedParams, RegisteredParams
from motet.images.prepare import prepared, said
from motet.images.scratch import Scratch
from motet.images.volume import Grid, read_grid

OF_ONE_PERSON = {"", "T1w", "T2w", "anat", "individual", "native", "orig", "scanner", "subject"}
"""Labels of ``space-`` that name no template."""


def open_images(
    folder: Path,
    *,
    site: str,
    params: ImageParams,
    covariates: Mapping[str, CovariateRequest],
    say: Callable[[str], None] = lambda sentence: None,
    workers: int = 1,
    only: Collection[str] = (),
) -> Images:
    """Open the images of the people in participants.tsv, and measure each.

    Parameters
    ----------
    folder : Path
        A BIDS folder: participants.tsv, ``sub-*/[ses-*/]anat/``, masks beside the images or in
        ``derivatives/*/``.
    site : str
    params : ImageParams
    covariates : mapping of str to CovariateRequest
    say : callable
        Told what the site should know.
    workers : int
        Images looked at side by side.
    only : collection of str
        Open the images of these people alone; empty: of everybody.

    Raises
    ------
    DataError
        Names the file that cannot be read, is on another grid, holds NaN or one intensity, whose
        mask is empty, or that does not look like the contrast.
    StudyFileError
        Where voxels are to be compared of images that nobody registered.
    """
    folder = Path(folder)
    here = read_people(folder, site=site, covariates=covariates, batch=params.batch)
    pick = Pick(suffix=params.contrast, entities=params.entities)
    people = [person for person in here.people if not only or person in only]
    found = find_images(folder, people, pick, site=site)
    if isinstance(params, RegisteredParams):
        _refuse_unregistered(found, params)
    second = params.second if isinstance(params, PairedParams) else ""
    contrasts = (params.contrast, second) if second else (params.contrast,)
    seconds: list[Found] = []
    if isinstance(params, PairedParams) and second:
        wanted = Pick(suffix=second, entities=params.second_entities)
        seconds = find_seconds(folder, found, wanted, site=site)
    scratch = Scratch("prepared")
    scans, rows, grids, sizes = [], [], [], []
    with ThreadPoolExecutor(workers) as pool:
        beside: Sequence[Found | None] = seconds or [None] * len(found)
        looked = pool.map(
            lambda one, second: _look(one, second, folder, params, scratch, site), found, beside
        )
        for scan, grid, row, size in looked:
            scans.append(scan)
            grids.append(grid)
            rows.append(row)
            sizes.append(size)
    common: tuple[float, ...] = ()
    if isinstance(params, RegisteredParams):
        _refuse_other_grids(found, grids, site)
        common = described(grids[0].canonical)
    _say_of_masks(scans, say)
    _say_of_others(folder, here.people, say)
    people = [one.person for one in found]
    sessions = [f"ses-{one.session}" if one.session else "" for one in found]
    covariates_of, batch_of = here.rows_of(people, sessions)
    if any(sessions) and not all(sessions):
        without = next(one for one in found if not one.session)
        raise Place(site=site, file=without.file).error(
            "This image is of no session, and others here are.",
            do="Give every person session folders (ses-…), or nobody.",
            person=without.person,
        )
    return assembled(
        Images,
        place=Place(site=site, file=folder),
        people=people,
        sessions=sessions if any(sessions) else None,
        values=np.stack(rows),
        features=names(*contrasts),
        units=units(*contrasts),
        kinds=here.kinds,
        source=folder,
        participants=here.participants,
        travelers=here.travelers,
        grid=common,
        largest=max(sizes),
        scans=tuple(scans),
        contrast=params.contrast,
        second=second,
        preparation=said(params),
        scratch=scratch,
        covariates=covariates_of,
        batch=batch_of,
    )


def _look(
    one: Found,
    second: Found | None,
    folder: Path,
    params: ImageParams,
    scratch: Scratch,
    site: str,
) -> tuple[Scan, Grid, NDArray[np.float64], float]:
    """Prepare, check and measure an image, or a pair; and the largest intensity."""
    mask = find_mask(folder, one)
    scan = prepared(Scan(found=one, mask=mask), params, into=scratch.path, site=site)
    image = read_image(scan, site=site, person=one.person)
    params.check(image, place=Place(site=site, file=one.file), person=one.person)
    pair, contrasts = [image], [params.contrast]
    if second is not None:
        beside = prepared(Scan(found=second, mask=mask), params, into=scratch.path, site=site)
        # A pair has one mask: where there is none, a threshold of the first image.
        beside = replace(beside, prepared_mask=scan.prepared_mask, mask_from=one.file)
        scan = replace(scan, second=beside)
        pair.append(_second(image, beside, params, site))
        contrasts.append(second.name.suffix)
    if scan.mask is not None and not params.unusual_contrast:
        check_contrast(image, params.contrast, place=Place(site=site, file=one.file))
    # Bounds of declared sums are those of all intensities that a method sees.
    size = max(float(np.abs(image.data).max()) for image in pair)
    return scan, image.volume.grid, measured(pair, contrasts), size


def _second(first: Image, scan: Scan, params: ImageParams, site: str) -> Image:
    """Read a second contrast; refuse one that lies elsewhere, or is none."""
    file = scan.prepared or scan.found.file
    own, its = first.volume.grid, read_grid(file, place=Place(site=site, file=file))
    place = Place(site=site, file=scan.found.file)
    if not its.canonical.same_as(own.canonical):
        raise place.error(
            f"This image lies on another grid ({its.canonical}) than the first contrast's "
            f"({own.canonical}).",
            do="Register it to the first contrast and resample it (ANTs, FSL, SPM): the same voxel "
            "has to be the same place.",
            person=scan.found.person,
        )
    image = read_image(scan, site=site, person=scan.found.person)
    if scan.mask is not None and not params.unusual_contrast:
        check_contrast(image, scan.found.name.suffix, place=place)
    return image


def described(grid: Grid) -> tuple[float, ...]:
    """A grid as sites compare it: shape, then the affine's three rows to 1e-4 mm."""
    # Adding 0.0 turns -0.0, which prints and hashes otherwise, into 0.0.
    rows = (np.round(grid.affine[:3], 4) + 0.0).ravel()
    return (*map(float, grid.shape), *rows.tolist())


def _refuse_unregistered(found: Sequence[Found], params: RegisteredParams) -> None:
    spaces = {one.name.entities.get("space", "") for one in found}
    if params.registered or (len(spaces) == 1 and not spaces & OF_ONE_PERSON):
        return
    raise StudyFileError(
        "This method compares the same voxel of different people, so the images have to be "
        f"registered to one template; these {params.contrast} images are in a space of their own "
        f"({found[0].file.name}).",
        do="Register them (fMRIPrep, ANTs, FSL) and name the space, e.g. entities: {space: "
        "MNI152NLin2009cAsym}; or, where they are registered under other names, say registered: "
        "true.",
        key="params.entities",
    )


def _refuse_other_grids(found: Sequence[Found], grids: Sequence[Grid], site: str) -> None:
    first = grids[0].canonical
    for one, grid in zip(found, grids, strict=True):
        if not grid.canonical.same_as(first):
            raise Place(site=site, file=one.file).error(
                f"The image lies on another grid ({grid.canonical}) than "
                f"{found[0].file.name} ({first}).",
                do="Resample all images to one template.",
                person=one.person,
            )


def _say_of_others(folder: Path, people: Sequence[str], say: Callable[[str], Any]) -> None:
    """Say who has images and no row in participants.tsv."""
    known = {f"sub-{person.removeprefix('sub-')}" for person in people}
    others = sorted(p.name for p in folder.glob("sub-*") if p.is_dir() and p.name not in known)
    if others:
        say(f"{listed(others)}: not in participants.tsv, so left out.")


def _say_of_masks(scans: Sequence[Scan], say: Callable[[str], Any]) -> None:
    without = [scan.found.person for scan in scans if scan.mask is None]
    if without:
        verb = "has" if len(without) == 1 else "have"
        say(
            f"{listed(without)} {verb} no brain mask: a threshold at the mean intensity stands "
            "for it, which finds the head where the skull was not taken off."
        )
