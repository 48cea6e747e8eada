"""The judgement of images: looked at one at a time, version by version, as they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from motet.bids.checks import Place
from motet.config import Evaluation
from motet.evaluation.battery.probes import prepare, site_probes
from motet.evaluation.battery.sample import Float, Sample
from motet.evaluation.battery.site_probes import Probe, predictions, site_metrics
from motet.evaluation.battery.splits import Splits
from motet.evaluation.images.compared import (
    FIGURES,
    OF_TRAVELERS,
    Kept,
    compare,
    data_range,
    fidelity_metrics,
    line,
    pairs_of,
    some_of,
)
from motet.evaluation.images.look import Look, look, sampled
from motet.evaluation.images.tissues import distance_metrics, kept_tissues
from motet.evaluation.images.true_images import TrueImages
from motet.evaluation.result import Metric
from motet.images.images import Image, Images
from motet.images.volume import Grid, read_grid

Rows = slice | NDArray[np.intp]
See = Callable[[Rows, NDArray[Any]], None]
"""Takes images of some rows of a site, (r, x, y, z); of pairs, (r, 2, x, y, z)."""


@dataclass(frozen=True, eq=False)
class _Version:
    kept: Kept
    looks: dict[int, Look] = field(default_factory=dict)


class ImageBattery:
    """Judges the images of one contrast of a simulated study; give it every version, raw first.

    Parameters
    ----------
    tables : mapping of str to Images
    sample : Sample
        Everybody; rows as :func:`motet.evaluation.battery.sample.gather` orders them.
    splits : Splits
        Who trains a probe, who is read, who is judged.
    settings : Evaluation
    seed : int
    truth : TrueImages, optional
    """

    def __init__(
        self,
        tables: Mapping[str, Images],
        sample: Sample,
        splits: Splits,
        *,
        settings: Evaluation,
        seed: int,
        truth: TrueImages | None = None,
    ) -> None:
        self._tables, self._sample, self._splits = tables, sample, splits
        self._settings, self._seed, self._truth = settings, seed, truth
        self._row = sample.unstack(np.arange(len(sample)))
        self._place = {
            int(row): (site, own)
            for site, rows in self._row.items()
            for own, row in enumerate(rows)
        }
        self._judged = sorted({int(row) for rows in splits.judged for row in rows})
        self._to_truth = [] if truth is None else some_of(self._judged, sample, seed=seed)
        self._pairs = pairs_of(sample, self._on_one_grid, seed=seed)
        compared = {*self._to_truth, *(row for pair in self._pairs for row in pair)}
        self._sizes = {row: int(self._image(row).mask.sum()) for row in sorted(compared)}
        self._versions: dict[str, _Version] = {}

    def raw(self) -> None:
        """Look at everybody's image as measured."""
        for site, table in self._tables.items():
            images = (table.image(i).data[None] for i in range(len(table)))
            self.add("raw", site, ((slice(i, i + 1), one) for i, one in enumerate(images)))

    def add(self, version: str, site: str, blocks: Iterable[tuple[Rows, NDArray[Any]]]) -> None:
        """Look at images of a site, block by block."""
        see = self.see(version, site)
        for rows, block in blocks:
            see(rows, block)

    def see(self, version: str, site: str) -> See:
        """Take a version's images of a site as they are made; rows that never come are raw."""
        table, own = self._tables[site], self._version(version)

        def see(rows: Rows, block: NDArray[Any]) -> None:
            for i, data in zip(np.arange(len(table))[rows].tolist(), block, strict=True):
                self._look(own, int(self._row[site][i]), table.image(i), data)

        return see

    def forget(self, version: str, site: str) -> None:
        """What was seen of a site does not count, since the rest failed: it is raw."""
        raw, own = self._versions["raw"], self._version(version)
        for row in self._row[site].tolist():
            own.looks[row] = raw.looks[row]
            if row in own.kept:
                own.kept[row] = raw.kept[row]

    def judged(self) -> tuple[list[Metric], list[str]]:
        """All metrics that these images allow, and what has to be said of them."""
        with threadpool_limits(1):
            metrics = self._site_probes()
            rows = np.array(self._judged, dtype=np.intp)
            if len(rows):
                looks = {
                    name: [version.looks[row] for row in self._judged]
                    for name, version in self._versions.items()
                }
                person = self._sample.person[rows]
                metrics += distance_metrics(
                    looks,
                    self._sample.batch[rows],
                    person,
                    permutations=self._settings.permutations,
                    seed=self._seed,
                )
                metrics += kept_tissues(looks, person, seed=self._seed)
            metrics += self._truths() + self._travelers()
        notes = []
        if self._pairs:
            whose = "whom the fit has not seen" if self._unseen else "some of whom the fit has seen"
            notes.append(f"{len(self._pairs)} pairs of scans of travelers {whose} are compared.")
        if len(self._judged) > len(self._to_truth) > 0:
            notes.append(
                f"{len(self._to_truth)} of the {len(self._judged)} images judged are compared with "
                "their truth."
            )
        return metrics, notes

    def _version(self, name: str) -> _Version:
        if name not in self._versions:
            self._versions[name] = _Version(Kept(self._sizes))
            if name != "raw":
                for site in self._tables:
                    self.forget(name, site)
        return self._versions[name]

    def _look(self, own: _Version, row: int, image: Image, data: NDArray[Any]) -> None:
        own.looks[row] = look(image, data, contrast=self._contrast)
        if row in own.kept:
            own.kept[row] = data[image.mask]

    @property
    def _contrast(self) -> str:
        return next(iter(self._tables.values())).contrast

    def _image(self, row: int) -> Image:
        site, own = self._place[row]
        return self._tables[site].image(own)

    @property
    def _unseen(self) -> bool:
        """Whether the travelers who are compared took part in the fit nowhere."""
        whom = self._sample.person[[one for one, _ in self._pairs]]
        return not np.isin(whom, self._sample.person[self._sample.fit]).any()

    def _true(self, row: int) -> NDArray[Any]:
        assert self._truth is not None
        site, own = self._place[row]
        return self._truth.read(self._tables[site], own)

    def _true_brain(self, row: int) -> Float:
        """Some voxels of the true image's brain."""
        return sampled(self._true(row)[self._image(row).mask].astype(np.float64))

    def _grid(self, row: int) -> Grid:
        site, own = self._place[row]
        scan = self._tables[site].scan(own)
        file = scan.prepared or scan.found.file
        return read_grid(file, place=Place(site=site, file=file)).canonical

    def _on_one_grid(self, one: int, other: int) -> bool:
        return self._grid(one).same_as(self._grid(other))

    def _site_probes(self) -> list[Metric]:
        shared = site_probes(self._seed)
        kinds: tuple[tuple[str, Probe, Callable[[Look], Float]], ...] = (
            (
                "slices",
                ("linear SVM on slices", shared["linear_svm"][1]),
                lambda one: one.slices,
            ),
            (
                "distributions",
                ("random forest on intensity distributions", shared["random_forest"][1]),
                lambda one: one.distribution,
            ),
        )
        metrics = []
        for name, probe, seen_by in kinds:
            read = {}
            for version, own in self._versions.items():
                X = np.stack([seen_by(own.looks[row]) for row in range(len(self._sample))])
                prepared = [[prepare(X, part) for part in parts] for parts in self._splits.rounds]
                read[version] = predictions(prepared, self._sample, self._splits, {name: probe})
            if self._sample.W.shape[1]:
                W = self._sample.W
                prepared = [[prepare(W, part) for part in parts] for parts in self._splits.rounds]
                read["demographics"] = predictions(
                    prepared, self._sample, self._splits, {name: probe}
                )
            metrics += site_metrics(
                read,
                self._sample,
                self._splits,
                {name: probe},
                permutations=self._settings.permutations,
                seed=self._seed,
            )
        return metrics

    def _truths(self) -> list[Metric]:
        if not self._to_truth:
            return []
        seen = np.flatnonzero(self._sample.fit).tolist()
        span = data_range(np.concatenate([self._true_brain(row) for row in self._to_truth]))[1]
        y = np.concatenate([self._true_brain(row) for row in seen])
        found: dict[str, dict[int, Mapping[str, float]]] = {}
        for name, version in self._versions.items():
            x = np.concatenate([version.looks[row].sample for row in seen])
            slope, shift = line(x, y)
            found[name] = {}
            for row in self._to_truth:
                mask = self._image(row).mask
                made = slope * version.kept.volume(row, mask) + shift
                found[name][row] = compare(
                    made, self._true(row), mask, span=span, contrast=self._contrast
                )
        return fidelity_metrics(
            found,
            of="to_truth",
            whose="Truth",
            names=list(FIGURES),
            person=self._sample.person[self._to_truth],
            seed=self._seed,
        )

    def _travelers(self) -> list[Metric]:
        if not self._pairs:
            return []
        found: dict[str, dict[int, Mapping[str, float]]] = {}
        for name, version in self._versions.items():
            rows = sorted({row for pair in self._pairs for row in pair})
            # One scale for all versions, whatever their units: 0 is dark, 1 is bright.
            low, reach = data_range(np.concatenate([version.looks[row].sample for row in rows]))
            found[name] = {}
            for number, (one, other) in enumerate(self._pairs):
                masks = [self._image(row).mask for row in (one, other)]
                both = masks[0] & masks[1]
                if not both.any():
                    continue
                a, b = (
                    (version.kept.volume(row, mask) - low) / reach
                    for row, mask in zip((one, other), masks, strict=True)
                )
                found[name][number] = compare(a, b, both, span=1.0, contrast=self._contrast)
        return fidelity_metrics(
            found,
            of="travelers",
            whose="Held-out travelers' scans" if self._unseen else "Travelers' scans",
            names=OF_TRAVELERS,
            person=self._sample.person[[self._pairs[k][0] for k in next(iter(found.values()))]],
            seed=self._seed,
        )
