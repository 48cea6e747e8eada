"""DeepComBat's presets are what was measured."""

from __future__ import annotations

from motet.harmonizers.deepcombat.params import DeepComBatParams


def test_small_trains_as_it_was_measured() -> None:
    """Catches a preset that lost what its figures in ``benchmarks/results`` are of."""
    params = DeepComBatParams.model_validate({})
    how = params.train
    assert (how.preset, how.mode, how.server) == ("small", "local", "scaffold")
    assert (how.extrapolate, how.moments, how.local_rate) == (True, "kept", 1.0)
    assert (how.batch, how.epochs, how.local_steps) == (64, 70.0, 64)
    assert (params.learning_rate, params.columns_rate) == (0.0003, 0.003)
    assert params.start == "moments"


def test_paper_trains_as_published() -> None:
    """Hu et al. 2024 and its code: 40 epochs of 64 people at 0.01, from random weights."""
    params = DeepComBatParams.model_validate({"train": {"preset": "paper"}})
    how = params.train
    assert (how.mode, how.batch, how.epochs, how.local_rate) == ("exact", 64, 40.0, 1.0)
    assert (params.learning_rate, params.columns_rate, params.kl) == (0.01, None, 0.1)
    assert params.start == "random"
