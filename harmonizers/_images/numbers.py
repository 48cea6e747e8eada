"""Numbers of scanners and slices, as trainings on slices know them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motet.images.cache import SliceCache
from motet.images.images import Images
from motet.schema import Batch, Schema, by_label

SLICES = 100_000
"""Numbers of slices of one image of a person; a person's later images come after them."""
Int = NDArray[np.intp]


def batch_numbers(images: Images, schema: Schema) -> Int:
    """Number of every image's batch in the schema, (rows,)."""
    of = {batch: k for k, batch in enumerate(schema.batches)}
    # A batch that the study does not know has no label: no loss that is used asks for it.
    return np.array(
        [of.get(Batch(images.site, b), 0) for b in images.batch.tolist()], dtype=np.intp
    )


def label_order(schema: Schema) -> Int:
    """Numbers of the schema's batches in the order of labels, (K,)."""
    return np.array(by_label(schema.batches), dtype=np.intp)


def parts(cache: SliceCache, whose: NDArray[np.str_]) -> Int:
    """Which slice of its person every slice is, (n,): their draws differ.

    Parameters
    ----------
    cache : SliceCache
    whose : (rows,) str
        Whose every image is: those of one person are numbered in their order.
    """
    # Samples are made where networks are trained: torch is there.
    from motet.training.samples import numbered

    image = numbered(whose)[cache.row]
    return np.asarray(image * SLICES + cache.plane * (SLICES // 10) + cache.index, dtype=np.intp)
