"""One schema from all sites' descriptions, or which site does not fit and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from motet.errors import SchemaError, listed
from motet.scale import LARGEST, SMALLEST, Scale, largest
from motet.schema import Batch, Covariate, Schema, SiteCovariate, SiteSchema

FARTHEST = 10
"""Powers of 4."""
GRID_ROUNDING = 2e-4
"""mm; sites describe affines to 1e-4."""


def agree(
    described: Sequence[SiteSchema],
    *,
    biology: Collection[str] = (),
    unseen: Collection[str] = (),
) -> Schema:
    """Make one schema of all sites' descriptions.

    Features, their order and units must be equal; covariates must have one type; levels are the
    sorted union. The order of `described` does not matter.

    Parameters
    ----------
    described : sequence of SiteSchema
    biology : collection of str
        Covariates that are read in the evaluation only.
    unseen : collection of str
        Sites that take no part in the fit: they need what the others agreed on, and add nothing
        to it but their batches.

    Raises
    ------
    SchemaError
        Names the site and the feature, covariate or unit that differs.
    """
    everybody = sorted(described, key=lambda d: d.site)
    sites = [site for site in everybody if site.site not in unseen]
    if not sites:
        raise SchemaError("No site described its data.")
    _equal_features(sites)
    number = {covariate.name: i for i, covariate in enumerate(sites[0].covariates)}
    schema = Schema(
        features=sites[0].features,
        units=_common_units(sites),
        covariates=tuple(_covariate(i, sites) for name, i in number.items() if name not in biology),
        biology=tuple(_biology(i, sites) for name, i in number.items() if name in biology),
        batches=tuple(sorted(Batch(s.site, name) for s in sites for name in s.batches)),
        grid=_common_grid(sites),
    )
    newcomers = [site for site in everybody if site.site in unseen]
    for site in newcomers:
        _check_newcomer(site, sites, schema)
    of_newcomers = tuple(sorted(Batch(s.site, name) for s in newcomers for name in s.batches))
    keys = sorted({key for site in sites for key in site.holds})
    return replace(
        schema,
        unseen=of_newcomers,
        scale=_common_scale(everybody, schema, number),
        holders=tuple((key, at) for key in keys if len(at := _holding(key, sites)) > 1),
    )


def _holding(key: str, sites: Sequence[SiteSchema]) -> tuple[str, ...]:
    return tuple(site.site for site in sites if key in site.holds)


def _refuse_outliers(sites: Sequence[SiteSchema]) -> None:
    """Refuse a feature that is a million times larger at one site than at most others.

    Everybody's sums take their room from the largest: theirs would be rounded away.
    """
    powers = np.array([site.scale.features for site in sites if site.scale is not None])
    lowest = np.where(powers > SMALLEST, powers, LARGEST).min(axis=0)
    for j in np.flatnonzero(powers.max(axis=0) - lowest > FARTHEST).tolist():
        known = sorted(power for power in powers[:, j].tolist() if power > SMALLEST)
        usual = known[(len(known) - 1) // 2]
        for site, power in zip(sites, powers[:, j].tolist(), strict=True):
            if power > usual + FARTHEST:
                raise SchemaError(
                    f"'{sites[0].features[j]}' reaches 4^{power} here, and 4^{usual} at most other "
                    "sites.",
                    do="Look for a unit that differs, or a cell with a slip of the pen.",
                    site=site.site,
                    feature=sites[0].features[j],
                )


def _common_scale(
    sites: Sequence[SiteSchema], schema: Schema, number: Mapping[str, int]
) -> Scale | None:
    """What bounds the numbers of all; None where there are too few sites to mask anything."""
    scales = [site.scale for site in sites if site.scale is not None]
    if len(scales) < len(sites):
        return None
    _refuse_outliers(sites)
    found = largest(scales)
    order = [number[c.name] for c in (*schema.covariates, *schema.biology)]
    return replace(found, covariates=tuple(found.covariates[i] for i in order))


def _check_newcomer(site: SiteSchema, sites: Sequence[SiteSchema], schema: Schema) -> None:
    """Refuse an unseen site whose data the finished model could not be applied to."""
    _equal_features([*sites, site])
    _common_grid([*sites, site])
    _common_units([*sites, site])
    known = {covariate.name: covariate for covariate in schema.with_biology.covariates}
    for i, covariate in enumerate(site.covariates):
        _common_kind(i, [*sites, site])
        levels = known[covariate.name].levels
        if new := [level for level in covariate.levels if level not in levels]:
            raise SchemaError(
                f"'{covariate.name}' is {listed(new)} for somebody here, at a site that takes no "
                f"part in the fit; the sites that do have {listed(levels)}.",
                do="Let it take part in the fit, or leave these people out.",
                site=site.site,
                file="participants.tsv",
                column=covariate.name,
            )


def _usual(sites: Sequence[SiteSchema]) -> tuple[str, ...]:
    """The feature list that most sites have; the first site's when there is a tie."""
    counts: dict[tuple[str, ...], int] = {}
    for site in sites:
        counts[site.features] = counts.get(site.features, 0) + 1
    return max(counts, key=lambda features: counts[features])


