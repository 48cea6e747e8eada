"""Probes: prepared by the training people alone, and the same from fewer columns."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from motet.evaluation.battery.probes import compact, prepare, site_probes
from motet.evaluation.battery.splits import Split


def data(n: int, p: int) -> tuple[np.ndarray, np.ndarray, Split]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    X = rng.normal(size=(n, p)) + 0.6 * rng.normal(size=(3, p))[y]
    return X, y, Split(train=np.arange(0, n - 15), test=np.arange(n - 15, n))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("p", [20, 200])
def test_machines_equal_scikit_learn_on_all_features(kernel: str, p: int) -> None:
    """Catches a rotation that loses distances, and another gamma than 'scale'."""
    X, y, part = data(60, p)
    scaler = StandardScaler().fit(X[part.train])
    train, test = scaler.transform(X[part.train]), scaler.transform(X[part.test])
    wanted = SVC(kernel=kernel, class_weight="balanced").fit(train, y[part.train]).predict(test)
    _, predict = site_probes(0)[f"{kernel}_svm"]
    seen = prepare(X, part)
    assert seen.train.shape[1] <= max(46, 20)
    found = predict(seen, np.arange(45), y[part.train])
    assert found.tolist() == wanted.tolist()
    assert len(set(found.tolist())) > 1


def test_rotation_keeps_ridge() -> None:
    """Catches inner products that the rotation changes."""
    X, y, part = data(60, 200)
    train, test = X[part.train], X[part.test]
    few, few_test = compact(train, test)
    assert few.shape[1] < 50
    wanted = Ridge(fit_intercept=False).fit(train, y[part.train]).predict(test)
    found = Ridge(fit_intercept=False).fit(few, y[part.train]).predict(few_test)
    assert found == pytest.approx(wanted, abs=1e-9)


def test_prepared_by_training_people_alone() -> None:
    """Catches a median or a spread that has seen the people to be read."""
    X, _, part = data(60, 5)
    X[3, 0] = X[50, 1] = np.nan
    changed = X.copy()
    changed[part.test] = 1e3 * np.nan_to_num(changed[part.test])
    a, b = prepare(X, part), prepare(changed, part)
    assert a.train.tobytes() == b.train.tobytes()
    assert a.plain_train[3, 0] == np.nanmedian(X[part.train, 0])
    assert a.plain_test[50 - 45, 1] == np.nanmedian(X[part.train, 1])
    assert a.train.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-12)


def test_feature_that_no_training_person_has() -> None:
    """Catches a crash where a feature is missing for all who train."""
    X, y, part = data(60, 5)
    X[part.train, 2] = np.nan
    seen = prepare(X, part)
    for _, predict in site_probes(0).values():
        assert np.isfinite(predict(seen, np.arange(45), y[part.train])).all()
