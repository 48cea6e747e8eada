"""Differences within batches, against the losses with intercepts that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from motet.harmonizers.fed_combat.contrasts import PEERS, from_means, from_peers


def people(n: tuple[int, ...], missing: float = 0.0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    batch = rng.permutation(np.repeat(np.arange(len(n)), n))
    x, w = rng.standard_normal((len(batch), 4)), rng.standard_normal((len(batch), 2))
    x += 5 * batch[:, None]
    x[rng.random(x.shape) < missing] = np.nan
    return x, w, batch


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_means_give_least_squares_with_intercepts(missing: float) -> None:
    """Catches a mean over people whose value is missing."""
    x, w, batch = people((9, 12, 7), missing)
    found = from_means(x, w, batch)
    W = np.broadcast_to(found["w"], (len(x), 4, 2))
    for j in range(4):
        seen = np.isfinite(x[:, j])
        D = np.column_stack([np.eye(3)[batch], w])[seen]
        expected = np.linalg.lstsq(D, x[seen, j], rcond=None)[0][3:]
        weight = found["seen"][:, 0, j]
        A, b = W[:, j] * weight[:, None], found["x"][:, 0, j] * weight
        np.testing.assert_allclose(np.linalg.lstsq(A, b, rcond=None)[0], expected, rtol=1e-10)
        assert weight.sum() == seen.sum()


def test_peers_of_a_small_batch_are_everybody() -> None:
    """Catches a circle that leaves someone out: differences of all pairs give the variance."""
    x, w, batch = people((PEERS, PEERS, PEERS))
    keys = np.random.default_rng(0).integers(2**40, size=len(x))
    found = from_peers(x, w, batch, keys)
    total = 0.5 * np.square(found["x"]).mean(axis=1).sum(axis=0)
    within = sum(
        np.square(x[batch == k] - x[batch == k].mean(axis=0)).sum(axis=0) for k in range(3)
    )
    np.testing.assert_allclose(total, within, rtol=1e-12)


def test_peers_do_not_depend_on_the_order_of_rows() -> None:
    """Catches a circle in the order of a site's table: another site would train on other pairs."""
    x, w, batch = people((15, 1, 11), missing=0.1)
    keys = np.random.default_rng(0).integers(2**40, size=len(x))
    order = np.random.default_rng(1).permutation(len(x))
    one = from_peers(x, w, batch, keys)
    other = from_peers(x[order], w[order], batch[order], keys[order])
    for name, array in one.items():
        np.testing.assert_array_equal(array[order], other[name])
    alone = np.flatnonzero(batch == 1)[0]
    assert not one["x"][alone].any()
