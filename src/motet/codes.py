"""Numbers that may be codes of categories, as only somebody who has all sites' tables can see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from motet.bids.table import Table
from motet.errors import listed
from motet.harmonizer import Params
from motet.schema import Covariate, Schema

FEW_NUMBERS = 6
"""So many different whole numbers of a covariate may be codes: a sex, a diagnosis, a handedness."""


def of_codes(tables: Mapping[str, Table], schema: Schema, params: Params) -> Iterator[str]:
    """Sentences about codes that are read as numbers, and those that differ among sites."""
    few = {
        c.name: values
        for c in schema.with_biology.covariates
        if (values := _whole(c, tables)) and len(set().union(*values.values())) <= FEW_NUMBERS
    }
    # Two values are one column either way.
    if unsaid := [
        c.name
        for c in schema.covariates
        if c.kind == "continuous"
        and params.covariates.get(c.name, "auto") == "auto"
        and len(set().union(*few.get(c.name, {}).values())) > 2
    ]:
        kinds = ", ".join(f"{name}: categorical" for name in unsaid)
        more = ", …" * (len(unsaid) < len(schema.covariates))
        yield (
            f"{listed(unsaid)}: few whole numbers, read as numbers. If they are codes of "
            f"categories, write covariates: {{{kinds}{more}}} in the study's params."
        )
    for name, values in few.items():
        yield from _other_codes(name, values)


def _whole(covariate: Covariate, tables: Mapping[str, Table]) -> dict[str, set[float]]:
    """Site -> values of a covariate; empty where not all are whole numbers, or there is one."""
    found = {}
    for site, table in tables.items():
        try:
            found[site] = {float(value) for value in table.covariates[covariate.name]}
        except ValueError:
            return {}
    every = set().union(*found.values())
    return found if len(every) > 1 and all(value.is_integer() for value in every) else {}


def _other_codes(name: str, values: Mapping[str, set[float]]) -> Iterator[str]:
    """Sites that lack a value which half of the others have, and have one that no other has."""
    for site, own in values.items():
        others = [has for other, has in values.items() if other != site]
        everywhere = Counter(value for has in others for value in has)
        lacks = {v for v, times in everywhere.items() if 2 * times >= len(others)} - own
        alone = own - everywhere.keys()
        if lacks and alone:
            here, there = (_said(v) for v in (own, set().union(*others)))
            yield (
                f"'{name}' is {here} at {site} and {there} at the others: is a number the same "
                "code everywhere?"
            )


def _said(values: set[float]) -> str:
    return listed([f"{value:g}" for value in sorted(values)])
