"""A scikit-learn style estimator: fit on some people, transform others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.client.apply import harmonized
from motet.client.below_zero import BelowZero
from motet.errors import MotetError, nearest
from motet.frame import Labels, fit_tables, pooled_tables, same_rows, warn_user
from motet.harmonizer import CovariateType, SiteModel
from motet.schema import Schema


class NotFittedError(MotetError, ValueError, AttributeError):
    """``transform`` was called before ``fit``."""

    code = "not-fitted"


class FeatureHarmonizer:
    """Harmonize features across batches, fitted on training people and applied to others.

    Parameters
    ----------
    method : str
        See ``motet methods``.
    params : mapping, optional
        The method's parameters, e.g. ``{"prior": "nonparametric"}``; under ``train``, a study
        file's section of that name.
    covariate_types : mapping, optional
        Covariate -> ``"continuous"``, ``"categorical"``, a tuple of levels or a
        :class:`~motet.spline.Spline`.
    seed : int

    Attributes
    ----------
    shared_ : dict of str to ndarray
        The shared model; for ComBat ``alpha``, ``beta``, ``var_pooled``.
    models_ : dict of str to SiteModel
        Batch -> its own effects; for ComBat ``gamma_star``, ``delta_star``.
    schema_ : Schema
        Features, covariates and levels.
    n_features_in_ : int
    feature_names_in_ : (p,) array of str
        Only for a DataFrame.

    Examples
    --------
    >>> combat = FeatureHarmonizer(params={"prior": "parametric"})
    >>> combat.fit(X_train, batch=scanner_train, covariates=people_train)  # doctest: +SKIP
    >>> combat.transform(X_test, batch=scanner_test, covariates=people_test)  # doctest: +SKIP
    """

    shared_: dict[str, NDArray[Any]]
    models_: dict[str, SiteModel]
    schema_: Schema
    n_features_in_: int
    feature_names_in_: NDArray[Any]

    def __init__(
        self,
        method: str = "combat",
        *,
        params: Mapping[str, Any] | None = None,
        covariate_types: Mapping[str, CovariateType] | None = None,
        seed: int = 0,
    ) -> None:
        self.method = method
        self.params = params
        self.covariate_types = covariate_types
        self.seed = seed

    def fit(
        self,
        X: pd.DataFrame | NDArray[Any],
        y: None = None,
        *,
        batch: Labels,
        covariates: pd.DataFrame | None = None,
    ) -> Self:
        """Estimate the shared model and every batch's effects.

        Parameters
        ----------
        X : (n, p) DataFrame or array
            NaN where missing.
        y : None
            Not used.
        batch : (n,) sequence
        covariates : DataFrame of n rows, optional
        """
        self._fit(X, batch, covariates)
        return self

    def fit_transform(
        self,
        X: pd.DataFrame | NDArray[Any],
        y: None = None,
        *,
        batch: Labels,
        covariates: pd.DataFrame | None = None,
    ) -> pd.DataFrame | NDArray[np.float64]:
        """Fit, and return the harmonized training people."""
        return self._fit(X, batch, covariates)

    def transform(
        self,
        X: pd.DataFrame | NDArray[Any],
        *,
        batch: Labels,
        covariates: pd.DataFrame | None = None,
    ) -> pd.DataFrame | NDArray[np.float64]:
        """Harmonize people with the fitted model.

        People of a batch that was not in the fit are adjusted with effects estimated here from
        all people of that batch in `X`, the shared estimates frozen.

        Parameters
        ----------
        X : (n, p) DataFrame or array
        batch : (n,) sequence
        covariates : DataFrame of n rows
            With the columns of the fit.

        Returns
        -------
        DataFrame or (n, p) float64 array
            As `X`.
        """
        if not hasattr(self, "shared_"):
            raise NotFittedError("This FeatureHarmonizer is not fitted yet.", do="Call fit first.")
        known = [c.name for c in self.schema_.covariates]
        types: dict[str, CovariateType] = {
            c.name: c.spline or c.levels or "continuous" for c in self.schema_.covariates
        }
        _, tables = pooled_tables(
            X,
            batch=batch,
            covariates=_columns(same_rows(X, covariates), known),
            covariate_types=types,
            method=self.method,
            seed=self.seed,
            params=self.params or {},
        )
        values = np.empty(X.shape)
        warnings: list[tuple[str, str]] = []
        for name, table in tables.items():
            rows_of = table.rows if table.rows is not None else np.arange(len(table))
            say = partial(_collect, warnings, name)
            blocks = harmonized(
                table,
                method=self._plan.harmonizer,
                params=self._plan.params,
                schema=self.schema_,
                shared=self.shared_,
                model=self.models_.get(name),
                seed=self.seed,
                say=say,
            )
            for rows, block in BelowZero(table).watched(blocks, say):
                values[rows_of[rows]] = block
        warn_user(warnings, stacklevel=2)
        if isinstance(X, pd.DataFrame):
            return pd.DataFrame(values, index=X.index, columns=X.columns)
        return values

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments, as scikit-learn's ``clone`` wants them."""
        return {
            "method": self.method,
            "params": self.params,
            "covariate_types": self.covariate_types,
            "seed": self.seed,
        }

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments by name."""
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(
                    f"'{name}' is not a parameter. {nearest(name, self.get_params())}".rstrip()
                )
            setattr(self, name, value)
        return self

    def _fit(
        self, X: pd.DataFrame | NDArray[Any], batch: Labels, covariates: pd.DataFrame | None
    ) -> pd.DataFrame | NDArray[np.float64]:
        study, tables = pooled_tables(
            X,
            batch=batch,
            covariates=covariates,
            covariate_types=self.covariate_types,
            method=self.method,
            seed=self.seed,
            params=self.params or {},
        )
        values = np.empty(X.shape)
        result = fit_tables(study, tables, values)
        warn_user(result.warnings, stacklevel=3)
        self.shared_, self.models_, self.schema_ = result.shared, result.models, result.schema
        self._plan = result.plan
        self.n_features_in_ = X.shape[1]
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
            return pd.DataFrame(values, index=X.index, columns=X.columns)
        return values


def _collect(warnings: list[tuple[str, str]], site: str, sentence: str) -> None:
    warnings.append((site, sentence))


def _columns(covariates: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    missing = [name for name in names if name not in covariates.columns]
    if missing:
        raise MotetError(
            f"The model was fitted with the covariate '{missing[0]}', which is not given.",
            do=nearest(missing[0], map(str, covariates.columns)) or "Pass it in 'covariates'.",
            column=missing[0],
        )
    return covariates[names]
