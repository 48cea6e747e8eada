"""Images as they would be without a site effect, where a study is made up or has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.bids.table import Table
from motet.errors import StudyFileError
from motet.harmonizer import Params
from motet.images.images import Images
from motet.images.volume import read_grid, read_volume


@dataclass(frozen=True)
class TrueImages:
    """A BIDS folder with the true image of everybody, called as at the sites.

    Of two contrasts, those of both or of the first alone.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    def check_study(self, params: Params) -> None:
        """Refuse a study that cannot have this truth, before its images are looked at.

        Raises
        ------
        StudyFileError
        """
        if not self.folder.is_dir():
            raise StudyFileError(
                f"There is no folder of true images '{self.folder}'.", key="evaluation.truth"
            )
        if getattr(params, "spacing", None):
            raise StudyFileError(
                "A truth is on the images' own grid, and params.spacing gives them another.",
                do="Take one of the two out.",
                key="evaluation.truth",
            )

    def check(self, tables: Mapping[str, Table]) -> None:
        """Refuse a folder that lacks somebody, or has images on other grids, before anything runs.

        Raises
        ------
        StudyFileError
            The study's data are no images.
        DataError
            Names the file.
        """
        for table in tables.values():
            if not isinstance(table, Images):
                raise StudyFileError(
                    "A truth is compared with images; this method's data are tables.",
                    do="Take evaluation.truth out.",
                    key="evaluation.truth",
                )
            first, *others = table.each_contrast()
            for own in (first, *(other for other in others if self.has(other.contrast))):
                self._check_grids(own)

    def has(self, contrast: str) -> bool:
        """Whether there is any image of a contrast: a truth may be known of the first alone."""
        return any(True for _ in self.folder.rglob(f"*_{contrast}.nii*"))

    def _check_grids(self, table: Images) -> None:
        for row in range(len(table)):
            place = Place(site=table.site, file=self._file(table, row))
            grid = read_grid(self._file(table, row), place=place)
            scan = table.scan(row)
            own = scan.prepared or scan.found.file
            if not grid.canonical.same_as(
                read_grid(own, place=Place(site=table.site, file=own)).canonical
            ):
                raise place.error(
                    "The true image lies on another grid than the image that is harmonized.",
                    do="Give it on the same grid, or take evaluation.truth out.",
                    person=table.who(row),
                )

    def read(self, table: Images, row: int) -> NDArray[Any]:
        """The true image of a row, (x, y, z), canonical axes."""
        file = self._file(table, row)
        return read_volume(file, place=Place(site=table.site, file=file)).data

    def _file(self, table: Images, row: int) -> Path:
        assert table.source is not None
        return self.folder / table.scan(row).found.file.relative_to(table.source)
