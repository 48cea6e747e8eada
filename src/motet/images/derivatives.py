"""Writing harmonized images as a BIDS derivative."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.bids.derivatives import DerivativeWriter
from motet.bids.description import SOURCE
from motet.bids.table import Table
from motet.images.images import Image, Images, Scan, each_of, measured, replace_data
from motet.images.mask import RULE
from motet.images.measures import meaning
from motet.images.volume import read_volume, write_volume
from motet.store import write_json

README = """{title}
{line}
Images of the people in participants.tsv, harmonized by Motet {version}, with the mask of each. The
JSON beside an image says from what, with which method, and in which study it was made. Axes, affine
and header are those of the source; intensities are floating. desc-brain: a person's own mask;
desc-common: the voxels that a method on a template compared between people.
features.{form}: measures of the harmonized images, quantiles of the intensities within the mask
(in the units that the method gives), and intensities and volumes (ml) of CSF, GM and WM.
"""

COMMON = "Voxels that lie within the masks of so many people that the method compared them."


OF_DERIVATIVES = {
    *("Sources", "Mask", "CommonMask", "SkullStripped", "Resolution", "Preparation"),
    *("method", "study", "plan", "model"),
}
"""Keys of a sidecar that say how an image was made, not how it was scanned."""


def derivative_writer(
    folder: Path,
    like: Table,
    *,
    description: Mapping[str, Any],
    others: Literal["replaced", "kept"] = "replaced",
) -> DerivativeWriter:
    """The writer for these data: of measures, or of images."""
    kind = ImageWriter if isinstance(like, Images) else DerivativeWriter
    return kind(folder, like, description=description, others=others)


def camel(method: str) -> str:
    """A method's name as the label of a BIDS entity: ``white_stripe`` -> ``whiteStripe``."""
    first, *others = re.split(r"[^0-9a-zA-Z]+", method)
    return first + "".join(word.capitalize() for word in others)


def written_as(like: Images, row: int, method: str) -> Path:
    """Where a harmonized image lies within the derivative, without its ending."""
    if like.source is None:
        raise ValueError("These images lie in no folder.")
    found = like.scan(row).found
    inside = found.file.relative_to(like.source).parent
    return inside / found.name.described(camel(method), resolution=like.resolution)


def scan_metadata(image: Path) -> dict[str, Any]:
    """What the JSON beside an image says of the scan; nothing where there is none to read.

    What it says of an earlier derivative is not the scan's, and a NaN is no JSON.
    """
    name = image.name.removesuffix(".gz").removesuffix(".nii")
    try:
        text = image.with_name(f"{name}.json").read_text(encoding="utf-8")
        document = json.loads(text, parse_constant=lambda word: None)
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {key: value for key, value in document.items() if key not in OF_DERIVATIVES}


def written(folder: Path, like: Images, row: int, method: str) -> NDArray[Any]:
    """Read back a harmonized image of a derivative, (x, y, z), canonical axes.

    Raises
    ------
    DataError
        When it is not there, or damaged.
    """
    file = folder / f"{written_as(like, row, method)}.nii.gz"
    return read_volume(file, place=Place(site=like.site, file=file)).data


