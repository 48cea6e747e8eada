"""Effects of covariates and columns of biology, feature by feature."""

from __future__ import annotations

import numpy as np

from motet.evaluation.basis import basis
from motet.evaluation.battery.batch_effect import Judged
from motet.evaluation.battery.design import members
from motet.evaluation.battery.sample import Float, Sample
from motet.evaluation.features import patterns


def standardized_effects(X: Float, group: Judged, sample: Sample) -> dict[str, Float]:
    """Effect of every design column given batches and the other columns, on the people of `group`.

    Coefficient over the standard deviation of what the whole model leaves: Cohen's d of a level
    against the first, adjusted; for a number, per standard deviation of it over these people.

    Parameters
    ----------
    X : (n, p) float64
        NaN where missing.

    Returns
    -------
    dict of str to (p,) float64
        NaN where a column adds nothing to the others or people are too few.
    """
    kinds = {column: c.kind for c in sample.covariates for column in c.columns}
    W = group.design.W
    scale = [
        1.0 if k == "categorical" else w.std() for k, w in zip(kinds.values(), W.T, strict=True)
    ]
    Y = X[group.rows]
    effects = np.full((len(kinds), Y.shape[1]), np.nan)
    for columns, seen in patterns(Y):
        values, some = Y[np.ix_(seen, columns)], W[seen]
        member = members(group.design.batch[seen])
        whole = basis(np.hstack([member, some]))
        df = len(values) - whole.shape[1]
        if df < 2:
            continue
        centred = values - values.mean(axis=0)
        sd = np.sqrt(((centred - whole @ (whole.T @ centred)) ** 2).sum(axis=0) / df)
        for i in range(len(kinds)):
            others = basis(np.hstack([member, np.delete(some, i, axis=1)]))
            x = some[:, i] - others @ (others.T @ some[:, i])
            if x @ x > 1e-10 * max(float(some[:, i] @ some[:, i]), 1e-300):
                with np.errstate(invalid="ignore", divide="ignore"):
                    effects[i, columns] = scale[i] * (x @ centred) / (x @ x) / sd
    return dict(zip(kinds, effects, strict=True))
