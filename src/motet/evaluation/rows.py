"""Whom an evaluation judges at a site, and on whom its probes are trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.cohort import in_fit
from motet.harmonizers._linear.design import design_matrix
from motet.schema import Schema
from motet.site import Site, draw

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]

TRAINED = 2 / 3
"""Share of people that probes are trained on where the study holds nobody out."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Masks over the rows of a site, (n,) bool each.

    Attributes
    ----------
    judged : those held out, of batches that somebody of the fit belongs to (a batch of which
        everybody is held out was harmonized with effects of these very people); everybody where
        the study holds nobody out.
    trained : those that the probes are trained on: the people of the fit. At a site that took no
        part in it, those whom the same draw would have put there.
    read : those that the probes are read on: judged, and not trained on.
    """

    judged: Bool
    trained: Bool
    read: Bool


def rows(site: Site, *, everybody: bool, held_out: float, seed: int) -> Rows:
    """Choose the rows of a site.

    Where nobody is held out, a draw that depends on the person alone keeps a third from the
    probes: a probe read on those it was trained on would find a site effect in noise.

    Parameters
    ----------
    site : Site
    everybody : bool
        Whether the study holds nobody out.
    held_out : float
        Share that it holds out.
    seed : int
    """
    people, batch = site.data.people, site.data.batch
    if not everybody:
        unseen = site.name in {batch.site for batch in site.schema.unseen}
        trained = in_fit(people, held_out=held_out, seed=seed) if unseen else site.fit
        judged = ~trained & (np.isin(batch, batch[trained]) | unseen)
        return Rows(judged=judged, trained=trained, read=judged)
    chosen = {
        person: draw(seed, "probe", str(person)).random() < TRAINED
        for person in set(people.tolist())
    }
    trained = np.array([chosen[person] for person in people.tolist()], dtype=bool)
    return Rows(judged=np.ones(len(people), dtype=bool), trained=trained, read=~trained)


def groups(batch: NDArray[np.str_]) -> list[NDArray[np.intp]]:
    """The rows of every batch, batches in sorted order."""
    return [np.flatnonzero(batch == name) for name in sorted(set(batch.tolist()))]


def positions(site: Site) -> NDArray[np.intp]:
    """Number of every row's batch among ``schema.judged``, (n,) int."""
    number = {(b.site, b.name): k for k, b in enumerate(site.schema.judged)}
    at = {name: number[site.name, name] for name in site.data.batches}
    return np.array([at[name] for name in site.data.batch.tolist()], dtype=np.intp)


def design(site: Site) -> Float:
    """Design columns of covariates, then of biology columns, (n, columns)."""
    return design_matrix(site.data, site.schema.with_biology)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a biology probe predicts: a number, or whether somebody has a level."""

    name: str
    level: str = ""

    def of(self, site: Site) -> Float:
        """Its values, (n,)."""
        values = site.data.covariates[self.name].to_numpy()
        return np.asarray(values == self.level if self.level else values, dtype=np.float64)


def targets(schema: Schema) -> tuple[Target, ...]:
    """One for a number or a category of two levels, one a level for a category of more."""
    found = []
    for covariate in schema.with_biology.covariates:
        if covariate.kind == "continuous":
            found.append(Target(name=covariate.name))
            continue
        levels = covariate.levels[1:] if len(covariate.levels) == 2 else covariate.levels
        found += [Target(name=covariate.name, level=level) for level in levels]
    return tuple(found)


def target_values(site: Site) -> Float:
    """The values of all targets, (n, targets)."""
    chosen = targets(site.schema)
    found = np.zeros((len(site.data), len(chosen)))
    for i, target in enumerate(chosen):
        found[:, i] = target.of(site)
    return found