class ImageWriter(DerivativeWriter):
    """Write harmonized images, their masks and sidecars, and a table of their measures.

    Every image keeps axes, affine and header of its source; its data type is floating. The
    folder appears when all are written.
    """

    like: Images
    what: ClassVar[str] = "images"
    readme: ClassVar[str] = README

    def write(self, rows: slice | NDArray[np.intp], block: NDArray[Any]) -> None:
        """Write images of some rows.

        Parameters
        ----------
        rows : slice or (r,) int
        block : (r, x, y, z) float
            Canonical axes; of two contrasts (r, 2, x, y, z).
        """
        for row, own in zip(np.arange(len(self.like))[rows].tolist(), each_of(block), strict=True):
            scans = self._scans(row)
            made = [
                self._checked(row, scan, image, data)
                for scan, image, data in zip(scans, self.like.pair(row), own, strict=True)
            ]
            # The first last: its mask is that of both.
            for scan, image in reversed(list(zip(scans, made, strict=True))):
                self._write_image(scan, image, scans)
            super().write(slice(row, row + 1), measured(made, self.like.contrasts)[None])

    def _scans(self, row: int) -> tuple[Scan, ...]:
        """Where the image of a row lies, and its second."""
        scan = self.like.scan(row)
        return (scan, scan.second) if scan.second is not None else (scan,)

    def _checked(self, row: int, scan: Scan, image: Image, data: NDArray[Any]) -> Image:
        """The harmonized image, once it is known to be one."""
        if data.shape != image.data.shape:
            raise ValueError(f"An image has shape {data.shape}, not {image.data.shape}.")
        if not np.isfinite(data).all():
            raise self._place.error(
                "The harmonized image has voxels that are not finite.",
                do="Look at the image and its mask.",
                file=scan.found.file,
                person=self.like.who(row),
            )
        return replace_data(image, data.astype(image.data.dtype, copy=False))

    def _write_image(self, scan: Scan, made: Image, scans: Sequence[Scan]) -> None:
        """Write one image of a person, made of all of the person's scans."""
        source = scan.found.file
        assert self.like.source is not None
        inside = source.relative_to(self.like.source)
        anat = self._partial / inside.parent
        anat.mkdir(parents=True, exist_ok=True)
        method = str(self.description.get("method", "harmonized"))
        name = scan.found.name.described(camel(method), resolution=self.like.resolution)
        mask = self._mask_name(scan, "brain")
        write_volume(anat / f"{name}.nii.gz", made.data, like=made.volume)
        write_volume(anat / f"{mask}.nii.gz", made.mask.astype(np.uint8), like=made.volume)
        sources = [f"bids:{SOURCE}:{inside.as_posix()}"]
        document = {
            **scan_metadata(source),
            **self.description,
            "Sources": [
                *sources,
                *(_uri(s.found.file, self.like.source) for s in scans if s is not scan),
            ],
            "Mask": _here(inside.parent / mask),
            "SkullStripped": not made.data[~made.mask].any(),
        }
        if self.like.common is not None:
            common = self._mask_name(scan, "common")
            self._write_common(anat / common, made, self.like.common, sources)
            document["CommonMask"] = _here(inside.parent / common)
        document |= self._resolution()
        if self.like.preparation:
            document["Preparation"] = dict(self.like.preparation)
        write_json(anat / f"{name}.json", document)
        about: dict[str, Any] = {"Type": "Brain", "Sources": sources, **self._resolution()}
        if scan.mask is None:
            about["Rule"] = RULE
        else:
            about["Sources"] = [_uri(scan.mask, self.like.source)]
        write_json(anat / f"{mask}.json", about)

    def _resolution(self) -> dict[str, str]:
        """What BIDS wants of every file with ``res-`` in its name."""
        size = self.like.resolution
        return {"Resolution": f"Cubes of {size}, by interpolation."} if size else {}

    def _sidecar(self) -> dict[str, Any]:
        """What every measure is."""
        document = super()._sidecar()
        for name in self.like.features:
            if isinstance(document.get(name), dict):
                document[name] = {"Description": meaning(name), **document[name]}
        return document

    def _mask_name(self, scan: Scan, of: str) -> str:
        return scan.found.name.described(of, "mask", resolution=self.like.resolution)

    def _write_common(
        self, name: Path, made: Image, voxels: NDArray[Any], sources: list[str]
    ) -> None:
        """The voxels that the method compared between people, which are not one person's mask."""
        inside = np.zeros(made.data.size, dtype=np.uint8)
        inside[voxels] = 1
        file = name.with_name(f"{name.name}.nii.gz")
        write_volume(file, inside.reshape(made.data.shape), like=made.volume)
        about = {
            "Type": "ROI",
            "Sources": sources,
            "Description": COMMON,
            **self._resolution(),
        }
        write_json(name.with_name(f"{name.name}.json"), about)

    def _sources(self) -> list[str]:
        """What the table of measures was made from."""
        return [
            f"bids:{SOURCE}:{scan.found.file.relative_to(self.like.source).as_posix()}"
            for row in range(len(self.like))
            for scan in self._scans(row)
            if self.like.source is not None
        ]


def _here(name: Path) -> str:
    return f"bids::{name.as_posix()}.nii.gz"


def _uri(file: Path, source: Path) -> str:
    return f"bids:{SOURCE}:{file.relative_to(source).as_posix()}"
