"""A made-up consortium for the battery: measures, people, and what they were without scanners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from motet.agreement import agree
from motet.bids.memory import from_arrays
from motet.bids.table import Table
from motet.cohort import in_fit
from motet.config import Evaluation, Study
from motet.evaluation.battery.sample import Sample, gather
from motet.plan import Plan, build_plan
from motet.schema import Schema


@dataclass(frozen=True, kw_only=True)
class Consortium:
    """n people in batches b0, b1, …; ``values`` = ``truth`` + an effect of the batch."""

    values: np.ndarray
    truth: np.ndarray
    batch: np.ndarray
    covariates: pd.DataFrame
    people: list[str]
    settings: Evaluation = field(default_factory=lambda: Evaluation(permutations=40))
    seed: int = 1
    unseen: tuple[str, ...] = ()

    def site_of(self, layout: Mapping[str, str] | None = None) -> np.ndarray:
        return np.array([(layout or {}).get(b, f"site-{b}") for b in self.batch.tolist()])

    def tables(self, layout: Mapping[str, str] | None = None) -> dict[str, Table]:
        at = self.site_of(layout)
        return {
            site: from_arrays(
                self.values,
                site=site,
                batch=self.batch[at == site].tolist(),
                covariates=self.covariates[at == site],
                people=[self.people[i] for i in np.flatnonzero(at == site)],
                rows=np.flatnonzero(at == site),
            )
            for site in dict.fromkeys(at.tolist())
        }

    def at_sites(
        self, values: np.ndarray, layout: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        at = self.site_of(layout)
        return {site: values[at == site] for site in dict.fromkeys(at.tolist())}

    def fit(self, layout: Mapping[str, str] | None = None) -> dict[str, Any]:
        mask = in_fit(np.array(self.people), held_out=self.settings.held_out, seed=self.seed)
        masks = self.at_sites(mask, layout)
        return {s: m & (s not in self.unseen) for s, m in masks.items()}

    def schema(self, tables: Mapping[str, Table]) -> Schema:
        return agree(
            [table.described for table in tables.values()],
            biology=self.settings.biology,
            unseen=self.unseen,
        )

    def plan(self, tables: Mapping[str, Table]) -> Plan:
        study = Study(
            study="made-up",
            method="combat",
            params={"covariates": [c for c in self.covariates if c not in self.settings.biology]},
            evaluation=self.settings,
            seed=self.seed,
        )
        return build_plan(study, self.schema(tables))

    def sample(self, layout: Mapping[str, str] | None = None) -> Sample:
        tables = self.tables(layout)
        return gather(
            tables,
            self.fit(layout),
            plan=self.plan(tables),
            links={},
        )

    def with_settings(self, **changes: Any) -> Consortium:
        return replace(self, settings=self.settings.model_copy(update=changes))


def consortium(
    n: tuple[int, ...] = (24, 30, 26),
    p: int = 12,
    *,
    shift: float = 1.5,
    confounded: float = 0.0,
    seed: int = 0,
    **settings: Any,
) -> Consortium:
    """Batches that differ by `shift` sd in every feature; age and sex have effects of their own."""
    rng = np.random.default_rng(seed)
    total = sum(n)
    code = rng.permutation(np.repeat(np.arange(len(n)), n))
    age = rng.normal(50, 10, total) + 10 * confounded * code
    sex = rng.integers(0, 2, total)
    truth = rng.standard_normal((total, p)) + 0.05 * (age[:, None] - 50) * np.linspace(0, 1, p)
    truth += sex[:, None] * np.linspace(-1, 1, p)
    return Consortium(
        values=truth + shift * rng.standard_normal((len(n), p))[code],
        truth=truth,
        batch=np.array([f"b{k}" for k in code]),
        covariates=pd.DataFrame({"age": age, "sex": np.array(["F", "M"])[sex]}),
        people=[f"p{i:03d}" for i in rng.permutation(total)],
        settings=Evaluation(permutations=40, **settings),
    )
