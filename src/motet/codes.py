"""Numbers that may be codes of categories, as only somebody who has all sites' tables can see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from motet.bids.table import Table
from motet.errors import listed
from motet.harmonizer import Params
from motet.schema import Covariate, Schema

FEW_NUMBERS = 6
"""So many different whole numbers of a covariate may be codes: a sex, a diagnosis, a handedness."""
FEW_CODES = 4
"""So many values of all sites may be codes that differ among them: ages of children differ, too."""


def of_codes(
    tables: Mapping[str, Table], schema: Schema, params: Params, *, least: int = 2
) -> Iterator[str]:
    """Sentences about codes that are read as numbers, and those that differ among sites.

    Parameters
    ----------
    tables : mapping of str to Table
    schema : Schema
    params : Params
    least : int
        Of so many values. Two make the same model either way, but of numbers no policy counts the
        people of each.
    """
    few = {
        c.name: values
        for c in schema.with_biology.covariates
        if (values := _whole(c, tables)) and len(set().union(*values.values())) <= FEW_NUMBERS
    }
    if unsaid := [
        c.name
        for c in schema.covariates
        if c.kind == "continuous"
        and params.covariates.get(c.name, "auto") == "auto"
        and len(set().union(*few.get(c.name, {}).values())) >= least
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
    """Sites with other values than the others, each with one that these lack."""
    sets: dict[frozenset[float], list[str]] = {}
    for site, own in values.items():
        sets.setdefault(frozenset(own), []).append(site)
    # Who has some of what others have fits to them: a site of men, or of patients.
    largest = {own: sites for own, sites in sets.items() if not any(own < other for other in sets)}
    if len(largest) > 1 and len(set().union(*largest)) <= FEW_CODES:
        # Which values a hospital's people have is not said: it stands in reports, too.
        said = "; ".join(listed(sites) for sites in largest.values())
        yield f"'{name}' has other whole numbers at {said}: is a number the same code everywhere?"
