"""What leaves a site in an evaluation: every array of its four sums, declared.

The first axis ``VERSIONS`` is that of raw, local-only and harmonized values. No size depends on
how many people there are.
"""

from __future__ import annotations

from motet.releases import ArraySpec, Dim

VERSIONS = ("raw", "local_only", "harmonized")
V = len(VERSIONS)

DIMENSIONS = 256
"""Probes see at most so many dimensions; more features are projected to them."""

BINS = 256
"""Bins of the scores that an AUC is read from."""


def people() -> tuple[ArraySpec, ...]:
    """Round 1: how many there are, and about where their values lie."""
    return (
        ArraySpec(
            name="counts",
            shape=(3, "judged"),
            dtype="int64",
            least=0,
            meaning="rows of every batch in the fit, not in it, and those of them that are judged: "
            "a batch's column is one site's",
        ),
        ArraySpec(
            name="people",
            shape=(2,),
            dtype="int64",
            least=0,
            meaning="number of people, whose sessions are rows, and of those that are judged",
        ),
        ArraySpec(
            name="failed_alone",
            shape=(),
            dtype="int64",
            least=0,
            meaning="1 where the method failed on the site's own people, so that its values "
            "harmonized alone are raw, else 0",
        ),
        ArraySpec(
            name="observed",
            shape=("p",),
            dtype="int64",
            least=0,
            meaning="number of rows with a value of the feature",
        ),
        ArraySpec(
            name="sum_y",
            shape=(V, "p"),
            meaning="sum of every feature over all rows, raw, harmonized alone and harmonized",
        ),
        ArraySpec(
            name="sum_x",
            shape=("columns",),
            meaning="sum of every covariate and biology column over all rows",
            support="cell",
        ),
    )


def _columns(each: tuple[Dim, ...], whom: str) -> tuple[ArraySpec, ...]:
    """Moments of the design columns over people that are the same for every feature, or not."""
    suffix = "_of_incomplete" if each else ""
    return (
        ArraySpec(
            name=f"x{suffix}",
            shape=(*each, "columns"),
            meaning=f"sum of the columns about their centre over {whom}",
            support="cell",
        ),
        ArraySpec(
            name=f"xx{suffix}",
            shape=(*each, "columns", "columns"),
            meaning=f"products of the columns about their centre over {whom}",
            support="cell",
        ),
        ArraySpec(
            name=f"xx_within{suffix}",
            shape=(*each, "columns", "columns"),
            meaning=f"products of the columns, centred within batch, over {whom}",
            support="cell",
        ),
    )


def moments() -> tuple[ArraySpec, ...]:
    """Round 2: analysis of variance of the judged, and the scale of the people of the fit."""
    return (
        *_columns((), "the judged"),
        *_columns(("judged_incomplete",), "those of the judged who have a value of the feature"),
        ArraySpec(
            name="n_of_incomplete",
            shape=("judged_incomplete",),
            dtype="int64",
            least=0,
            meaning="number of the judged with a value",
        ),
        ArraySpec(
            name="batches_of_incomplete",
            shape=("judged_incomplete",),
            dtype="int64",
            least=0,
            meaning="number of the site's batches in which somebody judged has a value",
        ),
        ArraySpec(
            name="y", shape=(V, "p"), meaning="sum of every feature about its centre, the judged"
        ),
        ArraySpec(
            name="yy",
            shape=(V, "p"),
            least=0,
            meaning="squares of every feature about its centre, the judged",
        ),
        ArraySpec(
            name="yy_within",
            shape=(V, "p"),
            least=0,
            meaning="squares of every feature, centred within batch, the judged",
        ),
        ArraySpec(
            name="xy",
            shape=(V, "columns", "p"),
            meaning="products of columns and features about their centres, the judged",
            support="cell",
        ),
        ArraySpec(
            name="xy_within",
            shape=(V, "columns", "p"),
            meaning="products of columns and features, centred within batch, the judged",
            support="cell",
        ),
        ArraySpec(
            name="n_trained",
            shape=("p",),
            dtype="int64",
            least=0,
            meaning="number of people of the fit with a value of the feature",
        ),
        ArraySpec(
            name="y_trained",
            shape=(V, "p"),
            meaning="sum of every feature about its centre, people of the fit",
        ),
        ArraySpec(
            name="yy_trained",
            shape=(V, "p"),
            least=0,
            meaning="squares of every feature about its centre, people of the fit",
        ),
    )


