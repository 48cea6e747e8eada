"""Made-up studies: pooled arrays, and the same people as tables of any set of sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from motet.bids.memory import from_arrays
from motet.bids.table import Table
from motet.client.opening import requests
from motet.config import DP, Evaluation, Federation, Privacy, Study
from motet.params import parse_params
from motet.plan import biology
from motet.registry import methods
from motet.training.options import TrainedParams

# Options under which the battery runs a method; one that is not named here gets its defaults.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "combat": {
        "default": {},
        "reference": {"reference": "b1"},
        "nonparametric": {"prior": "nonparametric"},
        "no prior": {"prior": "none"},
        "location": {"adjust": "location"},
        "groups": {"feature_groups": {"first": ["f0*", "f1*"]}},
    },
    "deepcombat": {"default": {}, "reference": {"reference": "b1", "latent_scale": 0.5}},
    "fed_combat": {"default": {}, "linear": {"phi": "linear"}},
}
MISSING_CELLS = {"combat", "deepcombat", "fed_combat"}  # methods that take them
ENTANGLED = {"deepcombat"}  # one network sees all features: what one is, moves the others
REFERENCE = {name: {"reference": "b1"} for name in ("combat", "deepcombat", "fed_combat")}

TRAINED = {
    name for name in methods().names() if issubclass(methods().get(name).params_type, TrainedParams)
}
METHODS = [name for name in methods().names() if methods().get(name).card.data == "table"]
BATTERY = [
    (method, options)
    for method in METHODS
    for options in VARIANTS.get(method, {"default": {}}).values()
]


def battery_id(value: Any) -> str:
    """How pytest names a method or its options."""
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items() if not isinstance(v, dict)) or "-"
    return str(value)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A pooled table (n, p), with the batch and the covariates of every row.

    `train`: of methods that are trained; in exact mode, which is the same for all sites. `secure`:
    as a study file has it. Most tests look at what single sites send, or compare to the
    last bits, so that they sum plainly. `dp`: noise on a training. `splines`: knots and
    bounds, by covariate. `people`: of every row; else nobody has two.
    """

    values: np.ndarray
    batch: np.ndarray
    covariates: pd.DataFrame
    features: tuple[str, ...]
    method: str = "combat"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    evaluation: Mapping[str, Any] = field(default_factory=lambda: {"metrics": "none"})
    secure: bool | None = False
    dp: Mapping[str, float] | None = None
    train: Mapping[str, Any] = field(default_factory=lambda: {"preset": "tiny", "mode": "exact"})
    splines: Mapping[str, Any] = field(default_factory=dict)
    people: np.ndarray | None = None

    @property
    def batches(self) -> list[str]:
        return sorted(set(self.batch.tolist()))

    @property
    def kept(self) -> list[str]:
        """The covariates of the method: those that the evaluation does not read as biology."""
        return [name for name in self.covariates if name not in self.evaluation.get("biology", ())]

    @property
    def study(self) -> Study:
        return Study(
            study="made-up",
            method=self.method,
            params={
                "covariates": {name: self.splines.get(name, "auto") for name in self.kept},
                **self.options,
            },
            evaluation=Evaluation(**self.evaluation),
            seed=self.seed,
            train=dict(self.train) if self.method in TRAINED else {},
            privacy=Privacy(secure_sum=self.secure, dp=None if self.dp is None else DP(**self.dp)),
            federation=Federation(timeout=60.0),
        )

    def table(self, rows: Sequence[int] | np.ndarray, site: str) -> Table:
        """Some rows as a site's table."""
        index = np.asarray(rows, dtype=np.intp)
        return from_arrays(
            self.values,
            site=site,
            batch=self.batch[index].tolist(),
            covariates=self.covariates.iloc[index],
            requests=requests(parse_params(self.study), biology(self.study)),
            features=self.features,
            people=None if self.people is None else self.people[index].tolist(),
            sessions=None if self.people is None else [f"ses-{row}" for row in index],
            rows=index,
        )

    def tables(self, site_of: Mapping[str, str] | None = None) -> dict[str, Table]:
        """One table a site; by default every batch is a site, called ``site-<batch>``."""
        site_of = site_of or {name: f"site-{name}" for name in self.batches}
        at = np.array([site_of[name] for name in self.batch.tolist()])
        return {
            site: self.table(np.flatnonzero(at == site), site)
            for site in dict.fromkeys(site_of[name] for name in site_of)
        }

    def pooled(self) -> dict[str, Table]:
        """Everybody at one site."""
        return {"all": self.table(np.arange(len(self.values)), "all")}

    @property
    def scale(self) -> np.ndarray:
        """(p,) largest absolute value of every feature: what 'relative' refers to."""
        return np.nanmax(np.abs(self.values), axis=0)


def case(
    method: str = "combat",
    options: Mapping[str, Any] | None = None,
    *,
    n: Sequence[int] = (9, 12, 8, 10),
    p: int = 6,
    covariates: Sequence[str] = ("age", "sex", "dx"),
    missing: float = 0.0,
    seed: int = 0,
) -> Case:
    """Make a case with batch effects and covariate effects; batches b0, b1, … of `n` people.

    Rows of different batches are mixed; features differ in location and scale by 10^6.
    """
    rng = np.random.default_rng(seed)
    total = sum(n)
    code = rng.permutation(np.repeat(np.arange(len(n)), n))
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20, 80, total).round(1),
            "sex": np.array(["F", "M"])[rng.integers(0, 2, total)],
            "dx": np.array(["AD", "CN", "MCI"])[rng.integers(0, 3, total)],
        }
    )
    size = 10.0 ** rng.uniform(-3, 3, p)
    values = 12.0 + rng.standard_normal((total, p)) * rng.uniform(0.5, 2, (len(n), p))[code]
    values += rng.standard_normal((len(n), p))[code]
    values += 0.03 * frame["age"].to_numpy()[:, None] * rng.standard_normal(p)
    values += (frame["sex"] == "M").to_numpy()[:, None] * rng.standard_normal(p)
    values *= size
    if missing:
        holes = rng.random(values.shape) < missing
        holes[:, 0] = False
        values[holes] = np.nan
    return Case(
        values=values,
        batch=np.array([f"b{k}" for k in code]),
        covariates=frame[list(covariates)],
        features=tuple(f"f{j}" for j in range(p)),
        method=method,
        options=dict(options or {}),
        seed=seed,
    )
