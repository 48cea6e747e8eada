"""Scores beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

from motet.evaluation.battery.scores import (
    auc,
    balanced_accuracies,
    balanced_accuracy,
    mae,
    r2,
)

RNG = np.random.default_rng(0)
W = RNG.integers(1, 4, size=(5, 40)).astype(float)


def test_balanced_accuracy() -> None:
    """Catches plain accuracy, under which the largest site decides."""
    truth, said = RNG.integers(0, 4, 40), RNG.integers(0, 4, 40)
    wanted = [balanced_accuracy_score(truth, said, sample_weight=w) for w in W]
    assert balanced_accuracy(said, truth, W) == pytest.approx(wanted)
    shuffled = np.stack([RNG.permutation(truth) for _ in range(5)])
    wanted = [balanced_accuracy_score(y, said) for y in shuffled]
    assert balanced_accuracies(said, shuffled) == pytest.approx(wanted)


def test_area_under_the_curve() -> None:
    """Catches ties counted whole, and people who count twice counted once."""
    score, yes = RNG.integers(0, 9, 40).astype(float), RNG.random(40) < 0.4
    wanted = [roc_auc_score(yes, score, sample_weight=w) for w in W]
    assert auc(score, W * yes, W * ~yes) == pytest.approx(wanted)


def test_numbers() -> None:
    """Catches a total about another mean than that of the people read."""
    truth, said = RNG.normal(size=40), RNG.normal(size=40)
    assert r2(said, truth, W) == pytest.approx([r2_score(truth, said, sample_weight=w) for w in W])
    wanted = [mean_absolute_error(truth, said, sample_weight=w) for w in W]
    assert mae(said, truth, W) == pytest.approx(wanted)