def _equal_features(sites: Sequence[SiteSchema]) -> None:
    usual = _usual(sites)
    for site in sites:
        if site.features == usual:
            continue
        missing = [f for f in usual if f not in set(site.features)]
        extra = [f for f in site.features if f not in set(usual)]
        others = listed(s.site for s in sites if s.features == usual)
        if missing or extra:
            lacks = f"lacks the feature(s) {listed(missing)}" if missing else ""
            has = f"has the feature(s) {listed(extra)}, which they lack" if extra else ""
            raise SchemaError(
                f"Compared with {others}, this site {' and '.join(w for w in (lacks, has) if w)}.",
                do="All sites need the same features: add or drop these columns.",
                site=site.site,
                feature=(missing + extra)[0],
            )
        k = next(i for i, f in enumerate(usual) if site.features[i] != f)
        raise SchemaError(
            f"The features are in another order than at {others}: feature {k + 1} is "
            f"'{site.features[k]}' here and '{usual[k]}' there.",
            do="Bring the columns into the same order at every site.",
            site=site.site,
            feature=site.features[k],
        )


def _common_grid(sites: Sequence[SiteSchema]) -> tuple[float, ...]:
    """The grid that the images of all sites lie on; () where they need none."""
    grids = [site.grid for site in sites]
    usual = max(grids, key=lambda grid: sum(same_grid(grid, other) for other in grids))
    for site in sites:
        if not same_grid(site.grid, usual):
            others = listed(s.site for s in sites if same_grid(s.grid, usual))
            raise SchemaError(
                f"The images lie on another grid ({grid_in_words(site.grid)}) than at {others} "
                f"({grid_in_words(usual)}).",
                do="Resample the images of all sites to one template.",
                site=site.site,
            )
    return usual


