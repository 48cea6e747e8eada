"""Numbers of scanners and slices, as trainings on slices know them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motet.images.cache import SliceCache
from motet.images.images import Images
from motet.schema import Batch, Schema, by_label

SLICES = 100_000
"""Numbers of slices of one image; later images of the person and scanner come after them."""
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


def parts(cache: SliceCache, images: Images) -> Int:
    """Which slice of its person and scanner every slice of some images is, (n,)."""
    # Samples are made where networks are trained: torch is there.
    from motet.training.samples import numbered

    image = numbered(images.people, images.batch)[cache.row]
    return np.asarray(image * SLICES + cache.plane * (SLICES // 10) + cache.index, dtype=np.intp)
