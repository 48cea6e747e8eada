"""A person moves a sum by the clip and no more, with however many rows, whatever the data are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from motet.training import people as module
from motet.training.people import clipped_sum
from training.private import World, clipped, flat, person, world


@pytest.fixture(scope="module")
def here() -> World:
    return world()


def summed(here: World, people: list, clip: float, x: np.ndarray | None = None) -> np.ndarray:
    networks, (update,) = here.networks, here.train.updates
    found = clipped_sum(networks, update, here.feed(networks, x), people, here.moment, clip=clip)
    return flat(found, update.groups)


@pytest.mark.parametrize("room", [2**22, 700])
def test_it_is_the_sum_of_clipped_gradients(
    here: World, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches clipping by row or by group, a parameter whose gradient is not counted, people
    that two parts of the work divide, and draws that are not the sample's own."""
    monkeypatch.setattr(module, "ROOM", room)
    networks = here.networks
    feed = here.feed(networks)
    each = [person(here, networks, feed, rows) for rows in here.people]
    norms = [float(np.linalg.norm(one)) for one in each]
    clip = float(np.median(norms))
    expected = np.sum([clipped(one, clip) for one in each], axis=0)
    np.testing.assert_allclose(summed(here, here.people, clip), expected, atol=1e-12)
    assert any(len(rows) == 3 for rows in here.people)


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_opacus_has_the_same_gradients_of_samples(here: World) -> None:
    """Catches a gradient of samples that differs from that of an independent implementation."""
    from opacus import GradSampleModule

    networks, (update,) = here.networks, here.train.updates
    feed, rows = here.feed(networks), np.arange(5)
    mine = [summed(here, [rows[k : k + 1]], 1e9) for k in range(5)]
    wrapped = GradSampleModule(networks.module, loss_reduction="sum", strict=False)
    (portion,) = feed.due(rows, 0).portions()
    losses = update.losses(networks.module, portion.seen, portion.draws)
    losses["reconstruction"].sum().backward()
    for k in range(5):
        theirs = torch.cat(
            [p.grad_sample[k].reshape(-1) for name in update.groups for p in networks.leaves[name]]
        )
        np.testing.assert_allclose(mine[k], theirs.numpy(), atol=1e-10)
    wrapped.remove_hooks()


@given(
    rows=st.sampled_from([[2], [1, 4, 7], [0, 2, 3, 5, 6, 8]]),
    size=st.sampled_from([0.0, 1e-3, 1.0, 1e3, 1e30, 1e200, np.inf, np.nan]),
    clip=st.sampled_from([1e-3, 1.0, 50.0]),
)
def test_one_person_moves_it_by_the_clip(rows: list[int], size: float, clip: float) -> None:
    """Catches a person with many rows or values beyond all measure who moves the sum by more."""
    here = HERE[0]
    x = here.train.samples(here.site, here.shared).arrays["x"].copy()
    x[rows] *= size
    others = [np.array([k]) for k in range(len(x)) if k not in rows]
    with_them = summed(here, [*others, np.array(rows)], clip, x)
    without = summed(here, others, clip, x)
    assert np.isfinite(with_them).all()
    assert np.linalg.norm(with_them - without) <= clip * (1 + 1e-9)


HERE = [world()]


def test_a_row_each_would_move_it_by_more(here: World) -> None:
    """The control of the test above: rows clipped one by one are beyond the clip together."""
    rows = [np.array([k]) for k in (1, 4, 7)]
    assert np.linalg.norm(summed(here, rows, 1e-3)) > 1.5e-3