def same_grid(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Equal to two units of what they are rounded to."""
    return len(one) == len(other) and all(
        abs(a - b) <= GRID_ROUNDING for a, b in zip(one, other, strict=True)
    )


def grid_in_words(grid: tuple[float, ...]) -> str:
    """A grid for people."""
    if not grid:
        return "none"
    shape = " x ".join(f"{n:g}" for n in grid[:3])
    rows = "; ".join(" ".join(f"{v:g}" for v in grid[i : i + 4]) for i in (3, 7, 11))
    return f"{shape} voxels, affine {rows}"


def _common_units(sites: Sequence[SiteSchema]) -> tuple[str, ...]:
    units = list(sites[0].units)
    for site in sites[1:]:
        if site.units == sites[0].units:
            continue
        for j, unit in enumerate(site.units):
            if unit and units[j] and unit != units[j]:
                raise SchemaError(
                    f"The unit is '{unit}' here and '{units[j]}' at {sites[0].site}.",
                    do="Convert the values, or correct features.json.",
                    site=site.site,
                    feature=site.features[j],
                )
            units[j] = units[j] or unit
    return tuple(units)


def _common_kind(i: int, sites: Sequence[SiteSchema]) -> SiteCovariate:
    """The covariate as most sites have it; refuse one that has another type or spline."""
    found = [site.covariates[i] for site in sites]
    kinds = [f"a {c.spline}" if c.spline else c.kind for c in found]
    usual = max(kinds, key=kinds.count)
    first = found[kinds.index(usual)]
    for site, kind in zip(sites, kinds, strict=True):
        if kind != usual:
            others = listed(s.site for s, k in zip(sites, kinds, strict=True) if k == usual)
            raise SchemaError(
                f"'{first.name}' is {kind} here and {usual} at {others}.",
                do="Code it the same way everywhere, or state its type in the study file: "
                f"covariates: {{{first.name}: continuous}}.",
                site=site.site,
                file="participants.tsv",
                column=first.name,
            )
    return first


def _biology(i: int, sites: Sequence[SiteSchema]) -> Covariate:
    """A column that is read only: it may vary between sites alone, but it has to vary."""
    first = _common_kind(i, sites)
    levels = sorted({level for site in sites for level in site.covariates[i].levels})
    if first.kind == "categorical" and len(levels) == 1:
        raise SchemaError(
            f"'{first.name}' is '{levels[0]}' for everybody: it says nothing of biology.",
            do="Take it out of evaluation.biology.",
            column=first.name,
        )
    return Covariate(name=first.name, kind=first.kind, levels=tuple(levels))


def _covariate(i: int, sites: Sequence[SiteSchema]) -> Covariate:
    first = _common_kind(i, sites)
    if first.kind == "continuous":
        covariate = Covariate(name=first.name, kind="continuous", spline=first.spline)
        return _checked_variation(covariate, i, sites)
    levels = sorted({level for site in sites for level in site.covariates[i].levels})
    covariate = Covariate(
        name=first.name,
        kind="categorical",
        levels=tuple(levels),
        sites_with_level=tuple(
            tuple(s.site for s in sites if level in s.covariates[i].levels) for level in levels
        ),
    )
    return _common_coding(_checked_variation(covariate, i, sites), i, sites)


def _common_coding(covariate: Covariate, i: int, sites: Sequence[SiteSchema]) -> Covariate:
    """Refuse levels in groups which no site connects: M and F here, 1 and 2 there.

    The groups' indicators would add up to the sites' own, so nothing could be estimated. A single
    level that stands apart is confounded with its sites; the coordinator's rank check says so.
    """
    groups: list[set[str]] = []
    for site in sites:
        levels = set(site.covariates[i].levels)
        touching = [group for group in groups if group & levels]
        groups = [group for group in groups if group not in touching]
        groups.append(levels.union(*touching))
    if sum(len(group) > 1 for group in groups) > 1:
        said = "; ".join(f"{s.site}: {', '.join(s.covariates[i].levels)}" for s in sites[:6])
        raise SchemaError(
            f"The sites have no common coding of '{covariate.name}' ({said}).",
            do="Code the same category the same way everywhere; a category that only some sites "
            "have is fine where another connects them.",
            column=covariate.name,
        )
    return covariate


def _checked_variation(covariate: Covariate, i: int, sites: Sequence[SiteSchema]) -> Covariate:
    """Refuse a covariate that varies within no batch: nothing can tell it from the scanner."""
    if any(site.covariates[i].varies for site in sites):
        return covariate
    everywhere = listed(site.site for site in sites)
    if covariate.kind == "categorical" and len(covariate.levels) == 1:
        raise SchemaError(
            f"'{covariate.name}' is '{covariate.levels[0]}' for everybody at {everywhere}.",
            do="A constant covariate cannot be kept apart: take it out of the study file.",
            column=covariate.name,
        )
    if covariate.kind == "categorical":
        where = "; ".join(
            f"'{level}' only at {listed(at)}"
            for level, at in zip(covariate.levels, covariate.sites_with_level, strict=True)
        )
        raise SchemaError(
            f"'{covariate.name}' is confounded with site: {where}. Within every batch it is "
            "constant, so its effect cannot be told from the scanner's.",
            do="Leave it out, or add sites that have both levels.",
            column=covariate.name,
        )
    raise SchemaError(
        f"'{covariate.name}' is constant within every batch of {everywhere}: it is constant "
        "overall or confounded with site, and its effect cannot be told from the scanner's.",
        do="Leave it out, or add sites where it varies.",
        column=covariate.name,
    )
