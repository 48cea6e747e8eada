"""One site's images: a table of their measures, with the images themselves behind the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.bids.table import Table
from motet.errors import nearest
from motet.images.find import Found
from motet.images.mask import mask_of
from motet.images.measures import EACH, measures
from motet.images.volume import Volume, read_labels, read_volume
from motet.releases import Arrays

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Where one image of a person lies.

    Attributes
    ----------
    found : Found
        The image as the site has it.
    mask : Path or None
        Its mask; None where the rule of :mod:`motet.images.mask` stands for it.
    prepared, prepared_mask : Path or None
        The image after N4 or resampling, and its mask, where the study asks for that.
    mask_from : Path or None
        The image that the rule is applied to; None: this one. Of a second contrast it is the first,
        since a pair has one mask.
    second : Scan, optional
        The same person's image of the study's second contrast, on the same grid.
    """

    found: Found
    mask: Path | None
    prepared: Path | None = None
    prepared_mask: Path | None = None
    mask_from: Path | None = None
    second: Scan | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """An image with its brain.

    Attributes
    ----------
    volume : Volume
        Canonical axes; ``volume.data`` (x, y, z) float32 or float64.
    mask : (x, y, z) bool
    """

    volume: Volume
    mask: NDArray[np.bool_]

    @property
    def data(self) -> NDArray[Any]:
        """Intensities, (x, y, z)."""
        return self.volume.data

    @property
    def brain(self) -> Float:
        """Intensities within the mask, (m,) float64, in the order of the axes."""
        return self.data[self.mask].astype(np.float64, copy=False)

    def with_brain(self, values: NDArray[Any]) -> Float:
        """The image with other intensities within the mask, (x, y, z) float64.

        What is outside stays as it is, to the bit.
        """
        made = self.data.astype(np.float64)
        made[self.mask] = values
        return made


