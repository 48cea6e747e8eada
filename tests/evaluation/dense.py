"""What the sums of an evaluation should say, from everybody's rows: shares no code with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats
from sklearn.covariance import ledoit_wolf

from conformance.cases import Case


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Of every feature: p values, partial eta squared, partial R squared, effects (columns, p)."""

    anova_p: np.ndarray
    levene_p: np.ndarray
    eta2: np.ndarray
    r2: np.ndarray
    effect: dict[str, np.ndarray]


def columns_of(case: Case) -> pd.DataFrame:
    """Design columns as the study has them: covariates, then biology."""
    frame = pd.DataFrame(index=case.covariates.index)
    names = [*case.kept, *(name for name in case.covariates if name not in case.kept)]
    for name in names:
        values = case.covariates[name]
        if values.dtype.kind == "f":
            frame[name] = values
        else:
            for level in sorted(set(values))[1:]:
                frame[f"{name}={level}"] = (values == level).astype(float)
    return frame


def rest(y: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Residuals; about the mean first, which every model here contains."""
    y = y - y.mean(axis=0)
    return y - X @ np.linalg.lstsq(X, y, rcond=None)[0]


def dense(case: Case, values: np.ndarray, rows: np.ndarray) -> Dense:
    """Analyse some rows of `values`, feature by feature."""
    frame = columns_of(case)
    found: dict[str, list[float]] = {"anova_p": [], "levene_p": [], "eta2": [], "r2": []}
    effects: dict[str, list[float]] = {name: [] for name in frame}
    for y_all in values.T:
        use = rows & np.isfinite(y_all)
        y, batch = y_all[use], case.batch[use]
        W = frame.to_numpy()[use]
        W = W - W.mean(axis=0)
        B = pd.get_dummies(batch).to_numpy(dtype=float)
        full, reduced = np.hstack([B, W]), np.hstack([np.ones((len(y), 1)), W])
        residual = rest(y, full)
        rss, without = (residual**2).sum(), (rest(y, reduced) ** 2).sum()
        rank = np.linalg.matrix_rank(full)
        df1, df2 = rank - np.linalg.matrix_rank(reduced), len(y) - rank
        found["anova_p"].append(scipy.stats.f.sf((without - rss) / df1 / (rss / df2), df1, df2))
        found["eta2"].append((without - rss) / without)
        alone = (rest(y, B) ** 2).sum()
        found["r2"].append((alone - rss) / alone)
        parts = [residual[batch == b] for b in sorted(set(batch)) if (batch == b).sum() > 1]
        found["levene_p"].append(scipy.stats.levene(*parts, center="median").pvalue)
        beta = np.linalg.lstsq(full, y - y.mean(), rcond=None)[0][B.shape[1] :]
        for i, name in enumerate(frame):
            size = 1.0 if "=" in name else W[:, i].std()
            effects[name].append(size * beta[i] / np.sqrt(rss / df2))
    return Dense(
        **{name: np.array(entries) for name, entries in found.items()},
        effect={name: np.array(entries) for name, entries in effects.items()},
    )


def standardized(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """All rows by mean and sd of the training people; the mean where a value is missing."""
    mean, sd = np.nanmean(values[train], axis=0), np.nanstd(values[train], axis=0)
    sd[sd == 0] = np.inf
    return np.nan_to_num((values - mean) / sd)


def taken_for(F: np.ndarray, batch: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The batch that a linear discriminant, alike prior, Ledoit-Wolf, takes every row for."""
    names = sorted(set(batch[train]))
    means = np.array([F[train & (batch == b)].mean(axis=0) for b in names])
    centred = np.vstack([F[train & (batch == b)] - m for b, m in zip(names, means, strict=True)])
    covariance = ledoit_wolf(centred, assume_centered=True)[0]
    weights = np.linalg.solve(covariance, means.T).T
    scores = F @ weights.T - 0.5 * (weights * means).sum(axis=1)
    return np.array(names)[scores.argmax(axis=1)]


def ridge_predictions(
    F: np.ndarray, t: np.ndarray, train: np.ndarray, n_penalties: int
) -> np.ndarray:
    """Every row's prediction, with the penalty of least generalized cross-validation."""
    penalties = np.logspace(-4, 3, n_penalties) * train.sum()
    X, y = F[train], t[train]
    mean, about = X.mean(axis=0), y.mean()
    X, y = X - mean, y - about
    best, chosen = np.inf, np.zeros(F.shape[1])
    for penalty in penalties:
        inverse = np.linalg.inv(X.T @ X + penalty * np.eye(X.shape[1]))
        beta = inverse @ X.T @ y
        free = max(len(y) - 1 - np.trace(X @ inverse @ X.T), 1e-3 * len(y))
        score = max(((y - X @ beta) ** 2).sum(), 1e-12 * (y**2).sum()) / free**2
        if score < best:
            best, chosen = score, beta
    return (F - mean) @ chosen + about
