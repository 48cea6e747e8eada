"""Images beside others of the same person, voxel by voxel: a truth, a scan at another site."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.battery.draws import middle, resamples
from motet.evaluation.battery.sample import Float, Int, Sample
from motet.evaluation.result import Better, Metric, Reading
from motet.images.fidelity import Fidelity, fidelity
from motet.room import room
from motet.site import draw

AT_MOST = 24
"""Images, or pairs of scans, that are compared voxel by voxel; who, is drawn by person."""

ENDS = (0.001, 0.999)
"""Quantiles of intensities between which a data range lies."""

Pair = tuple[int, int]


class Kept:
    """The brains of one version that are compared, in a file without a name where they are many.

    Parameters
    ----------
    sizes : mapping of int to int
        Row of the sample -> voxels within its mask.
    """

    def __init__(self, sizes: Mapping[int, int]) -> None:
        ends = np.cumsum(list(sizes.values()), dtype=np.intp)
        self._place = {
            row: slice(int(end) - size, int(end))
            for (row, size), end in zip(sizes.items(), ends, strict=True)
        }
        self._brains = room((sum(sizes.values()),), np.dtype(np.float32))

    def __contains__(self, row: int) -> bool:
        return row in self._place

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        """The voxels within the mask, (m,)."""
        return self._brains[self._place[row]]

    def __setitem__(self, row: int, brain: NDArray[Any]) -> None:
        self._brains[self._place[row]] = brain

    def volume(self, row: int, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The image, 0 outside of the brain, (x, y, z)."""
        made = np.zeros(mask.shape, dtype=np.float32)
        made[mask] = self[row]
        return made


def some_of(rows: Iterable[int], sample: Sample, *, seed: int) -> list[int]:
    """At most ``AT_MOST`` rows: from every batch as many, whoever's the draw says."""
    ranked = []
    taken: Counter[int] = Counter()
    for drawn, row in sorted((_drawn(sample, row, seed), row) for row in rows):
        batch = int(sample.batch[row])
        ranked.append((taken[batch], drawn, row))
        taken[batch] += 1
    return sorted(row for _, _, row in sorted(ranked)[:AT_MOST])


def pairs_of(sample: Sample, same_grid: Callable[[int, int], bool], *, seed: int) -> list[Pair]:
    """Rows of one person in two batches, on one grid.

    Of travelers whom the fit saw nowhere, where there are two or more; else of all. At most
    ``AT_MOST``, in turns of a pair for every traveler; none where there is one traveler, of whom
    alone a metric would then tell.
    """
    scans: dict[int, dict[int, int]] = defaultdict(dict)
    for row, (person, batch) in enumerate(zip(sample.person, sample.batch, strict=True)):
        scans[int(person)].setdefault(int(batch), row)
    own: dict[int, list[Pair]] = {}
    for person, at in scans.items():
        rows = [at[batch] for batch in sorted(at)]
        found = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :] if same_grid(a, b)]
        if found:
            own[person] = found
    seen = set(sample.person[sample.fit].tolist())
    unseen = {person: pairs for person, pairs in own.items() if person not in seen}
    of = unseen if len(unseen) > 1 else own
    if len(of) < 2:
        return []
    turns = [
        (turn, _drawn(sample, pairs[0][0], seed), pair)
        for pairs in of.values()
        for turn, pair in enumerate(pairs)
    ]
    return sorted(pair for _, _, pair in sorted(turns)[:AT_MOST])


def _drawn(sample: Sample, row: int, seed: int) -> float:
    return float(draw(seed, "compared images", str(sample.names[row])).random())


def data_range(values: Float) -> tuple[float, float]:
    """The smallest intensity, without the few outermost, and how far the others reach from it."""
    low, high = np.quantile(values, ENDS)
    return float(low), float(high - low) or 1.0


def line(x: Float, y: Float) -> tuple[float, float]:
    """Slope and shift that bring a version's units to the truth's: one line for everybody.

    Methods end in units of their own. A line that is the same for all people and sites gives no
    method what it did not do.
    """
    about = x - x.mean()
    spread = float(about @ about)
    slope = float(about @ (y - y.mean())) / spread if spread > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean())


def compare(
    one: NDArray[Any], other: NDArray[Any], mask: NDArray[np.bool_], *, span: float, contrast: str
) -> Mapping[str, float]:
    """The figures of :class:`Fidelity` by name; those that do not apply are absent."""
    found: Fidelity = fidelity(one, other, mask, data_range=span, contrast=contrast)
    figures = {
        "ssim": found.ssim,
        "ssim_in_plane": found.ssim_in_plane,
        "ms_ssim": found.ms_ssim,
        "psnr": found.psnr,
        "mae": found.mae,
        **{f"dice_{tissue}": value for tissue, value in found.dice.items()},
        **{f"wasserstein_{tissue}": value for tissue, value in found.wasserstein.items()},
    }
    return {name: value for name, value in figures.items() if value is not None}


FIGURES: Mapping[str, tuple[str, Better]] = {
    "ssim": ("SSIM, 3-D", "higher"),
    "ssim_in_plane": ("SSIM of axial slices", "higher"),
    "ms_ssim": ("MS-SSIM of axial slices", "higher"),
    "psnr": ("PSNR, dB", "higher"),
    "mae": ("mean absolute error, share of the range", "lower"),
    **{f"dice_{t}": (f"Dice of {t.upper()}", "higher") for t in ("csf", "gm", "wm")},
    **{
        f"wasserstein_{t}": (f"Wasserstein distance of {t.upper()}, share of the range", "lower")
        for t in ("csf", "gm", "wm")
    },
}
OF_TRAVELERS = ("ssim", "ssim_in_plane", "ms_ssim", "psnr", "mae")


def fidelity_metrics(
    found: Mapping[str, Mapping[int, Mapping[str, float]]],
    *,
    of: str,
    whose: str,
    names: Sequence[str],
    person: Int,
    seed: int,
) -> list[Metric]:
    """Means over people, of the mean over a person's images; intervals over people drawn anew.

    Parameters
    ----------
    found : mapping of Version to mapping
        Image -> figures.
    of : str
        End of the metrics' names: ``to_truth``.
    whose : str
        Begins their titles: ``Truth``.
    names : sequence of str
        Of ``FIGURES``.
    person : (images,) int
        In the order of the images.
    """
    times = resamples(person, np.zeros_like(person), seed=seed, purpose=f"interval {of}")
    metrics = []
    for name in names:
        title, better = FIGURES[name]
        readings = {}
        for version, images in found.items():
            values = np.array([figures.get(name, np.nan) for figures in images.values()])
            known = np.isfinite(values)
            _, who, count = np.unique(person[known], return_inverse=True, return_counts=True)
            if not len(count):
                continue
            weight = 1.0 / count[who]
            w = times[:, known] * weight
            again = (w @ values[known]) / w.sum(axis=1)
            readings[version] = Reading(
                value=float(weight @ values[known] / weight.sum()) if len(count) > 1 else None,
                interval=middle(again) if len(count) > 3 else None,
                n=len(count),
            )
        if readings:
            metrics.append(
                Metric(
                    name=f"image_{name}_{of}",
                    title=f"{whose}: {title}",
                    aim="truth",
                    better=better,
                    readings=readings,
                )
            )
    return metrics
