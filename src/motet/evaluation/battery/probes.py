"""Probes by scikit-learn, trained anew on every version of the data.

Settings are scikit-learn's defaults; classes weigh alike, since balanced accuracy is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from motet.evaluation.battery.sample import Float, Int
from motet.evaluation.battery.splits import Split
from motet.site import draw

TREES = 100
TWO_THREADS_ABOVE = 40_000
"""Numbers of which a forest grows sooner in two threads. Of 200 people with 121 features one is
quicker (0.35 s; two 0.39 s, and 0.51 s of processor time), of 400 two are (0.45 s, 0.56 s)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """What a probe sees of one split.

    Missing cells are the training people's median. ``train`` and ``test`` are standardized by the
    training people and may be rotated into fewer columns, which changes no inner product and no
    distance from a training person; ``plain_train`` and ``plain_test`` are the features
    themselves, for probes that look at one feature at a time.
    """

    split: Split
    train: Float
    test: Float
    plain_train: Float
    plain_test: Float

    @property
    def spread(self) -> float:
        """Mean square of a training person: the number of features that vary."""
        spread = float((self.train**2).sum(axis=1).mean())
        return spread if spread > 0 else 1.0


def prepare(X: Float, split: Split) -> Prepared:
    """Impute and standardize (n, p) values, all by the training people alone."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(X[split.train])
    plain_train, plain_test = (imputer.transform(X[rows]) for rows in (split.train, split.test))
    scaler = StandardScaler().fit(plain_train)
    train, test = compact(scaler.transform(plain_train), scaler.transform(plain_test))
    return Prepared(
        split=split, train=train, test=test, plain_train=plain_train, plain_test=plain_test
    )


def compact(train: Float, test: Float) -> tuple[Float, Float]:
    """Fewer columns with the same inner products, where there are more features than people.

    Coordinates in the span of the training people, and one column for how far from that span a
    test person lies: linear machines with a ridge penalty and kernels of the distance predict the
    same from them, at a cost that does not grow with the features.
    """
    n, p = train.shape
    if p <= 2 * n:
        return train, test
    values, U = np.linalg.eigh(train @ train.T)
    kept = values > values[-1] * 1e-12
    size = np.sqrt(values[kept])
    inside = test @ train.T @ (U[:, kept] / size)
    rest = np.maximum((test**2).sum(axis=1) - (inside**2).sum(axis=1), 0.0)
    zero = np.zeros((n, 1))
    return np.hstack([U[:, kept] * size, zero]), np.hstack([inside, np.sqrt(rest)[:, None]])


Fitted = Callable[[Prepared, Int, Int], Int]
"""Prepared values, (training rows of them,) which to use, their classes -> predictions."""


def site_probes(seed: int) -> Mapping[str, tuple[str, Fitted]]:
    """Name of each probe -> how people call it, and how it predicts."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import SVC

    state = int(draw(seed, "forest", "").integers(2**31))
    forest = partial(
        RandomForestClassifier,
        n_estimators=TREES,
        class_weight="balanced",
        random_state=state,
    )
    return {
        "linear_svm": ("linear SVM", partial(_machine, partial(SVC, kernel="linear"))),
        "rbf_svm": ("RBF SVM", partial(_machine, partial(SVC, kernel="rbf"))),
        "random_forest": ("random forest", partial(_forest, forest)),
    }


def _machine(make: Callable[..., Any], seen: Prepared, rows: Int, classes: Int) -> Int:
    # gamma is scikit-learn's 'scale', with the p of the features whatever they were rotated into.
    machine = make(class_weight="balanced", gamma=1 / seen.spread)
    predicted: Int = machine.fit(seen.train[rows], classes).predict(seen.test)
    return predicted


def _forest(make: Callable[..., Any], seen: Prepared, rows: Int, classes: Int) -> Int:
    train = seen.plain_train[rows]
    forest = make(n_jobs=2 if train.size > TWO_THREADS_ABOVE else 1).fit(train, classes)
    # Votes are added in the order of threads, and the last bit may break a tie: one thread.
    predicted: Int = forest.set_params(n_jobs=1).predict(seen.plain_test)
    return predicted
