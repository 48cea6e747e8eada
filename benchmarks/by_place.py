"""A curve a scanner and a place: what no network has learned, as a control.

Histogram matching takes one curve for a whole image; shading, and deep grey matter that lies
elsewhere between grey and white at every scanner, are not to be had by one. Here there is a curve
for each of some places within the box around the brain, from all people of a scanner to all people
of the target, and a voxel's value is the mean of what the curves of the places around it say. It
takes two sites' people for alike, and heads to lie alike; what differs between the sites' people is
taken away with what differs between the scanners.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from motet.images.images import Image

PLACES = 10
"""Along each edge of an axial slice."""
REACH = 0.6
"""Standard deviation of a place's weight, in distances of places."""
SHARES = np.concatenate([[0, 0.002, 0.01], np.arange(0.02, 0.99, 0.02), [0.99, 0.998, 1]])


def weights(mask: np.ndarray) -> np.ndarray:
    """Of every voxel of a brain and every place, (n, PLACES ** 2); a voxel's sum to 1."""
    at = np.argwhere(mask)[:, :2]
    first, last = at.min(axis=0), at.max(axis=0)
    where = (at - first) / (last - first)
    line = (np.arange(PLACES) + 0.5) / PLACES
    places = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    apart = np.square((where[:, None] - places) * PLACES / REACH).sum(axis=2)
    found = np.exp(-0.5 * apart)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def quantiles(images: Sequence[Image]) -> np.ndarray:
    """Of all people's voxels, at every place, (PLACES ** 2, len(SHARES))."""
    values = np.concatenate([image.data[image.mask] for image in images])
    weighed = np.concatenate([weights(image.mask) for image in images])
    order = np.argsort(values)
    values = values[order]
    found = []
    for weight in weighed[order].T:
        share = np.cumsum(weight) - 0.5 * weight
        found.append(np.interp(SHARES * weight.sum(), share, values))
    return np.stack(found)


def matched(image: Image, own: np.ndarray, target: np.ndarray) -> np.ndarray:
    """An image with the curves of its places, from `own` quantiles to those of the target."""
    values = image.data[image.mask]
    curves = np.stack([np.interp(values, a, b) for a, b in zip(own, target, strict=True)], axis=1)
    made = np.zeros(image.data.shape)
    made[image.mask] = (weights(image.mask) * curves).sum(axis=1)
    return made
