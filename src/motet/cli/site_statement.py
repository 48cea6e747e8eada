"""``motet site statement``: one page for an ethics board, of what is asked and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from motet.cli.show import console
from motet.errors import DeploymentError

SAID = {
    "schema": "names, units, levels of categories, names of scanners; where sums are masked, to a "
    "factor of 4, the number of rows and the largest value of every measure and covariate",
    "sum": "sums over people of this hospital; never a row of anybody",
    "update": "changes of a model after training here",
    "published": "this hospital's own estimates, as they are",
    "personal": "quantiles or anatomy of single people who consented to that",
}
MASKED = """\
Sums are masked: the coordinator reads what they come to over three hospitals or more. If it works
together with all other hospitals but this one, it can subtract theirs."""
NONE = "No noise is added."
PLAIN = "The coordinator reads this hospital's own sums: they are not masked."
PAGE = """\
# {study}: what leaves {site}

**What is computed.** {title} ({papers}). {summary} It removes differences between scanners
from {features} and keeps the effects of: {kept}.

**What stays.** Images, measures, ages, diagnoses and names of all people stay at the hospital,
as do the harmonized data and the report on them.

**What leaves**, declared beforehand array by array, and as large for few people as for many:

{leaves}

**Who reads it.**

{readers}

**What this hospital does not allow**, and its own software refuses before it computes:

- sums of fewer than {n} people, also of people held out to judge the result
- sums with 1 to {cell} people of a category
- where a covariate is a curve (a spline), sums that fewer than {basis} people, in effect, make up
- a person with a leverage of {leverage:g} or more, who could be read from the sums
- people who differ from those of an earlier release by fewer than {changed}, and more than
  {cohorts} different sets of people
- answers to more than {repeats} different questions in one step
- {plain}

**Approval.** No sum leaves without the word of the data manager for this very plan, for a
purpose and a time; the description above (schema) leaves when a study is asked for, since the plan
is made of it. It can be taken back at any time, and nothing leaves afterwards. What has
left cannot be called back. Who withdraws consent is left out of all later computations.

**Record.** Every release, approval and refusal stands in a ledger that shows any later change,
and that an auditor can check without the software.

**Not promised.** {masked} {noise} Several sums of many features can tell more
together than each alone.

Plan {plan}
State: {state}
"""


def statement(
    home: Annotated[Path, typer.Argument(help="The site's folder.")],
    study: Annotated[str, typer.Argument(help="A study's name, or how a plan's hash begins.")],
    out: Annotated[Path, typer.Option(help="The file to write (Markdown).")],
) -> None:
    """Write one page: what the study is, what would leave and who reads it, what is not allowed."""
    from motet.client.home import open_home
    from motet.phases import walk
    from motet.report.words import count, size
    from motet.store import atomic

    opened = open_home(home)
    plan = opened.pending.find(study).build()
    if out.exists():
        raise DeploymentError("There is a file of this name.", do="Name a new one.", file=out)
    settings, card = opened.settings, plan.harmonizer.card
    classes: dict[str, int] = {}
    for release in plan.releases():
        leaves = str(release.leaves)
        classes[leaves] = classes.get(leaves, 0) + release.bytes * release.times
    steps = [phase for phase, _ in walk((*plan.steps, *plan.evaluation)) if phase.readers]
    said = [f"- schema: {SAID['schema']}"]
    said += [f"- {name}: {SAID[name]} (at most {size(n)})" for name, n in classes.items()]
    with atomic(out) as stream:
        stream.write(
            PAGE.format(
                study=plan.study,
                site=settings.name,
                title=card.title,
                papers="; ".join(card.papers),
                summary=card.summary,
                features=count(len(plan.schema.features), "measure"),
                kept=", ".join(map(str, plan.schema.covariates)) or "none",
                leaves="\n".join(said),
                noise=_noise(plan.privacy, opened.budget().said()),
                masked=MASKED if plan.secure else PLAIN,
                readers="\n".join(f"- {phase.name}: {plan.readers(phase)}" for phase in steps),
                n=settings.policy.smallest_n,
                cell=settings.policy.smallest_cell - 1,
                basis=settings.policy.smallest_basis,
                leverage=settings.policy.leverage,
                changed=settings.policy.changed_by,
                cohorts=settings.policy.most_cohorts,
                repeats=settings.policy.repeats,
                plain="nothing about who reads its sums: the coordinator may"
                if settings.policy.plain_sums
                else "sums of this hospital's own that the coordinator could read",
                plan=plan.hash,
                state=opened.approvals().state(plan.hash),
            )
        )
    console.print(f"Written to {out}.", markup=False)


def _noise(said: dict[str, Any] | None, budget: str) -> str:
    """What noise covers, what it does not, and what the hospital has left to spend."""
    from motet.training.privacy import sentences

    if said is None:
        return NONE
    return " ".join((*sentences(said), f"Of this hospital's own budget, {budget}."))
