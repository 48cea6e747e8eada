"""``motet site studies|preview|approve|revoke|override``: the data manager's word."""

from __future__ import annotations

import getpass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motet.cli.show import console, released, table
from motet.cli.show_training import few_behind, trainings
from motet.errors import DeploymentError

if TYPE_CHECKING:
    from motet.client.home import SiteHome
    from motet.client.pending import Pending

Home = Annotated[Path, typer.Argument(help="The site's folder.")]
Study = Annotated[str, typer.Argument(help="A study's name, or the beginning of a plan's hash.")]
DAYS = 90
"""How long an approval holds where nothing else is said."""


def studies(home: Home) -> None:
    """List the plans that the coordinator asked for, and whether they are approved."""
    from motet.client.home import open_home

    opened = open_home(home)
    approvals = opened.approvals()
    rows = [
        (one.plan[:12], one.study, str(one.document["study"]["method"]), approvals.state(one.plan))
        for one in opened.pending.all()
    ]
    if not rows:
        console.print("Nothing was asked for yet.")
        return
    table(("plan", "study", "method", "state"), rows)


def preview(home: Home, study: Study) -> None:
    """Print every array that would leave, and the counts of people behind it. Nothing leaves."""
    from motet.client.home import open_home
    from motet.phases import walk
    from motet.training.privacy import sentences

    opened = open_home(home)
    found = opened.pending.find(study)
    plan = found.build()
    columns = ", ".join(map(str, plan.schema.covariates)) or "none"
    biology = ", ".join(c.name for c in plan.schema.biology) or "none"
    console.print(
        f"{plan.study}: {plan.method}; plan {plan.hash}\n"
        f"sites: {', '.join(plan.schema.sites)}; not in the fit: "
        f"{', '.join(plan.unseen) or 'none'}\n"
        f"covariates: {columns}; read beside them: {biology}\n"
        f"held out: {plan.held_out:.0%}, seed {plan.seed}; "
        f"options: {plan.params.model_dump(mode='json', exclude_defaults=True)}\n",
        markup=False,
    )
    table(
        ("phase", "class", "array", "shape", "type", "at most", "behind it", "meaning"),
        [(r.phase, str(r.leaves), *released(r)) for r in plan.releases()],
    )
    trainings(plan)
    settings = opened.settings
    groups = found.behind(
        settings.data,
        settings.name,
        lambda sentence: console.print(f"\nnote: {sentence}", markup=False),
    )
    console.print("\nBehind the sums at this site:", markup=False)
    for group in groups:
        cells = [f"{name} = {level}: {n}" for (name, level), n in group.cells.items()]
        basis = [f"{name} {where}: {n:.1f} in effect" for (name, where), n in group.basis.items()]
        words = [f"{group.people} people", *cells, *basis, f"largest leverage {group.leverage:.2f}"]
        console.print(f"  {group.group}: {', '.join(words)}", markup=False)
    why = [words for group in groups for words in settings.policy.against(group)]
    if said := settings.policy.against_plan(plan):
        why.append(said)
    if not settings.policy.allows(plan.method):
        why.append(f"{plan.method} is not among the policy's methods")
    if plan.privacy is not None:
        budget = opened.budget()
        for sentence in (*sentences(plan.privacy), f"This site's budget: {budget.said()}."):
            console.print(f"\n{sentence}", markup=False)
        why += [said for one in plan.private if (said := budget.against(one))]
    here = sum(group.people for group in groups if group.group == "fit")
    alike = dict.fromkeys((site for site in plan.schema.sites if site not in plan.unseen), here)
    few = few_behind(plan, alike, settings.policy.smallest_n).get(settings.name, [])
    if why:
        console.print("The policy would refuse: " + "; ".join(why), markup=False)
    elif not few:
        console.print(
            "The policy lets all of it leave, as far as people are counted; earlier releases are "
            "compared when it is asked for.",
            markup=False,
        )
    if few:
        console.print(
            "The policy may refuse an exchange of a training: how many are behind it depends on "
            f"how many people all hospitals have. If each had {here}: {'; '.join(few)}.",
            markup=False,
        )
    for key, sites in plan.holders.items():
        console.print(
            f"\nTraveler {key}: sums of this person are read by {', '.join(sites)}.", markup=False
        )
    console.print("\nWho reads it:", markup=False)
    for phase, _ in walk((*plan.steps, *plan.evaluation)):
        if phase.readers:
            console.print(f"  {phase.name}: {plan.readers(phase)}", markup=False)
    console.print(f"\nThe plan is {opened.approvals().state(plan.hash)}.", markup=False)


def approve(
    home: Home,
    study: Study,
    purpose: Annotated[str, typer.Option(help="What the data may be used for.")],
    until: Annotated[
        str, typer.Option(help=f"Last day, YYYY-MM-DD; default: {DAYS} days from today.")
    ] = "",
) -> None:
    """Allow one plan, as it is, for a purpose and a time. A changed plan is another plan."""
    opened, found = _named(home, study)
    plan = found.build()
    last = _last_day(until)
    opened.approvals().approve(
        plan.hash, study=plan.study, purpose=_said(purpose, "purpose"), until=last, by=who()
    )
    console.print(
        f"Approved until {last}: {plan.study}, plan {plan.hash[:12]}. The coordinator may run it "
        "now.",
        markup=False,
    )


def revoke(
    home: Home,
    study: Study,
    reason: Annotated[str, typer.Option(help="Why; it stays in the ledger.")],
) -> None:
    """Take an approval or override back. What has left has left; nothing more will."""
    opened, found = _named(home, study)
    opened.approvals().revoke(
        found.plan, study=found.study, reason=_said(reason, "reason"), by=who()
    )
    console.print(f"Revoked: {found.study}, plan {found.plan[:12]}.", markup=False)


def override(
    home: Home,
    study: Study,
    reason: Annotated[str, typer.Option(help="Why; it stays in the ledger.")],
    until: Annotated[
        str, typer.Option(help=f"Last day, YYYY-MM-DD; default: {DAYS} days from today.")
    ] = "",
) -> None:
    """Let the people whom the policy refused pass in one plan: somebody withdrew, a pilot."""
    opened, found = _named(home, study)
    approvals = opened.approvals()
    last = _last_day(until)
    approvals.override(
        found.plan,
        study=found.study,
        cohort=approvals.refused_cohort(found.plan),
        reason=_said(reason, "reason"),
        until=last,
        by=who(),
    )
    console.print(
        f"Until {last} the policy does not stop the people whom it refused in {found.study}, plan "
        f"{found.plan[:12]}: these and no others. The plan needs an approval all the same.",
        markup=False,
    )


def _named(home: Path, study: str) -> tuple[SiteHome, Pending]:
    from motet.client.home import open_home

    opened = open_home(home)
    return opened, opened.pending.find(study)


def _last_day(until: str) -> date:
    today = datetime.now(UTC).date()
    last = _day(until) if until else today + timedelta(days=DAYS)
    if last < today:
        raise DeploymentError(f"{last} is past: it would never hold.")
    return last


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise DeploymentError(f"'{text}' is no day: write it as 2027-03-31.") from error


SHORTEST = 5
"""Letters of a purpose or a reason."""


def _said(text: str, what: str) -> str:
    if len(text.strip()) < SHORTEST:
        raise DeploymentError(
            f"This {what} is too short to be understood by somebody who reads the ledger.",
            do=f"Say it in {SHORTEST} letters or more: 'cortical thickness in ageing'.",
        )
    return text.strip()


def who() -> str:
    """The account that gives the word."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
