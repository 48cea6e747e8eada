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


Row = tuple[str, tuple[Dim, ...], str]
"""Name, shape and meaning of an array."""


def _counts(*rows: Row, support: str = "n") -> tuple[ArraySpec, ...]:
    """Of people, rows or batches."""
    return tuple(
        ArraySpec(name=name, shape=shape, meaning=meaning, support=support, dtype="int64", least=0)
        for name, shape, meaning in rows
    )


def _sums(*rows: Row, support: str = "n") -> tuple[ArraySpec, ...]:
    """Of either sign."""
    return tuple(
        ArraySpec(name=name, shape=shape, meaning=meaning, support=support)
        for name, shape, meaning in rows
    )


def _sizes(*rows: Row, support: str = "n") -> tuple[ArraySpec, ...]:
    """Sums of squares, and of others that are not below 0."""
    return tuple(
        ArraySpec(name=name, shape=shape, meaning=meaning, support=support, least=0)
        for name, shape, meaning in rows
    )


def people(*, by_batch: bool) -> tuple[ArraySpec, ...]:
    """Round 1: how many there are, and about where their values lie.

    Parameters
    ----------
    by_batch : bool
        Whether sums have a row for every batch.
    """
    counts: tuple[Row, ...] = (
        (
            "counts",
            (4,),
            "rows in the fit, not in it at the sites of the fit, at unseen sites, and those judged",
        ),
        ("batches", (2,), "number of batches with rows, and with rows that are judged"),
    )
    if by_batch:
        meaning = (
            "rows of every batch in the fit, not in it, and those of them that are judged: "
            "a batch's column is one site's"
        )
        counts = (("counts", (3, "judged"), meaning),)
    return (
        *_counts(
            *counts,
            (
                "people",
                (2,),
                "number of people, whose sessions are rows, and of those that are judged",
            ),
            (
                "failed_alone",
                (),
                "1 where the method failed on the site's own people, so that its values "
                "harmonized alone are raw, else 0",
            ),
            ("observed", ("p",), "number of rows with a value of the feature"),
        ),
        *_sums(
            (
                "sum_y",
                (V, "p"),
                "sum of every feature over all rows, raw, harmonized alone and harmonized",
            )
        ),
        *_sums(
            ("sum_x", ("columns",), "sum of every covariate and biology column over all rows"),
            support="cell",
        ),
    )


def _columns(suffix: str, each: tuple[Dim, ...], whom: str) -> tuple[ArraySpec, ...]:
    """Moments of the design columns over people that are the same for every feature, or not."""
    crossed = (*each, "columns", "columns")
    return _sums(
        (f"x{suffix}", (*each, "columns"), f"sum of the columns about their centre over {whom}"),
        (f"xx{suffix}", crossed, f"products of the columns about their centre over {whom}"),
        (
            f"xx_within{suffix}",
            crossed,
            f"products of the columns, centred within batch, over {whom}",
        ),
        support="cell",
    )


def moments() -> tuple[ArraySpec, ...]:
    """Round 2: analysis of variance of the judged, and the scale of the people of the fit."""
    incomplete: tuple[Dim, ...] = ("judged_incomplete",)
    return (
        *_columns("", (), "the judged"),
        *_columns(
            "_of_incomplete", incomplete, "those of the judged who have a value of the feature"
        ),
        *_counts(
            ("n_of_incomplete", incomplete, "number of the judged with a value"),
            (
                "batches_of_incomplete",
                incomplete,
                "number of the site's batches in which somebody judged has a value",
            ),
        ),
        *_sums(("y", (V, "p"), "sum of every feature about its centre, the judged")),
        *_sizes(
            ("yy", (V, "p"), "squares of every feature about its centre, the judged"),
            ("yy_within", (V, "p"), "squares of every feature, centred within batch, the judged"),
        ),
        *_sums(
            (
                "xy",
                (V, "columns", "p"),
                "products of columns and features about their centres, the judged",
            ),
            (
                "xy_within",
                (V, "columns", "p"),
                "products of columns and features, centred within batch, the judged",
            ),
            support="cell",
        ),
        *_counts(("n_trained", ("p",), "number of people of the fit with a value of the feature")),
        *_sums(("y_trained", (V, "p"), "sum of every feature about its centre, people of the fit")),
        *_sizes(
            ("yy_trained", (V, "p"), "squares of every feature about its centre, people of the fit")
        ),
    )


