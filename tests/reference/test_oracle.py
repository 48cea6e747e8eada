"""The oracle itself, against outputs that other people's code made, and against its own rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from reference import golden
from reference.dense_combat import dense_combat

PRIORS = ("parametric", "nonparametric", "none")
ADJUSTS = ("location_scale", "location")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with golden.one_thread():
        yield


def test_every_golden_file_is_used() -> None:
    """A name the parser misses would drop a file, or an option of it, in silence."""
    if not golden.GOLDEN.is_dir():
        pytest.skip(f"no data at {golden.GOLDEN}")
    files = golden.goldens()
    assert Counter(file.tool for file in files) == {"python": 34, "r": 33, "matlab": 4}
    made = {(f.prior, f.adjust, f.covariates, f.reference) for f in files if f.tool != "matlab"}
    assert len(made) == len(PRIORS) * len(ADJUSTS) * 2 * 2
    assert sum(file.tolerance == golden.TOLERANCE for file in files) == 67 + 2


def test_training_scenario_is_no_golden_file() -> None:
    """Those two replace covariate effects by their mean: agreeing with them would be a bug."""
    with pytest.raises(ValueError, match="no golden file"):
        golden.parse("training_test_scenario2_python")


@pytest.mark.parametrize("file", golden.golden_params())
def test_oracle_equals_golden_file(file: golden.Golden) -> None:
    """A wrong divisor, prior, stop rule or reference column differs from R, Python or Matlab."""
    W = (golden.GROUP == "2").astype(float) if file.covariates else None
    out, _ = dense_combat(golden.read("testdata"), golden.BATCH, W, **file.options)
    assert np.abs(out - file.expected()).max() <= file.tolerance


@golden.needs_data
@pytest.mark.parametrize("with_reference", [False, True], ids=["pooled", "reference"])
@pytest.mark.parametrize("adjust", ADJUSTS)
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", ["9-site", "3-site"])
def test_oracle_equals_neurocombat(
    name: str, prior: str, adjust: str, with_reference: bool
) -> None:
    """Sites of unequal size, a continuous covariate, features of very different scales."""
    data = golden.table(name).regular()
    assert data.Y.shape == {"9-site": (263, 329), "3-site": (558, 70)}[name]
    options: dict[str, Any] = {
        "prior": prior,
        "adjust": adjust,
        "reference": data.reference if with_reference else None,
    }
    out, _ = dense_combat(data.Y, data.batch, data.W, **options)
    theirs = golden.neurocombat(data, **options)
    assert (np.abs(out - theirs) / data.sd).max() <= golden.TOLERANCE


# The rules for irregular tables, which no other package follows.


def draw(seed: int = 0, p: int = 12, sizes: tuple[int, ...] = (9, 7, 8)) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    batch = np.repeat([f"s{i}" for i in range(len(sizes))], sizes)
    shift = rng.normal(size=(len(sizes), p)).repeat(sizes, axis=0)
    return 5 + shift + rng.normal(size=(len(batch), p)), batch, rng.normal(size=(len(batch), 2))


@pytest.mark.parametrize("adjust", ADJUSTS)
@pytest.mark.parametrize("prior", PRIORS)
class TestRules:
    def test_feature_that_varies_in_no_batch_is_put_back(self, prior: str, adjust: str) -> None:
        """Were it in a prior or a fit, its neighbours would move."""
        Y, batch, W = draw()
        flat = np.where(batch == "s0", 0.1, 0.7)[:, None]
        alone, _ = dense_combat(Y, batch, W, prior=prior, adjust=adjust)
        both, found = dense_combat(np.hstack([flat, Y]), batch, W, prior=prior, adjust=adjust)
        np.testing.assert_array_equal(both[:, :1], flat)
        np.testing.assert_array_equal(both[:, 1:], alone)
        assert np.isnan(found["var_pooled"][0])

    def test_feature_that_covariates_explain_is_put_back(self, prior: str, adjust: str) -> None:
        """Its pooled variance is 0 but for rounding, by which everything would be divided."""
        Y, batch, W = draw()
        Y[:, 3] = 100 + 3 * W[:, 0] - W[:, 1]
        out, found = dense_combat(Y, batch, W, prior=prior, adjust=adjust)
        np.testing.assert_array_equal(out[:, 3], Y[:, 3])
        assert np.isnan(found["var_pooled"]).sum() == 1

    def test_feature_constant_in_one_batch_is_not_in_its_pool(
        self, prior: str, adjust: str
    ) -> None:
        """neuroCombat counts it with delta_hat = 1, which moves the batch's other features."""
        Y, batch, W = draw()
        rows = batch == "s1"
        Y[rows, 0] = 0.1
        full, found = dense_combat(Y, batch, W, prior=prior, adjust=adjust)
        rest, _ = dense_combat(Y[:, 1:], batch, W, prior=prior, adjust=adjust)
        np.testing.assert_allclose(full[rows, 1:], rest[rows], rtol=0, atol=1e-13)
        assert np.isfinite(full).all()
        assert found["delta_star"]["s1"][0] == 1
        assert np.ptp(full[rows, 0]) < 1e-12  # a constant stays one: nothing is invented
        if prior == "parametric" and adjust == "location_scale":
            z = (Y - found["alpha"] - W @ found["beta"]) / np.sqrt(found["var_pooled"])
            hat = z[rows, 1:].mean(axis=0)
            weight = rows.sum() * hat.var(ddof=1)
            shrunk = (weight * z[rows, 0].mean() + hat.mean()) / (weight + 1)
            np.testing.assert_allclose(found["gamma_star"]["s1"][0], shrunk, rtol=1e-12)

    def test_a_person_alone_is_shifted_not_scaled(self, prior: str, adjust: str) -> None:
        """neuroCombat returns NaN for every site."""
        Y, batch, W = draw(sizes=(9, 1, 8))
        out, found = dense_combat(Y, batch, W, prior=prior, adjust=adjust)
        hat = (Y[9] - found["alpha"] - W[9] @ found["beta"]) / np.sqrt(found["var_pooled"])
        tau2 = hat.var(ddof=1)
        shrunk = hat if prior == "none" else (tau2 * hat + hat.mean()) / (tau2 + 1)
        np.testing.assert_allclose(found["gamma_star"]["s1"], shrunk, atol=1e-12)
        assert (found["delta_star"]["s1"] == 1).all()
        assert np.isfinite(out).all()

    def test_missing_cells_stay_missing_and_count_for_nothing(
        self, prior: str, adjust: str
    ) -> None:
        """One missing cell makes neuroCombat's whole output NaN."""
        Y, batch, W = draw()
        Y[[0, 5, 20], [1, 1, 4]] = np.nan
        Y[batch == "s2", 2] = np.nan
        Y[np.flatnonzero(batch == "s1")[1:], 3] = np.nan
        out, found = dense_combat(Y, batch, W, prior=prior, adjust=adjust)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(Y))
        assert found["gamma_star"]["s2"][2] == 0
        assert (found["delta_star"]["s1"][3], found["delta_star"]["s2"][2]) == (1, 1)
        D = np.hstack([(batch[:, None] == np.unique(batch)).astype(float), W])
        seen = ~np.isnan(Y[:, 1])
        rss = np.linalg.lstsq(D[seen], Y[seen, 1], rcond=None)[1][0]
        np.testing.assert_allclose(found["var_pooled"][1], rss / seen.sum())

    def test_groups_are_separate_pools(self, prior: str, adjust: str) -> None:
        """A pool shared by mistake would shrink thickness towards volumes."""
        Y, batch, W = draw()
        groups = np.array([0, 1] * 6)
        out, _ = dense_combat(Y, batch, W, prior=prior, adjust=adjust, groups=groups)
        for group in (0, 1):
            own, _ = dense_combat(Y[:, groups == group], batch, W, prior=prior, adjust=adjust)
            np.testing.assert_array_equal(out[:, groups == group], own)

    def test_pool_of_one_feature_has_no_prior(self, prior: str, adjust: str) -> None:
        """neuroCombat returns NaN for a single feature."""
        Y, batch, W = draw(p=1)
        out, _ = dense_combat(Y, batch, W, prior=prior, adjust=adjust)
        unshrunk, _ = dense_combat(Y, batch, W, prior="none", adjust=adjust)
        np.testing.assert_array_equal(out, unshrunk)

    def test_reference_rows_are_returned_exactly(self, prior: str, adjust: str) -> None:
        """Adding and subtracting the same numbers would change their last bits."""
        Y, batch, W = draw()
        out, found = dense_combat(Y, batch, W, prior=prior, adjust=adjust, reference="s1")
        np.testing.assert_array_equal(out[batch == "s1"], Y[batch == "s1"])
        assert not found["gamma_star"]["s1"].any()
        assert (found["delta_star"]["s1"] == 1).all()


def test_priors_without_width_are_limits() -> None:
    """Equal scales (s2 = 0) and equal locations (tau2 = 0) divide 0 by 0 in the packages."""
    e = np.array([-1.0, 1.0, -1.0, 1.0])
    Y = np.concatenate([np.stack([e, -e]), np.stack([2 * e + 1, 1 - 2 * e])], axis=1).T
    batch = np.repeat(["a", "b"], 4)
    out, found = dense_combat(Y, batch)
    var = (4 * 1 + 4 * 4) / 8
    for label, scale, mean in (("a", 1, -0.5), ("b", 4, 0.5)):
        np.testing.assert_allclose(found["delta_star"][label], scale * 4 / 3 / var)
        np.testing.assert_allclose(found["gamma_star"][label], mean / np.sqrt(var))
    assert np.isfinite(out).all()