def probes(dimensions: int, targets: int) -> tuple[ArraySpec, ...]:
    """Round 3: spread within batches, and the cross-products that probes are made of."""
    d, t = dimensions, targets
    return (
        ArraySpec(
            name="n_spread",
            shape=("p",),
            dtype="int64",
            least=0,
            meaning="rows judged with a value, of batches with two or more",
        ),
        ArraySpec(
            name="batches_spread",
            shape=("p",),
            dtype="int64",
            least=0,
            meaning="number of these batches of the site",
        ),
        ArraySpec(
            name="z",
            shape=(V, "p"),
            least=0,
            meaning="sum of the distances of residuals from their batch's median, the judged",
        ),
        ArraySpec(
            name="zz", shape=(V, "p"), least=0, meaning="squares of these distances, the judged"
        ),
        ArraySpec(
            name="zz_within",
            shape=(V, "p"),
            least=0,
            meaning="squares of these distances, centred within batch, the judged",
        ),
        ArraySpec(
            name="n_of_batch",
            shape=("judged",),
            dtype="int64",
            least=0,
            meaning="people of the fit of every batch: an entry is one site's",
        ),
        ArraySpec(
            name="f_of_batch",
            shape=(V, "judged", d),
            meaning="sum of the standardized features of every batch, people of the fit: a batch's "
            "row is one site's, and the weights made of it go to every site, which with few "
            "features gives away the batch's means",
        ),
        ArraySpec(
            name="ff_within",
            shape=(V, d, d),
            meaning="products of the standardized features, centred within batch, people of the "
            "fit",
        ),
        ArraySpec(
            name="f4",
            shape=(V,),
            least=0,
            meaning="fourth powers of people's distances from their batch's mean, people of the "
            "fit",
        ),
        ArraySpec(
            name="t",
            shape=(t,),
            meaning="sum of every covariate and biology column about its centre, people of the fit",
            support="cell",
        ),
        ArraySpec(
            name="tt",
            shape=(t,),
            least=0,
            meaning="squares of every covariate and biology column about its centre, people of the "
            "fit",
            support="cell",
        ),
        ArraySpec(
            name="tf",
            shape=(V, t, d),
            meaning="products of these columns and the standardized features, people of the fit",
            support="cell",
        ),
    )


def readings(targets: int, scored: int) -> tuple[ArraySpec, ...]:
    """Round 4: how the probes do on people that they have not seen."""
    t = targets
    return (
        ArraySpec(
            name="confusion",
            shape=(V, "judged", "judged"),
            dtype="int64",
            least=0,
            meaning="people of every batch by the batch that the probe takes them for: a batch's "
            "row is one site's",
        ),
        ArraySpec(name="n", shape=(), dtype="int64", least=0, meaning="people that are read"),
        ArraySpec(
            name="t",
            shape=(t,),
            meaning="sum of every covariate and biology column about the mean of the fit",
            support="cell",
        ),
        ArraySpec(
            name="tt",
            shape=(t,),
            least=0,
            meaning="squares of these columns about the mean of the fit",
            support="cell",
        ),
        ArraySpec(
            name="t3",
            shape=(t,),
            meaning="third powers of these columns about the mean of the fit",
            support="cell",
        ),
        ArraySpec(
            name="t4",
            shape=(t,),
            least=0,
            meaning="fourth powers of these columns about the mean of the fit",
            support="cell",
        ),
        ArraySpec(
            name="e1",
            shape=(V, t),
            least=0,
            meaning="absolute errors of the prediction of every column",
            support="cell",
        ),
        ArraySpec(
            name="ee",
            shape=(V, t),
            least=0,
            meaning="squared errors of the prediction of every column",
            support="cell",
        ),
        ArraySpec(
            name="e4",
            shape=(V, t),
            least=0,
            meaning="fourth powers of these errors",
            support="cell",
        ),
        ArraySpec(
            name="eet",
            shape=(V, t),
            meaning="products of squared errors and the columns about the mean of the fit",
            support="cell",
        ),
        ArraySpec(
            name="eett",
            shape=(V, t),
            least=0,
            meaning="products of squared errors and squared columns",
            support="cell",
        ),
        ArraySpec(
            name="scores",
            shape=(V, scored, 2, BINS),
            dtype="int64",
            least=0,
            meaning=f"people without and with a level, by {BINS} bins of their score",
            support="cell",
        ),
    )
