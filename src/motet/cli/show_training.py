"""What a plan's trainings are in words: how long, what leaves, who reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from motet.cli.show import console, size

if TYPE_CHECKING:
    from motet.plan import Plan
    from motet.training.phase import Train


def trainings(plan: Plan, *, rows: int | None = None) -> None:
    """Print every training of a plan in a few sentences.

    Parameters
    ----------
    plan : Plan
    rows : int, optional
        All sites' rows of the fit, where these are known: what is likely, beside the most.
    """
    from motet.training.phase import Train

    for phase in plan.phases:
        if isinstance(phase, Train):
            console.print("\n" + " ".join(_sentences(phase, plan, rows)), markup=False)


def few_behind(plan: Plan, fit: Mapping[str, int], least: int) -> dict[str, list[str]]:
    """Sites of whom too few samples are likely to stand behind an exchange, and which.

    Parameters
    ----------
    plan : Plan
    fit : mapping of str to int
        Rows of the fit at every site. Of images a sample may be a slice: how many there are is
        not known before they are cut, and people are taken to have equally many.
    least : int
        The policy's smallest number.
    """
    from motet.training.phase import Train

    found: dict[str, list[str]] = {}
    total = sum(fit.values())
    for train in plan.phases:
        if not isinstance(train, Train) or train.private is not None:
            continue
        owned = any(group.keeper == "owned" for group in train.groups)
        if plan.masks(train) and not owned:
            continue
        for site, rows in fit.items():
            own = sum(b.site == site for b in plan.schema.batches) / len(plan.schema.batches)
            for what, count, spread in _behind(train, rows, total, own=own):
                if count <= 0 or count - spread >= least:
                    continue
                fewer = f"fewer than {least}" if count < least else f"at times fewer than {least}"
                found.setdefault(site, []).append(
                    f"about {count:.3g} {train.counted} {what} in an exchange of '{train.name}', "
                    f"{fewer}: a larger 'batch', or more steps between exchanges, makes it more"
                )
    return found


def _behind(
    train: Train, rows: int, total: int, *, own: float
) -> Iterator[tuple[str, float, float]]:
    """What is done with samples of a site in an exchange, how many, and how many fewer at times.

    Parameters
    ----------
    train : Train
    rows, total : int
        Of the site, and of all.
    own : float
        The site's share of the study's scanners.
    """
    how = train.options
    # Of steps in which no update runs, no samples count.
    often = min(update.period for update in train.updates)
    steps = 1.0 if how.mode == "exact" or how.warm_up else train.interval / often
    if train.strata:
        # Scanners take turns: a site's share is the same always, but for one of each scanner.
        yield "are trained on", how.batch * own * steps, 0.0
        return
    share = rows / max(1, total)
    people = train.counted == "people"
    if how.batch or people:
        size = min(how.batch or total, total) * (1.0 - how.validation) if people else how.batch
        each = size * share * steps
        # Who is due is drawn: two standard deviations of so rare events.
        yield "are trained on", each, 2.0 * each**0.5 if how.batch else 0.0
    if people:
        yield "validate", rows * how.validation, 0.0


def check_trainings(plan: Plan, rows: int) -> None:
    """Refuse a step of more people than there are, before anything is agreed to.

    Raises
    ------
    TrainingError
    """
    from motet.strategies.trained import check_counted
    from motet.training.phase import Train

    for train in plan.phases:
        if isinstance(train, Train) and train.counted == "people":
            check_counted(train, rows)


def most_exchanges(train: Train) -> int:
    """The most exchanges that consent is given to, the closing validation among them."""
    return train.exchanges(train.longest_training) + bool(train.options.validation)


def _sentences(train: Train, plan: Plan, rows: int | None) -> Iterator[str]:
    how = train.options
    updates = "" if how.mode == "exact" else f", {how.server}"
    yield (
        f"'{train.name}' trains networks ({how.mode} mode{updates}): at most "
        f"{train.longest_training:,} steps in {most_exchanges(train):,} exchanges."
    )
    # Of slices and volumes nobody knows yet how many there are.
    if rows is not None and train.counted == "people" and not plan.schema.grid:
        steps = train.steps(train.trained_of(rows))
        exchanges = train.exchanges(steps) + bool(how.validation)
        total = sum(r.bytes * r.times for r in plan.releases() if r.phase == train.name)
        each = total // most_exchanges(train)
        yield (
            f"With the {rows:,} {'row' if rows == 1 else 'rows'} here: {steps:,} steps in "
            f"{exchanges:,} exchanges, about {size(each * exchanges)} from every site."
        )
    gradients = "gradients of networks, summed over a site's samples"
    if how.mode == "exact":
        leaving = f"What leaves in every exchange are {gradients}"
    else:
        leaving = "What leaves in every exchange is what a site's own steps changed in the networks"
        leaving += " and in their optimizer's moments" if how.moments == "averaged" else ""
        leaving += f"; before that, for {how.warm_up:,} steps, {gradients}" if how.warm_up else ""
    yield f"{leaving}, with sums of losses. Such numbers can reflect single people."
    if plan.masks(train):
        yield "They are masked: the coordinator reads what they come to over all sites."
        if any(group.keeper == "owned" for group in train.leaving):
            yield "A scanner's own parameters are one site's: masks do not hide those."
    else:
        yield "They are not masked: the coordinator reads each site's."
    yield "Every site reads the networks that are made of them."