@dataclass(frozen=True, kw_only=True, eq=False)
class Images(Table):
    """Images of the people of one site. As a table, it holds one row of measures an image.

    Of two contrasts a row has the measures of both, the first's and then the second's.

    Attributes
    ----------
    scans : tuple of Scan
        Of every row of ``values``; row i of these people is ``scans[rows[i]]``.
    contrast : str
    second : str
        The second contrast of methods that want two of every person; empty: none.
    preparation : mapping
        What was done to the images before, for their sidecars.
    scratch : object
        Holds what was prepared for as long as anybody needs it.
    read : dict
        What was read once for all phases: see :mod:`motet.images.voxels`.
    common : (m,) int, optional
        Where a method compared voxels: those that everybody has, in the flattened grid.
    home : Path, optional
        The folder with the masks of the template; default: that of the images.
    """

    scans: tuple[Scan, ...]
    contrast: str
    second: str = ""
    preparation: Mapping[str, object] = field(default_factory=dict)
    scratch: object = None
    read: dict[Any, Any] = field(default_factory=dict)
    common: NDArray[np.integer[Any]] | None = None
    home: Path | None = None

    def __getstate__(self) -> dict[str, Any]:
        # In another process what was prepared is its holder's still; what was read is read again.
        return {**super().__getstate__(), "scratch": None, "read": {}}

    @property
    def resolution(self) -> str:
        """Label of the grid where images were resampled, ``2mm``; empty where it is their own."""
        resampled = self.preparation.get("Resampled")
        if not isinstance(resampled, Mapping):
            return ""
        return f"{float(resampled['Spacing']):g}mm".replace(".", "p")

    def scan(self, row: int) -> Scan:
        """Where the image of a row lies."""
        return self.scans[row if self.rows is None else int(self.rows[row])]

    def image(self, row: int) -> Image:
        """Read the image of a row, and its mask."""
        return read_image(self.scan(row), site=self.site, person=self.who(row))

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The contrast, and the second where there is one."""
        return (self.contrast, self.second) if self.second else (self.contrast,)

    def each_contrast(self) -> tuple[Images, ...]:
        """The images of every contrast with their measures, as where a study has it alone.

        What the site has said of itself (``described``) stays.
        """
        if not self.second:
            return (self,)
        seconds = [scan.second for scan in self.scans if scan.second is not None]
        scans = ([replace(scan, second=None) for scan in self.scans], seconds)
        parts = (slice(None, EACH), slice(EACH, None))
        return tuple(
            replace(
                self,
                scans=tuple(own),
                contrast=contrast,
                second="",
                values=self.values[:, part],
                features=self.features[part],
                units=self.units[part],
                read={},
            )
            for contrast, own, part in zip(self.contrasts, scans, parts, strict=True)
        )

    def pair(self, row: int) -> tuple[Image, ...]:
        """The image of a row and, where there is a second contrast, that; with one mask."""
        first = self.image(row)
        second = self.scan(row).second
        if second is None:
            return (first,)
        file = second.prepared or second.found.file
        volume = read_volume(file, place=Place(site=self.site, file=file))
        return first, Image(volume=volume, mask=first.mask)

    def pairs(self) -> Iterator[tuple[Image, ...]]:
        """Read all of them, one person at a time."""
        return map(self.pair, range(len(self)))

    def each(self) -> Iterator[Image]:
        """Read all images, one at a time."""
        return map(self.image, range(len(self)))

    def measured(self, rows: slice | NDArray[np.intp], block: NDArray[Any]) -> Float:
        """Measures, (r, p), of harmonized images of these rows, (r, x, y, z): as written.

        Of two contrasts, (r, 2, x, y, z), those of both.
        """
        found = []
        for row, own in zip(np.arange(len(self))[rows].tolist(), each_of(block), strict=True):
            made = [
                replace_data(image, data.astype(image.data.dtype, copy=False))
                for image, data in zip(self.pair(row), own, strict=True)
            ]
            found.append(measured(made, self.contrasts))
        return np.stack(found)

    @property
    def root(self) -> Path:
        """The folder with what is the same at every site: masks, weights of a network."""
        return self.home or self.source or Path()

    def named_mask(self, name: str) -> NDArray[np.bool_]:
        """A mask of the template's space that the site has: ``masks/<name>.nii.gz``.

        Returns
        -------
        (x, y, z) bool
            Canonical axes, on the common grid.

        Raises
        ------
        DataError
            When there is none of this name, or it is on another grid.
        """
        file = self.root / "masks" / f"{name}.nii.gz"
        place = Place(site=self.site, file=file)
        if not file.is_file():
            there = sorted(f.name.removesuffix(".nii.gz") for f in file.parent.glob("*.nii.gz"))
            raise place.error(
                f"There is no mask '{name}'.",
                do=nearest(name, there) or "Put it there, on the template's grid, at every site.",
            )
        like = self.image(0).volume.grid.canonical
        return np.asarray(read_labels(file, like=like, place=place) != 0)

    def joined(self, parts: Sequence[Table]) -> dict[str, Any]:
        """Values and images of several sites, one after another."""
        scans = [p.scan(row) for p in parts if isinstance(p, Images) for row in range(len(p))]
        # Masks of the template are the same at every site.
        home = self.home or self.source
        return {**super().joined(parts), "scans": tuple(scans), "read": {}, "home": home}


def compared_in(table: Table, shared: Arrays) -> Table:
    """The data of a site as they are written: images know the voxels a model compared."""
    if isinstance(table, Images) and "voxels" in shared:
        return replace(table, common=np.asarray(shared["voxels"]))
    return table


def replace_data(image: Image, data: NDArray[Any]) -> Image:
    """The same image with other intensities."""
    return replace(image, volume=replace(image.volume, data=data))


def each_of(block: NDArray[Any]) -> NDArray[Any]:
    """Images of some rows, (r, x, y, z) or (r, 2, x, y, z), as (r, contrasts, x, y, z)."""
    return block if block.ndim == 5 else block[:, None]


def read_image(scan: Scan, *, site: str, person: str) -> Image:
    """Read an image and its mask; what was prepared stands for what the site has."""
    file = scan.prepared or scan.found.file
    place = Place(site=site, file=file)
    volume = masked = read_volume(file, place=place)
    own = scan.prepared_mask if scan.prepared else scan.mask
    if own is None and scan.mask_from is not None:
        masked = read_volume(scan.mask_from, place=Place(site=site, file=scan.mask_from))
    return Image(volume=volume, mask=mask_of(masked, own, place=place).inside)


def measured(pair: Sequence[Image], contrasts: Sequence[str]) -> Float:
    """The measures of a person's images, one contrast's after another's, (p,)."""
    return np.concatenate(
        [
            measures(
                image.brain, contrast=contrast, voxel=float(np.prod(image.volume.grid.spacing))
            )
            for image, contrast in zip(pair, contrasts, strict=True)
        ]
    )
