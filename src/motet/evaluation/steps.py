"""The phases that judge a study from sums, so that nobody's rows are needed in one place.

They run after the sites have harmonized their people, and are part of the plan like a method's
own: printed, hashed, consented to, released through the gate. Every round sums raw, local-only and
harmonized values together. What the coordinator concludes for itself alone stands under
``judged/`` in what it knows; the rest the sites need for the next round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.config import Evaluation
from motet.evaluation import bounds, declared
from motet.evaluation.declared import V
from motet.evaluation.moments import send_moments, send_people
from motet.evaluation.predictors import discriminant, ridge
from motet.evaluation.probes import dimensions, send_probes
from motet.evaluation.readings import send_readings
from motet.evaluation.rows import Rows, rows, targets
from motet.evaluation.variance import Moments, Variance, brown_forsythe, variance
from motet.images.measures import contrasts_of
from motet.phases import Step, Sum
from motet.releases import Arrays, Size
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site

Float = NDArray[np.float64]

PRIVATE = "judged/"
"""Conclusions whose names begin so stay at the coordinator: no site needs them."""


def evaluation_steps(
    schema: Schema, settings: Evaluation, *, seed: int, by_batch: bool
) -> Sequence[Step]:
    """The four sums of an evaluation; none where the study asks for no metrics, or no controls.

    Parameters
    ----------
    schema : Schema
    settings : Evaluation
    seed : int
        Of the study: what is drawn (the projection of many features, who trains a probe where
        nobody is held out) depends on it and on persons, never on the site.
    by_batch : bool
        Whether sums have a row for every batch: see :class:`motet.config.Evaluation`.
    """
    if settings.metrics in ("none", "uncontrolled"):
        return ()
    sums = Sums(schema, settings.held_out, seed, by_batch)
    chosen = targets(schema)
    scored = sum(bool(target.level) for target in chosen)
    return (
        Sum(
            name="evaluation_people",
            on="all",
            reads="versions",
            arrays=declared.people(by_batch=by_batch),
            at_site=sums.send_people,
            at_coordinator=sums.centre,
            bounds=sums.bounds_of_people,
            sets=(Size(name="judged_incomplete", at_most="p"),),
        ),
        Sum(
            name="evaluation_moments",
            on="all",
            reads="versions",
            arrays=declared.moments(),
            at_site=sums.send_moments,
            at_coordinator=sums.analyse,
            bounds=sums.bounds_of_moments,
        ),
        Sum(
            name="evaluation_probes",
            on="all",
            reads="versions",
            arrays=declared.probes(
                dimensions(len(schema.features)), len(chosen), by_batch=by_batch
            ),
            at_site=sums.send_probes,
            at_coordinator=sums.make_probes,
            bounds=sums.bounds_of_probes,
        ),
        Sum(
            name="evaluation_readings",
            on="all",
            reads="versions",
            arrays=declared.readings(len(chosen), scored, by_batch=by_batch),
            at_site=sums.send_readings,
            at_coordinator=sums.take_readings,
            bounds=sums.bounds_of_readings,
        ),
    )


@dataclass(frozen=True)
class Sums:
    """Both halves of the four rounds, for one study."""

    schema: Schema
    held_out: float
    seed: int
    by_batch: bool

    @property
    def _category(self) -> NDArray[np.bool_]:
        covariates = self.schema.with_biology.covariates
        return np.array(
            [c.kind == "categorical" for c in covariates for _ in c.columns], dtype=bool
        )

    def _rows(self, site: Site, *, everybody: bool) -> Rows:
        return rows(site, everybody=everybody, held_out=self.held_out, seed=self.seed)

    def bounds_of_people(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """Of round 1."""
        return bounds.of_people(size, self.schema)

    def bounds_of_moments(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """Of round 2."""
        return bounds.of_moments(size, self.schema, shared)

    def bounds_of_probes(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """Of round 3."""
        return bounds.of_probes(size, self.schema, shared, seed=self.seed)

    def bounds_of_readings(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """Of round 4."""
        return bounds.of_readings(size, self.schema, shared)

    def send_people(self, site: Site, shared: Arrays) -> Arrays:
        """Round 1 at a site."""
        return send_people(site, self._rows(site, everybody=False), by_batch=self.by_batch)

    def centre(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Where to take sums about; whether anybody is held out; which features lack values."""
        counts = sums["counts"]
        if self.by_batch:
            total = max(int(counts[:2].sum()), 1)
            held_out = counts[1, : len(self.schema.batches)].sum()
        else:
            total, held_out = max(int(counts[:3].sum()), 1), counts[1]
        centre_x = sums["sum_x"] / total
        columns = dict(zip(self.schema.with_biology.columns, centre_x, strict=True))
        return {
            "everybody": np.asarray(held_out == 0),
            "centre": sums["sum_y"] / np.maximum(sums["observed"], 1),
            "centre_x": centre_x,
            "centre_t": np.array(
                [0.0 if t.level else columns[t.name] for t in targets(self.schema)]
            ),
            "judged_incomplete": np.flatnonzero(sums["observed"] < total).astype(np.int64),
            **{f"{PRIVATE}{name}": sums[name] for name in ("counts", "batches") if name in sums},
            "judged/people": sums["people"],
            "judged/failed_alone": sums["failed_alone"],
        }

    def send_moments(self, site: Site, shared: Arrays) -> Arrays:
        """Round 2 at a site."""
        rows = self._rows(site, everybody=bool(shared["everybody"]))
        return send_moments(site, shared, rows)

    def analyse(self, sums: Arrays, shared: Arrays) -> Arrays:
        """The analysis of variance, and the scale that probes standardize with."""
        n, batches = (float(count) for count in judged_rows(shared))
        incomplete = shared["judged_incomplete"].astype(np.intp)
        p, Q = len(self.schema.features), len(self._category)
        found = {
            name: np.full((V, p), np.nan) for name in ("judged/anova_p", "judged/eta2", "judged/r2")
        }
        effect, beta = np.full((V, Q, p), np.nan), np.zeros((V, Q, p))
        complete = np.setdiff1d(np.arange(p), incomplete)

        def put(v: int, features: NDArray[np.intp], result: Variance) -> None:
            found["judged/anova_p"][v, features] = result.p
            found["judged/eta2"][v, features] = result.eta2
            found["judged/r2"][v, features] = result.r2
            effect[v][:, features], beta[v][:, features] = result.effect, result.beta

        for v in range(V):
            of_all = {name: sums[name] for name in ("x", "xx", "xx_within")}
            put(v, complete, self._variance(sums, v, complete, n=n, batches=batches, **of_all))
            for i, j in enumerate(incomplete):
                own = {
                    name: sums[f"{name}_of_incomplete"][i]
                    for name in ("n", "batches", "x", "xx", "xx_within")
                }
                put(v, np.array([j]), self._variance(sums, v, np.array([j]), **own))
        # A feature that is constant in the raw data says nothing in any version.
        flat = ~np.isfinite(found["judged/eta2"][0]) & ~np.isfinite(effect[0]).any(axis=0)
        for array in (*found.values(), effect):
            array[..., flat] = np.nan
        trained = np.maximum(sums["n_trained"], 1)
        off = sums["y_trained"] / trained
        square = sums["yy_trained"] / trained - off**2
        varies = square > 1e-12 * sums["yy_trained"] / trained
        return {
            **found,
            "judged/effect": effect,
            "beta": beta,
            "mean": shared["centre"] + off,
            "per_sd": np.where(varies, 1.0 / np.sqrt(np.where(varies, square, 1.0)), 0.0),
        }

    def _variance(self, sums: Arrays, v: int, features: NDArray[np.intp], **own: Any) -> Variance:
        """One version's analysis of features whose people are the same."""
        of_features = {name: sums[name][v][..., features] for name in ("y", "yy", "yy_within")}
        crossed = {name: sums[name][v][:, features] for name in ("xy", "xy_within")}
        m = Moments(**own, **of_features, **crossed)
        return variance(m, category=self._category)

    def send_probes(self, site: Site, shared: Arrays) -> Arrays:
        """Round 3 at a site."""
        rows = self._rows(site, everybody=bool(shared["everybody"]))
        return send_probes(site, shared, rows, seed=self.seed, by_batch=self.by_batch)

    def make_probes(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Levene's test, and the probes: ridge for biology, a discriminant of batches."""
        found, of_biology = self._of_batches(sums, shared) if self.by_batch else ({}, sums)
        people = max(float(of_biology["n_trained"]), 1.0)
        probes = [
            ridge(people, f, ff, sums["t"], sums["tt"], tf)
            for f, ff, tf in zip(of_biology["f"], of_biology["ff"], sums["tf"], strict=True)
        ]
        # No probe of age, sex and the like alone: its weights, which every site needs, would let a
        # site solve for the others' means of these columns. A simulation has that probe.
        distances = {name: sums[name] for name in ("z", "zz", "zz_within")}
        varies = np.isfinite(shared["judged/eta2"][0])
        p = brown_forsythe(
            distances,
            n=sums["n_spread"].astype(np.float64),
            batches=sums["batches_spread"].astype(np.float64),
        )
        mean = sums["t"] / people
        return {
            **found,
            "judged/levene_p": np.where(varies, p, np.nan),
            "ridge": np.array([probe.weights for probe in probes]),
            "ridge_offset": np.array([probe.offset for probe in probes]) + shared["centre_t"],
            "target_mean": mean + shared["centre_t"],
            "target_sd": np.sqrt(np.maximum(sums["tt"] / people - mean**2, 0.0)),
        }

    def _of_batches(self, sums: Arrays, shared: Arrays) -> tuple[dict[str, Any], Arrays]:
        """The discriminant of batches, and what a probe of biology needs of their sums."""
        n, by_batch = sums["n_of_batch"].astype(np.float64), sums["f_of_batch"]
        each = zip(by_batch, sums["ff_within"], sums["f4"], strict=True)
        probes = [discriminant(n, of, within, float(fourth)) for of, within, fourth in each]
        means = by_batch / np.maximum(n, 1.0)[:, None]
        between = (n[:, None] * means).transpose(0, 2, 1) @ means
        found = {
            **self._intensities(sums, shared, n),
            "classes": n > 1,
            "discriminant": np.array([probe.weights for probe in probes]),
            "discriminant_offset": np.array([probe.offset for probe in probes]),
        }
        return found, {
            "n_trained": n.sum(),
            "f": by_batch.sum(axis=1),
            "ff": sums["ff_within"] + between,
        }

    def _intensities(self, sums: Arrays, shared: Arrays, n: NDArray[np.float64]) -> Arrays:
        """Of images, the batches' mean measures: their distributions of intensities."""
        if not contrasts_of(self.schema.features):
            return {}
        sd = np.where(
            shared["per_sd"] > 0, 1.0 / np.where(shared["per_sd"] > 0, shared["per_sd"], 1.0), 0.0
        )
        means = (
            sums["f_of_batch"] / np.maximum(n, 1.0)[:, None] * sd[:, None] + shared["mean"][:, None]
        )
        return {f"{PRIVATE}batch_mean": np.where(n[:, None] > 0, means, np.nan)}

    def send_readings(self, site: Site, shared: Arrays) -> Arrays:
        """Round 4 at a site."""
        rows = self._rows(site, everybody=bool(shared["everybody"]))
        return send_readings(site, shared, rows, seed=self.seed, by_batch=self.by_batch)

    def take_readings(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Nothing leaves the coordinator any more."""
        return {
            f"{PRIVATE}{'n_read' if name == 'n' else name}": array for name, array in sums.items()
        }


def judged_rows(shared: Arrays) -> tuple[int, int]:
    """How many rows are judged, and of how many batches."""
    counts, everybody = shared["judged/counts"], bool(shared["everybody"])
    if "judged/batches" in shared:
        n = counts[:3].sum() if everybody else counts[3]
        return int(n), int(shared["judged/batches"][0 if everybody else 1])
    of_batch = counts[0] + counts[1] if everybody else counts[2]
    return int(of_batch.sum()), int((of_batch > 0).sum())
