"""Noise is normal, new every time, and of the operating system's entropy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from motet.training.noise import drawn, normal
from training.private import fake_entropy


def test_it_is_standard_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches another variance, the halves of pairs in the wrong order, and a tail cut off."""
    fake_entropy(monkeypatch)
    found = normal(20_001)
    assert kstest(found, "norm").pvalue > 0.001
    assert kstest(found * 0.93, "norm").pvalue < 0.001  # a control: the test can fail
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.03
    half = len(found) // 2
    assert abs(np.corrcoef(found[:half], found[half : 2 * half])[0, 1]) < 0.04
    assert np.abs(found).max() > 3.5


def test_no_two_are_the_same() -> None:
    """Catches a generator that is seeded once a call."""
    assert not np.intersect1d(normal(1000), normal(1000)).size


def test_no_seed_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches numpy's or torch's generator behind it, and fewer than 53 bits a uniform number."""
    import torch

    rows = []
    for _ in range(2):
        np.random.seed(0)
        torch.manual_seed(0)
        rows.append(normal(10))
    assert not np.intersect1d(*rows).size
    taken = fake_entropy(monkeypatch)
    normal(10)
    assert taken() == 4 * 10 * 8


def test_each_is_drawn_with_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a rate that is not that which epsilon is of, and a fixed number drawn."""
    fake_entropy(monkeypatch)
    counts = [int(drawn(1000, 0.03).sum()) for _ in range(30)]
    assert binomtest(sum(counts), 30_000, 0.03).pvalue > 0.001
    assert len(set(counts)) > 5
    assert drawn(1000, 1.0).all()
    assert not drawn(1000, 0.0).any()
