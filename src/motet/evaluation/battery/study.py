"""A study in one place, judged version by version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from motet.config import Evaluation
from motet.errors import MotetError
from motet.evaluation.battery.batch_effect import Found, Judged, batch_metrics, find, judged
from motet.evaluation.battery.biology import biology_metrics, predict, targets
from motet.evaluation.battery.draws import shuffles
from motet.evaluation.battery.effects import standardized_effects
from motet.evaluation.battery.invented import Permuted, invented_metrics
from motet.evaluation.battery.multivariate import Spread, spread, spread_metrics
from motet.evaluation.battery.notes import collapsed, left_out
from motet.evaluation.battery.probes import prepare, site_probes
from motet.evaluation.battery.reliability import block, contradictions, traveler_metrics
from motet.evaluation.battery.sample import Bool, Float, Sample
from motet.evaluation.battery.site_probes import Predictions, predictions, site_metrics
from motet.evaluation.battery.splits import Splits
from motet.evaluation.battery.truth import truth_metrics
from motet.evaluation.below import below
from motet.evaluation.features import varying
from motet.evaluation.kept import kept_metrics
from motet.evaluation.result import Judgement, Metric
from motet.plan import Plan
from motet.releases import Arrays


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A study in one place, and how it is judged.

    Attributes
    ----------
    sample : Sample
    splits : Splits
    values : mapping of Version to tuple of (n, p) float64
        Features that vary; one array for all splits of a round, or one for each.
    varies : (features,) bool
        Which of the study's features these are.
    plan : Plan
    settings : Evaluation
    """

    sample: Sample
    splits: Splits
    values: Mapping[str, tuple[Float, ...]]
    varies: Bool
    plan: Plan
    settings: Evaluation

    @classmethod
    def of(
        cls,
        sample: Sample,
        splits: Splits,
        values: Mapping[str, tuple[Float, ...]],
        *,
        plan: Plan,
        settings: Evaluation,
    ) -> Study:
        """The study without the features that have one value only, which show nothing."""
        varies = varying(values["raw"][0])
        if not varies.any():
            raise MotetError("No feature varies: there is nothing to judge.")
        kept = {name: tuple(X[:, varies] for X in Xs) for name, Xs in values.items()}
        return cls(
            sample=sample, splits=splits, values=kept, varies=varies, plan=plan, settings=settings
        )

    def judge(
        self, *, permuted: Sequence[Permuted], truth: Mapping[str, Float] | None
    ) -> Judgement:
        """Everything that these people allow; notes say what they do not."""
        # One thread of linear algebra: the last bits of a sum must not depend on the cores.
        with threadpool_limits(1):
            return self._judge(permuted, truth)

    def _judge(self, permuted: Sequence[Permuted], truth: Mapping[str, Float] | None) -> Judgement:
        groups = self._groups()
        metrics, notes = self._probes()
        tested, arrays = self._features(groups)
        metrics += tested
        if permuted and len(groups) == 1:
            metrics += invented_metrics(
                permuted,
                self.at("raw", 0),
                groups[0],
                self.sample,
                varies=self.varies,
                seed=self.plan.seed,
            )
        found, said = self._travelers()
        metrics += found
        notes += said
        if truth is not None:
            metrics += truth_metrics(
                {v: [self.at(v, k) for k in range(len(self.splits.judged))] for v in self.values},
                self.sample.stack(truth)[:, self.varies],
                self.splits.judged,
                self.sample,
                seed=self.plan.seed,
            )
        return Judgement(
            source="simulation",
            people=self.splits.people,
            n=sum(map(len, self.splits.judged)),
            features=int(self.varies.sum()),
            metrics=tuple(metrics),
            arrays={name: _scattered(values, self.varies) for name, values in arrays.items()},
            notes=(
                *left_out(self.sample, self.splits, groups),
                *collapsed({v: self.at(v, 0) for v in self.values}),
                *notes,
                *below(metrics),
            ),
        )

    def at(self, version: str, k: int) -> Float:
        """The values of a version for the k-th split of a round, (n, p)."""
        arrays = self.values[version]
        return arrays[k] if len(arrays) > 1 else arrays[0]

    @cached_property
    def _twins(self) -> dict[str, str]:
        """Versions with the very values of one before: sites of one batch have nothing to do alone.

        They are judged once.
        """
        found: dict[str, str] = {}
        for version, arrays in self.values.items():
            for other, values in self.values.items():
                if other == version:
                    break
                if len(arrays) == len(values) and all(
                    np.array_equal(x, y, equal_nan=True)
                    for x, y in zip(arrays, values, strict=True)
                ):
                    found[version] = other
                    break
        return found

    def _groups(self) -> list[Judged]:
        groups = [
            judged(
                rows,
                self.sample,
                split=k,
                permutations=self.settings.permutations,
                seed=self.plan.seed,
            )
            for k, rows in enumerate(self.splits.judged)
        ]
        return [group for group in groups if group is not None]

    def _probes(self) -> tuple[list[Metric], list[str]]:
        sample, splits, seed = self.sample, self.splits, self.plan.seed
        probes = site_probes(seed)
        chosen = targets(sample, splits)
        shuffled = shuffles(
            sample.person, self.settings.permutations, seed=seed, purpose="biology band"
        )
        sites: dict[str, Predictions] = {}
        biology = [dict[str, Float]() for _ in chosen.found]
        for version in self.values:
            if twin := self._twins.get(version):
                sites[version] = sites[twin]
                for read in biology:
                    read[version] = read[twin]
                continue
            prepared = [
                [prepare(self.at(version, k), part) for k, part in enumerate(parts)]
                for parts in splits.rounds
            ]
            sites[version] = predictions(prepared, sample, splits, probes)
            for read, target in zip(biology, chosen.found, strict=True):
                read[version] = predict(target, prepared, sample, shuffled)
        if sample.W.shape[1]:
            prepared = [[prepare(sample.W, part) for part in parts] for parts in splits.rounds]
            sites["demographics"] = predictions(prepared, sample, splits, probes)
        metrics = site_metrics(
            sites, sample, splits, probes, permutations=self.settings.permutations, seed=seed
        )
        for read, target in zip(biology, chosen.found, strict=True):
            metrics += biology_metrics(read, target, sample, shuffled, seed=seed)
        return metrics, chosen.notes

    def _features(self, groups: Sequence[Judged]) -> tuple[list[Metric], Arrays]:
        if not groups:
            return [], {}
        found: dict[str, list[Found]] = {}
        scattered: dict[str, list[Spread]] = {}
        effects: dict[str, dict[str, Float]] = {}
        for version in self.values:
            if twin := self._twins.get(version):
                found[version], scattered[version] = found[twin], scattered[twin]
                effects[version] = effects[twin]
                continue
            X = [self.at(version, group.split) for group in groups]
            pairs = list(zip(X, groups, strict=True))
            found[version] = [f for x, group in pairs if (f := find(x, group))]
            scattered[version] = [s for x, group in pairs if (s := spread(x, group))]
            effects[version] = _means([standardized_effects(x, g, self.sample) for x, g in pairs])
        n = len(np.unique(np.concatenate([group.person for group in groups])))
        metrics = batch_metrics(found, groups, columns=self.sample.W.shape[1])
        metrics += spread_metrics(scattered, groups)
        metrics += kept_metrics(effects, self.sample.covariates, n=n)
        arrays: dict[str, NDArray[Any]] = {}
        for version, parts in found.items():
            arrays[f"{version}/eta2"] = np.mean([part.eta2 for part in parts], axis=0)
            if len(parts) == 1:  # p values of several groups have no mean
                arrays[f"{version}/anova_p"] = parts[0].p["anova"]
                arrays[f"{version}/levene_p"] = parts[0].p["levene"]
            for column, values in effects[version].items():
                arrays[f"{version}/effect/{column}"] = values
        return metrics, arrays

    def _travelers(self) -> tuple[list[Metric], list[str]]:
        travelers = block(self.sample)
        if travelers is None:
            return [], []
        if people := contradictions(self.sample):
            return [], [
                f"Travelers are not judged: '{people[0]}' differs between its rows in a category, "
                "so a participant_id may not be one person at all sites. A travelers.tsv says who "
                "travelled."
            ]
        n, k = travelers.rows.shape
        values = {}
        for version in self.values:
            values[version] = self.at(version, 0)
            if len(self.values[version]) > 1:  # everybody as the fit without him has it
                values[version] = values[version].copy()
                for i, part in enumerate(self.splits.rounds[0]):
                    values[version][part.test] = self.at(version, i)[part.test]
        said = [
            f"Travelers: {n} people in the {k} batches "
            f"{', '.join(self.sample.batches[b] for b in travelers.batches)}, of "
            f"{travelers.travelers} in all; whether in the fit or held out."
        ]
        return traveler_metrics(values, travelers, seed=self.plan.seed), said


def _scattered(values: NDArray[Any], varies: Bool) -> Float:
    """Back to one entry for every feature of the study."""
    whole = np.full(len(varies), np.nan)
    whole[varies] = values
    return whole


def _means(effects: Sequence[Mapping[str, Float]]) -> dict[str, Float]:
    return {name: np.mean([part[name] for part in effects], axis=0) for name in effects[0]}
