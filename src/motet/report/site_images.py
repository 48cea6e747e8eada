"""Pictures of a site's images before and after: slices, what changed, tissues. They stay there."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from motet.images.derivatives import written
from motet.images.images import Image, Images, replace_data
from motet.images.tissues import order_of, segment
from motet.report.figures.canvas import Margins, drawn
from motet.report.figures.densities import colour, dashes

SHOWN = 4
"""People whose slices are shown."""

PEOPLE = 6
"""People of a batch whose voxels make its histograms."""

PIXELS = 150
"""Of the longer side of a slice."""

VOXELS = 50_000
"""Of a tissue of a person that make its histogram."""

BINS = 96
SMOOTH = 1.5
"""Width of the kernel (sd) over the bins of a histogram: whole numbers leave gaps between them."""

Float = NDArray[np.float64]
RGB = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a site's page shows of its images, of `contrasts`, one after another."""

    contrasts: tuple[str, ...] = ()
    slices: tuple[tuple[str, Markup], ...] = ()
    tissues: tuple[Markup, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Pair:
    person: str
    batch: str
    before: Image
    after: Image


def pictures(raw: Images, folder: Path, method: str) -> Pictures:
    """Slices of some people, and histograms of tissues, before and after; of every contrast.

    Parameters
    ----------
    raw : Images
    folder : Path
        The derivative with the harmonized images.
    method : str
    """
    several = len(raw.contrasts) > 1
    each = [
        _of_contrast(own, folder, method, said=f" ({own.contrast})" if several else "")
        for own in raw.each_contrast()
    ]
    return Pictures(
        contrasts=raw.contrasts,
        slices=tuple(picture for own in each for picture in own.slices),
        tissues=tuple(figure for own in each for figure in own.tissues),
    )


def _of_contrast(raw: Images, folder: Path, method: str, *, said: str) -> Pictures:
    """Pictures of one contrast; `said` tells it from another, and is empty where there is none."""
    by_batch = {
        batch: np.flatnonzero(raw.batch == batch)[:PEOPLE].tolist() for batch in raw.batches
    }
    turns = [rows[i] for i in range(SHOWN) for rows in by_batch.values() if i < len(rows)]
    chosen: list[_Pair] = []
    tissues = {which: _Tissues(contrast=raw.contrast) for which in ("before", "after")}
    # One person at a time, but for those whose slices are painted: volumes are large.
    for row in (row for rows in by_batch.values() for row in rows):
        pair = _pair(raw, row, folder, method)
        for which, of in tissues.items():
            of.add(pair.batch, pair.before.brain, getattr(pair, which).brain)
        if row in turns[:SHOWN]:
            chosen.append(pair)
    windows = _window([p.before for p in chosen]), _window([p.after for p in chosen])
    slices = tuple(
        (f"{pair.person}, {pair.batch}{said}", png(_mosaic(pair, *windows), _alt(pair, said)))
        for pair in chosen
    )
    end = f"-{raw.contrast}" if said else ""
    figures = tuple(
        _histograms(of, raw.batches, which, said=said, name=f"{raw.site}/tissues-{which}{end}")
        for which, of in tissues.items()
    )
    return Pictures(slices=slices, tissues=figures)


@dataclass(kw_only=True)
class _Tissues:
    """Some intensities of every batch's tissues."""

    contrast: str
    values: dict[tuple[str, int], list[Float]] = field(default_factory=dict)

    def add(self, batch: str, measured: Float, brain: Float) -> None:
        """Add a person, whose tissues are those of the image as measured."""
        classes = segment(measured)
        for k in range(3):
            own = brain[classes == k]
            some = own[:: max(1, len(own) // VOXELS)]
            self.values.setdefault((batch, k), []).append(some)


def _pair(raw: Images, row: int, folder: Path, method: str) -> _Pair:
    image = raw.image(row)
    after = replace_data(image, written(folder, raw, row, method))
    return _Pair(person=raw.who(row), batch=str(raw.batch[row]), before=image, after=after)


def _window(images: Sequence[Image]) -> tuple[float, float]:
    """One window for all people of a version, so that scanners can be compared by eye."""
    brains = np.concatenate(
        [image.brain[:: max(1, image.brain.size // 20_000)] for image in images]
    )
    low, high = np.quantile(brains, (0.002, 0.998))
    return float(low), float(max(high, np.nextafter(low, np.inf)))


def _mosaic(pair: _Pair, before: tuple[float, float], after: tuple[float, float]) -> RGB:
    """Rows: axial, coronal, sagittal. Columns: before, after, what is more than gain and shift."""
    x, y = pair.before.brain, pair.after.brain
    slope, shift = np.polyfit(x, y, 1)
    spread = float(y.std()) or 1.0
    changed = np.where(
        pair.before.mask, (pair.after.data - (slope * pair.before.data + shift)) / spread, np.nan
    )
    box = _box(pair.before.mask)
    middle = [round((s.start + s.stop - 1) / 2) for s in box]
    columns = []
    for data, paint in (
        (_brain_only(pair.before), lambda part: grey(part, *before)),
        (_brain_only(pair.after), lambda part: grey(part, *after)),
        (changed, _signed),
    ):
        planes = [
            paint(_plane(data, axis, middle[axis], box, pair.before.volume.grid.canonical.spacing))
            for axis in (2, 1, 0)
        ]
        width = max(one.shape[1] for one in planes)
        columns.append(np.vstack([padded(one, width) for one in planes]))
    return np.hstack(columns)


def _brain_only(image: Image) -> Float:
    """The brain; NaN outside, which methods leave in other units."""
    return np.where(image.mask, image.data, np.nan)


def _box(mask: NDArray[np.bool_]) -> list[slice]:
    places = np.argwhere(mask)
    first, last = places.min(axis=0), places.max(axis=0) + 1
    return [
        slice(max(0, int(a) - 2), min(n, int(b) + 2))
        for a, b, n in zip(first, last, mask.shape, strict=True)
    ]


def _plane(
    data: NDArray[Any], axis: int, index: int, box: list[slice], spacing: Sequence[float]
) -> Float:
    """One slice of a volume within a box."""
    across = [k for k in range(3) if k != axis]
    part = np.asarray(np.take(data, index, axis=axis)[box[across[0]], box[across[1]]], dtype=float)
    return plane(part, [spacing[k] for k in across])


def plane(part: Float, edges: Sequence[float]) -> Float:
    """A slice as it is looked at: up is up or front, left is the person's left; square pixels.

    Parameters
    ----------
    part : (a, b) float
        Canonical axes.
    edges : sequence of 2 float
        Of a voxel.
    """
    step = max(min(edges), max(n * e for n, e in zip(part.shape, edges, strict=True)) / PIXELS)
    picks = [
        np.minimum((np.arange(max(1, int(n * e / step))) * step / e).astype(np.intp), n - 1)
        for n, e in zip(part.shape, edges, strict=True)
    ]
    return part[np.ix_(*picks)].T[::-1]


def grey(part: Float, low: float, high: float) -> RGB:
    """Black at `low` and where there is nothing, white at `high`."""
    level = np.clip(np.nan_to_num((part - low) / (high - low)), 0, 1)
    return np.repeat((255 * level).round().astype(np.uint8)[..., None], 3, axis=2)


def _signed(part: Float) -> RGB:
    """Red where brighter, blue where darker, up to half a standard deviation; black outside."""
    outside = np.isnan(part)
    t = np.clip(np.nan_to_num(part) / 0.5, -1, 1)[..., None]
    red, blue, none = np.array([200, 40, 40]), np.array([40, 80, 200]), np.array([235, 235, 235])
    shown = np.where(t > 0, none + t * (red - none), none - t * (blue - none))
    shown[outside] = 0
    return np.asarray(shown.round(), dtype=np.uint8)


def padded(picture: RGB, width: int) -> RGB:
    """A picture in the middle of a width, with a black rim."""
    left = (width - picture.shape[1]) // 2
    room = ((2, 2), (left + 2, width - picture.shape[1] - left + 2), (0, 0))
    return np.pad(picture, room)


def _alt(pair: _Pair, said: str) -> str:
    return f"Slices of {pair.person}{said}: as measured, harmonized, and the difference."


def png(pixels: RGB, alt: str) -> Markup:
    """An image element that holds its pixels."""
    from matplotlib.image import imsave

    stream = io.BytesIO()
    nothing: Any = {"Software": None}
    imsave(stream, pixels, format="png", metadata=nothing)
    text = base64.b64encode(stream.getvalue()).decode()
    return Markup('<img class="slices" alt="{}" src="data:image/png;base64,{}">').format(
        escape(alt), text
    )


def _histograms(
    tissues: _Tissues, batches: Sequence[str], which: str, *, said: str, name: str
) -> Markup:
    """Intensities of each tissue, a line a batch."""
    order = order_of(tissues.contrast)
    joined = {key: np.concatenate(parts) for key, parts in tissues.values.items()}
    everything = np.concatenate(list(joined.values()))
    low, high = np.quantile(everything, (0.001, 0.999))
    edges = np.linspace(low, max(high, np.nextafter(low, np.inf)), BINS + 1)
    title = {"before": "As measured", "after": "Harmonized"}[which] + said
    alt = f"{title}: histograms of the intensities of CSF, GM and WM by batch."
    with drawn(name, alt, height=1.9, margins=Margins(left=0.3)) as canvas:
        axes = canvas.figure.add_subplot()
        for (batch, k), brain in joined.items():
            number = list(batches).index(batch)
            height, _ = np.histogram(brain, bins=edges)
            share = gaussian_filter1d(height / max(1, len(brain)), SMOOTH)
            middle = (edges[1:] + edges[:-1]) / 2
            axes.plot(middle, share, color=colour(number), linestyle=dashes(number))
            if number == 0 and share.max() > 0:
                top = int(share.argmax())
                axes.annotate(
                    order[k].upper(), (middle[top], share[top]), fontsize=7.5, ha="center"
                )
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0)
        axes.set_title(title)
        axes.set_xlabel("intensity")
    return canvas.svg
