"""An image that somebody has at hand: a target that nobody has to publish."""

from __future__ import annotations

from pathlib import Path

from motet.errors import ModelError
from motet.images.find import Found, Name, find_mask
from motet.images.images import Image, Scan, read_image

ENDINGS = (".nii", ".nii.gz")


def are_images(to: str) -> bool:
    """Whether a target is named by files."""
    return to.endswith(ENDINGS)


def scan_at_hand(file: Path) -> Scan:
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


def read_at_hand(file: Path) -> Image:
    """Read a reference image and its mask."""
    scan = scan_at_hand(file)
    return read_image(scan, site="", person=scan.found.person)