def _of_batches(d: int) -> tuple[ArraySpec, ...]:
    """What a probe that tells batches apart is made of, and one of biology too."""
    return (
        *_counts(
            ("n_of_batch", ("judged",), "people of the fit of every batch: an entry is one site's")
        ),
        *_sums(
            (
                "f_of_batch",
                (V, "judged", d),
                "sum of the standardized features of every batch, people of the fit: a batch's "
                "row is one site's, and the weights made of it go to every site, which with few "
                "features gives away the batch's means",
            ),
            (
                "ff_within",
                (V, d, d),
                "products of the standardized features, centred within batch, people of the fit",
            ),
        ),
        *_sizes(
            (
                "f4",
                (V,),
                "fourth powers of people's distances from their batch's mean, people of the fit",
            )
        ),
    )


def _of_all(d: int) -> tuple[ArraySpec, ...]:
    """What a probe of biology is made of."""
    return (
        *_counts(("n_trained", (), "people of the fit")),
        *_sums(
            ("f", (V, d), "sum of the standardized features, people of the fit"),
            ("ff", (V, d, d), "products of the standardized features, people of the fit"),
        ),
    )


def probes(d: int, t: int, *, by_batch: bool) -> tuple[ArraySpec, ...]:
    """Round 3: spread within batches, and the cross-products that probes are made of.

    Parameters
    ----------
    d : int
        Dimensions that the probes see.
    t : int
        Columns that they predict.
    by_batch : bool
        Whether there is a probe that tells batches apart.
    """
    return (
        *(_of_batches(d) if by_batch else _of_all(d)),
        *_counts(
            ("n_spread", ("p",), "rows judged with a value, of batches with two or more"),
            ("batches_spread", ("p",), "number of these batches of the site"),
        ),
        *_sizes(
            (
                "z",
                (V, "p"),
                "sum of the distances of residuals from their batch's median, the judged",
            ),
            ("zz", (V, "p"), "squares of these distances, the judged"),
            ("zz_within", (V, "p"), "squares of these distances, centred within batch, the judged"),
        ),
        *_sums(
            (
                "t",
                (t,),
                "sum of every covariate and biology column about its centre, people of the fit",
            ),
            (
                "tf",
                (V, t, d),
                "products of these columns and the standardized features, people of the fit",
            ),
            support="cell",
        ),
        *_sizes(
            (
                "tt",
                (t,),
                "squares of every covariate and biology column about its centre, people of the fit",
            ),
            support="cell",
        ),
    )


def readings(t: int, scored: int, *, by_batch: bool) -> tuple[ArraySpec, ...]:
    """Round 4: how the probes do on people that they have not seen.

    Parameters
    ----------
    t : int
        Columns that the probes predict.
    scored : int
        Those of them that are levels.
    by_batch : bool
        Whether there is a probe that tells batches apart.
    """
    confusion: Row = (
        "confusion",
        (V, "judged", "judged"),
        "people of every batch by the batch that the probe takes them for: a batch's row is one "
        "site's",
    )
    return (
        *_counts(*((confusion,) if by_batch else ()), ("n", (), "people that are read")),
        *_sums(
            ("t", (t,), "sum of every covariate and biology column about the mean of the fit"),
            ("t3", (t,), "third powers of these columns about the mean of the fit"),
            ("eet", (V, t), "products of squared errors and the columns about the mean of the fit"),
            support="cell",
        ),
        *_sizes(
            ("tt", (t,), "squares of these columns about the mean of the fit"),
            ("t4", (t,), "fourth powers of these columns about the mean of the fit"),
            ("e1", (V, t), "absolute errors of the prediction of every column"),
            ("ee", (V, t), "squared errors of the prediction of every column"),
            ("e4", (V, t), "fourth powers of these errors"),
            ("eett", (V, t), "products of squared errors and squared columns"),
            support="cell",
        ),
        *_counts(
            (
                "scores",
                (V, scored, 2, BINS),
                f"people without and with a level, by {BINS} bins of their score",
            ),
            support="cell",
        ),
    )
