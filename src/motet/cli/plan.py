"""``motet plan``: the steps of a study, and every array that would leave a site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motet.cli.show import console, released, size, table
from motet.cli.show_training import (
    by_people,
    few_behind,
    likely_bytes,
    most_bytes,
    most_exchanges,
    trainings,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.bids.table import Table
    from motet.client.policy import SitePolicy
    from motet.phases import Phase
    from motet.plan import Plan


def plan(study: Annotated[Path, typer.Argument(help="The study file (YAML).")]) -> None:
    """Print the steps and what would leave each site. Nothing is sent or written."""
    from motet.client.policy import SitePolicy
    from motet.codes import of_codes
    from motet.config import load_study, naming
    from motet.phases import Agree, walk
    from motet.plan import Release, build_plan
    from motet.secure.circle import FEWEST
    from motet.sites import agreed, masks, open_sites
    from motet.strategies.trained import check_trainings
    from motet.training.privacy import sentences

    with naming(study):
        described = load_study(study)
        said: list[str] = []
        tables = open_sites(described, lambda site, words: said.append(f"{site}: {words}"))
        schema = agreed(described, tables)
        made = build_plan(described, schema)
        seen = masks(tables, made)
        fit = {site: int(mask.sum()) for site, mask in seen.items()}
        check_trainings(made, sum(fit.values()))
    console.print(
        f"{made.study}: {made.method}, {len(schema.features)} features (p), "
        f"{len(schema.columns)} covariate columns (q), {len(schema.batches)} batches at "
        f"{len(schema.sites)} sites\n"
        f"covariates: {', '.join(map(str, schema.covariates)) or 'none'}\nplan {made.hash}\n",
        markup=False,
    )
    said += of_codes(tables, schema, made.params)
    for words in said:
        console.print(f"note: {words}", markup=False)
    if said:
        console.print()
    table(
        ("step", "kind", "who", "leaves", "when"),
        [
            (
                phase.name,
                _kind(phase, times),
                phase.who,
                phase.leaves or "nothing",
                f"there are any '{phase.when}'" if phase.when else "always",
            )
            for phase, times in walk(made.steps)
        ]
        + [("harmonize", "Local", "all sites", "nothing", "always")]
        + [
            (phase.name, type(phase).__name__, phase.who, phase.leaves or "nothing", "always")
            for phase, _ in walk(made.evaluation)
        ],
    )
    agreement = next(phase for phase in made.phases if isinstance(phase, Agree))
    console.print(
        f"\n'{agreement.name}' tells the coordinator the names of features, units, covariates with "
        "type and levels, whether they vary, and batches"
        + (
            "; and, to a factor of 4, the number of rows and the largest value of every feature "
            "and covariate, which sums take their room from under masks"
            if made.secure
            else ""
        )
        + ".\n"
        "Each site would send, whatever the number of its people:",
        markup=False,
    )
    readers = {phase.name: made.readers(phase) for phase in made.phases}
    by_phase: dict[str, list[Release]] = {}
    for release in made.releases():
        title = f"{release.phase}: {release.leaves}, {release.who}; {readers[release.phase]}"
        by_phase.setdefault(title, []).append(release)
    for title, releases in by_phase.items():
        table(
            ("array", "shape", "type", "at most", "supported by", "meaning"),
            [released(r) for r in releases],
            title=f"\n{title}",
        )
    trainings(made, rows=sum(fit.values()))
    for sentence in _most(made, sum(fit.values())):
        console.print(f"\n{sentence}", markup=False)
    for sentence in sentences(made.privacy) if made.privacy else ():
        console.print(f"\n{sentence}", markup=False)
    policy = SitePolicy()
    if len(schema.sites) < FEWEST:
        console.print(
            f"\n{len(schema.sites)} sites: sums cannot be masked (of two, each could subtract "
            "itself), so that the coordinator reads each site's.",
            markup=False,
        )
    few = few_behind(made, fit, policy.smallest_n)
    refused = {
        site: [*_against(table, seen[site], made, policy), *few.get(site, ())]
        for site, table in tables.items()
    }
    plain = policy.against_plan(made)
    console.print(
        f"\nThe default site policy (n of {policy.smallest_n}, cells of {policy.smallest_cell} or "
        f"none, {policy.smallest_basis} in effect along a spline or none, no sums of a site's own) "
        "would "
        + (
            "refuse:\n"
            + (f"  all sites: {plain}\n" if plain else "")
            + "\n".join(f"  {site}: {'; '.join(why)}" for site, why in refused.items() if why)
            if plain or any(refused.values())
            else "let all of this leave. It also compares people with those of earlier studies."
        ),
        markup=False,
    )
    if any(refused.values()):
        console.print(
            "More people help, nobody held out (evaluation: {held_out: 0}), and fewer covariates, "
            "levels and knots; or a site decides otherwise in its site.yaml.",
            markup=False,
        )


def _most(plan: Plan, rows: int) -> Iterator[str]:
    """How much leaves in all: from every site, from single ones, and for single travelers."""
    from motet.phases import ALL
    from motet.training.phase import Train

    most: dict[str, int] = {}
    of_one = 0
    for release in plan.releases():
        if release.key:
            of_one += release.bytes * release.times
        else:
            most[release.who] = most.get(release.who, 0) + release.bytes * release.times
    total = most.pop(str(ALL), 0)
    if total or not (most or of_one):
        spared = sum(
            most_bytes(phase, plan) - likely_bytes(phase, plan, rows)
            for phase in plan.phases
            if isinstance(phase, Train) and by_people(phase, plan)
        )
        likely = f"; with the rows here about {size(total - spared)}" if spared > 0 else ""
        yield f"At most {size(total)} from every site{likely}."
    besides = "Besides, at" if total else "At"
    for who, count in sorted(most.items()):
        yield f"{besides} most {size(count)} from {who} alone."
    if of_one:
        yield (
            f"{besides} most {size(of_one)} from every site for each of the {len(plan.holders)} "
            "travelers, whom it scanned."
        )


def _kind(phase: Phase, times: int) -> str:
    """A phase's kind, and how often it runs at most."""
    from motet.training.phase import Train

    kind = type(phase).__name__
    if isinstance(phase, Train):
        return f"{kind}, at most {most_exchanges(phase):,} exchanges"
    return kind + (f", at most {times} times" if times > 1 else "")


def _against(table: Table, fit: NDArray[np.bool_], plan: Plan, policy: SitePolicy) -> list[str]:
    """What stands against sums over the people of a site, those held out for themselves.

    Parameters
    ----------
    table : Table
    fit : (n,) bool
        Who is in the fit.
    plan : Plan
    policy : SitePolicy
    """
    from motet.client.counts import groups
    from motet.releases import Leaves

    # What is one traveler's own leaves with that person's consent, whoever else is there.
    free = (None, Leaves.SCHEMA, Leaves.PERSONAL)
    sends = (p for p in plan.phases if plan.takes_part(table.site, p))
    if all(phase.leaves in free for phase in sends):
        return []
    groups_of = {"fit": fit, **({"held out": ~fit} if plan.evaluation else {})}
    found = groups(
        table, plan.schema, {n: m for n, m in groups_of.items() if m.any()}, by_feature=False
    )
    return list(dict.fromkeys(words for group in found for words in policy.against(group)))
