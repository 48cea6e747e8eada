"""Slices of one person as every target would have them, for the site's own page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.apply import harmonized
from motet.errors import ModelError
from motet.harmonizer import Harmonizer, Params, SiteModel
from motet.images.cache import brain_box
from motet.images.images import Image, Images
from motet.releases import Arrays
from motet.report.target_file import FILE, MEASURED, SPACING, member
from motet.schema import Schema
from motet.store import OWNER, write_arrays

MOST = 6
"""Targets that are shown, the study's own first."""
MEAN = "mean of all"


def write_targets(
    folder: Path,
    table: Table,
    *,
    method: Harmonizer,
    params: Params,
    schema: Schema,
    shared: Arrays,
    model: SiteModel,
) -> None:
    """Write the middle axial slice of a site's first person, brought to every target.

    Of methods whose finished model can be brought to another target; of others nothing. The file
    shows a person: it is readable by its owner only, and stays.

    Parameters
    ----------
    folder : Path
        The site's own.
    """
    if not params.retargets or not isinstance(table, Images) or not len(table):
        return
    first = np.zeros(len(table), dtype=bool)
    first[0] = True
    person = table.where(first)
    assert isinstance(person, Images)
    pair = person.pair(0)
    found: dict[str, NDArray[Any]] = {
        member(0, MEASURED): _slices(pair, [image.data for image in pair]),
        SPACING: np.asarray(pair[0].volume.grid.canonical.spacing[:2], dtype=np.float64),
    }
    for k, to in enumerate(_targets(params, schema)):
        blocks = harmonized(
            person,
            method=method,
            params=params.model_copy(update={"to": to}),
            schema=schema,
            shared=shared,
            model=model,
        )
        try:
            ((_, block),) = blocks
        except ModelError:  # of a scanner that nobody in the fit was scanned on
            continue
        made = block[0] if block.ndim == 5 else block
        found[member(k + 1, to or MEAN)] = _slices(pair, list(made))
    write_arrays(folder / FILE, found, readable_by=OWNER)


def _targets(params: Params, schema: Schema) -> list[str | None]:
    """The study's own, others, and the mean of all (None): :data:`MOST` at most."""
    own = getattr(params, "to", None)
    others = getattr(params, "targets", None)
    if others is None:  # a method of which every batch is a target
        others = [str(b) for b in schema.batches if own not in (str(b), b.name, b.site)]
    named = list(dict.fromkeys([own, *others]))[: MOST - 1]
    return list(dict.fromkeys([*named, None]))


def _slices(pair: tuple[Image, ...], volumes: list[NDArray[Any]]) -> NDArray[np.float32]:
    """The middle of the brain of every contrast, (contrasts, x, y); NaN outside of it."""
    box = brain_box(pair[0])
    middle = (box[2].start + box[2].stop - 1) // 2
    inside = pair[0].mask[:, :, middle][box[:2]]
    found = [np.where(inside, v[:, :, middle][box[:2]], np.nan) for v in volumes]
    return np.stack(found).astype(np.float32)
