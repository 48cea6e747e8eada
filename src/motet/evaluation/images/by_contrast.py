"""Images of two contrasts are judged one contrast at a time, as where a study has it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from motet.evaluation.images.battery import ImageBattery, Rows, See
from motet.evaluation.images.true_images import TrueImages
from motet.evaluation.result import Metric
from motet.images.images import Images, each_of


class ImageBatteries:
    """An :class:`ImageBattery` a contrast, each fed with its own part of what a method makes.

    Metrics of the second contrast end in its name, ``tissue_dice_T2w``; those of the first are
    called as where it is alone. Where there are two, titles and notes say which.

    Parameters
    ----------
    tables : mapping of str to Images
        Of the same contrasts.
    truth : TrueImages, optional
        A contrast of which it has nothing is judged without.
    battery : callable
        ``(tables, truth) -> ImageBattery``, of one contrast.
    """

    def __init__(
        self,
        tables: Mapping[str, Images],
        truth: TrueImages | None,
        battery: Callable[[Mapping[str, Images], TrueImages | None], ImageBattery],
    ) -> None:
        self._contrasts = next(iter(tables.values())).contrasts
        of_site = {site: table.each_contrast() for site, table in tables.items()}
        self._untrue = [
            contrast
            for contrast in self._contrasts[1:]
            if truth is not None and not truth.has(contrast)
        ]
        self._of = [
            battery(
                {site: parts[k] for site, parts in of_site.items()},
                None if contrast in self._untrue else truth,
            )
            for k, contrast in enumerate(self._contrasts)
        ]

    def raw(self) -> None:
        """Look at everybody's images as measured."""
        for own in self._of:
            own.raw()

    def add(self, version: str, site: str, blocks: Iterable[tuple[Rows, NDArray[Any]]]) -> None:
        """Look at images of a site, block by block."""
        see = self.see(version, site)
        for rows, block in blocks:
            see(rows, block)

    def see(self, version: str, site: str) -> See:
        """Take a version's images of a site as they are made; rows that never come are raw."""
        takes = [own.see(version, site) for own in self._of]

        def see(rows: Rows, block: NDArray[Any]) -> None:
            images = each_of(block)
            for k, take in enumerate(takes):
                take(rows, images[:, k])

        return see

    def forget(self, version: str, site: str) -> None:
        """What was seen of a site does not count, since the rest failed: it is raw."""
        for own in self._of:
            own.forget(version, site)

    def judged(self) -> tuple[list[Metric], list[str]]:
        """All metrics that these images allow, and what has to be said of them."""
        metrics: list[Metric] = []
        notes: list[str] = []
        for k, (contrast, own) in enumerate(zip(self._contrasts, self._of, strict=True)):
            found, said = own.judged()
            if len(self._of) > 1:
                end = f"_{contrast}" if k else ""
                found = [
                    replace(m, name=f"{m.name}{end}", title=f"{m.title} ({contrast})")
                    for m in found
                ]
                said = [f"{contrast}: {note}" for note in said]
            metrics += found
            notes += said
        notes += [
            f"The folder of true images has no {contrast} images: these are not compared with a "
            "truth."
            for contrast in self._untrue
        ]
        return metrics, notes
