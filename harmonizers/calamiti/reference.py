"""The style of an image that somebody has at hand: a target that nobody has to publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motet.bids.checks import Place
from motet.errors import ModelError, listed
from motet.harmonizers._images.at_hand import read_at_hand
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import WHITE
from motet.harmonizers.calamiti.slices import best_plane, level, most_brain, seen_of
from motet.harmonizers.calamiti.styles import Style, codes
from motet.images.cache import brain_box, check_fits
from motet.images.images import Image

if TYPE_CHECKING:
    from motet.harmonizers.calamiti.networks import Calamiti


def style_of(to: str, params: CalamitiParams, networks: Calamiti) -> Style:
    """The style of reference images.

    Parameters
    ----------
    to : str
        A file for each contrast, with commas: ``sub-ref_T1w.nii.gz,sub-ref_T2w.nii.gz``. Masks lie
        beside them.
    params : CalamitiParams
    networks : Calamiti

    Raises
    ------
    ModelError
        When there are too few, or one has no BIDS name, no mask, or another contrast.
    DataError
        When one cannot be read, or its brain does not fit.
    """
    files = [Path(word.strip()) for word in to.split(",")]
    if len(files) != len(params.contrasts):
        raise ModelError(
            f"The model harmonizes {listed(params.contrasts)}, and {len(files)} reference "
            f"{'image is' if len(files) == 1 else 'images are'} named.",
            do="Name a file for each, in this order, with commas.",
        )
    theta, white = [], []
    for file, contrast in zip(files, params.contrasts, strict=True):
        image = read_at_hand(file, contrast)
        white.append(level(image, contrast) * WHITE)
        x = _middle(image, contrast, params, Place(file=file))
        theta.append(codes(networks, x[:, None], threads=params.train.threads)[0])
    return Style(theta=np.stack(theta), white=np.array(white))


def _middle(
    image: Image, contrast: str, params: CalamitiParams, place: Place
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Slices that tell of its contrast, (n, size, size)."""
    plane = best_plane(params)
    check_fits(image, planes=(plane,), size=params.pixels, place=place, person="")
    return most_brain(seen_of(image, contrast), image.mask[brain_box(image)], params)
