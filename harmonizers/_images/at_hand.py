"""An image that somebody has at hand: a target that nobody has to publish."""

from __future__ import annotations

from pathlib import Path

from motet.errors import ModelError
from motet.images.find import Found, Name, find_mask
from motet.images.images import Image, Scan, read_image

ENDINGS = (".nii", ".nii.gz")
OR_MEAN = "Or leave 'to' out: that is the mean of all."
"""For who names a target that is none, of methods whose default is that mean."""


def are_images(to: str) -> bool:
    """Whether a target is named by files."""
    return to.endswith(ENDINGS)


def _scan_at_hand(file: Path) -> Scan:
    """Where a reference image lies, and its brain mask beside it.

    Raises
    ------
    ModelError
        When it is not there, or has no BIDS name.
    """
    if not file.is_file():
        raise ModelError(
            "There is no such reference image.",
            do="A relative path is seen from where the command runs.",
            file=file,
        )
    name = Name.of(file)
    if name is None:
        raise ModelError(
            "A reference image has a BIDS name, so that its mask is found: sub-ref_T1w.nii.gz and "
            "sub-ref_desc-brain_mask.nii.gz.",
            file=file,
        )
    found = Found(person=name.entities.get("sub", ""), session="", file=file, name=name)
    return Scan(found=found, mask=find_mask(file.parent, found))


def read_at_hand(file: Path, contrast: str) -> Image:
    """Read a reference image and its mask.

    Raises
    ------
    ModelError
        When it is of another contrast, or has no mask: with what is around the brain it would look
        like another scanner's.
    """
    scan = _scan_at_hand(file)
    if scan.found.name.suffix != contrast:
        raise ModelError(
            f"The reference image is a {scan.found.name.suffix}, and a {contrast} is asked for.",
            do="Name the images in the order of the model's contrasts.",
            file=file,
        )
    if scan.mask is None:
        stem = file.name.split(f"_{contrast}")[0]
        raise ModelError(
            "The reference image has no brain mask beside it.",
            do=f"Write it to {stem}_desc-brain_mask.nii.gz in the same folder.",
            file=file,
        )
    return read_image(scan, site="", person=scan.found.person)
