"""What a plan's trainings are in words: how long, what leaves, who reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from motet.cli.show import console, size
from motet.errors import listed

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
        # The same people come again between two exchanges: a policy counts them each time.
        samples = "samples" if train.counted == "people" else train.counted
        for site, rows in fit.items():
            scanners = [batch.site == site for batch in plan.schema.batches]
            count, fewest = _trained_on(train, rows / max(1, total), total, scanners)
            judged = rows * train.options.validation if train.counted == "people" else 0.0
            for what, mean, low, do in (
                (f"{samples} are trained on", count, fewest, _more(train)),
                (
                    f"{train.counted} validate",
                    judged,
                    judged,
                    "a larger 'validation' makes it more",
                ),
            ):
                if mean <= 0 or low >= least:
                    continue
                fewer = f"fewer than {least}" if mean < least else f"at times fewer than {least}"
                found.setdefault(site, []).append(
                    f"about {mean:.3g} {what} in an exchange of '{train.name}', {fewer}: {do}"
                )
    return found


def _more(train: Train) -> str:
    """What gives exchanges more samples."""
    how = train.options
    if how.mode == "exact" or how.warm_up:
        other = "; or 'mode: local'" if how.mode == "exact" else "; or no 'warm_up'"
        return f"a larger 'batch' makes it more{other}"
    often = [g.name for g in train.leaving if train.every(g) == train.interval]
    return (
        f"a larger 'batch', or more steps than {train.interval} between exchanges of "
        f"{listed(often)}, makes it more"
    )


def _trained_on(
    train: Train, share: float, total: int, scanners: Sequence[bool]
) -> tuple[float, float]:
    """Samples of a site in an exchange, on average and the fewest that are likely.

    Parameters
    ----------
    train : Train
    share : float
        The site's of all rows.
    total : int
        Rows of all sites.
    scanners : sequence of bool
        Which scanners of the study are the site's.
    """
    how = train.options
    people = train.counted == "people"
    if not (how.batch or people):
        return 0.0, 0.0  # all slices at once, however many these are
    steps = 1.0 if how.mode == "exact" or how.warm_up else _fewest_steps(train)
    step = train.samples_a_step(train.trained_of(total)) if people else float(how.batch)
    if train.strata:
        # Scanners take turns, all of them in every round: of a round that is cut, none may count.
        own, every = sum(scanners), len(scanners)
        rounds, cut = divmod(step * steps, every)
        return step * steps * own / every, own * (rounds - bool(cut))
    mean = step * share * steps
    if not how.batch:
        return mean, mean
    from scipy.stats import poisson

    # Who is due is drawn, and one exchange of a training is enough to be stopped.
    return mean, float(poisson.ppf(0.05 / train.exchanges(train.longest_training), mean))


def _fewest_steps(train: Train) -> float:
    """Steps of a group's own update between its exchanges, of the group with the fewest."""
    periods = {name: update.period for update in train.updates for name in update.groups}
    return min(train.every(group) / periods[group.name] for group in train.leaving)


def most_exchanges(train: Train) -> int:
    """The most exchanges that consent is given to, the closing validation among them."""
    return train.exchanges(train.longest_training) + bool(train.options.validation)


def by_people(train: Train, plan: Plan) -> bool:
    """Whether the length of a training is known with its rows: of slices and volumes it is not."""
    return train.counted == "people" and not plan.schema.grid


def likely_bytes(train: Train, plan: Plan, rows: int) -> int:
    """What leaves a site in a training on so many rows of all sites, about."""
    steps = train.steps(train.trained_of(rows))
    exchanges = train.exchanges(steps) + bool(train.options.validation)
    return most_bytes(train, plan) // most_exchanges(train) * exchanges


def most_bytes(train: Train, plan: Plan) -> int:
    """The most that leaves every site in a training."""
    from motet.phases import ALL

    return sum(
        release.bytes * release.times
        for release in plan.releases()
        if release.phase == train.name and release.who == str(ALL)
    )


def _exchanges(count: int) -> str:
    return f"{count:,} {'exchange' if count == 1 else 'exchanges'}"


def _whole(train: Train, rows: int) -> str:
    """Why there are more steps than so many epochs are."""
    how = train.options
    asked = train.asked(train.trained_of(rows))
    if asked in (how.steps, train.steps(train.trained_of(rows))):
        return ""
    return f" ({how.epochs:g} epochs are {asked:,}, and the last exchange is whole)"


def _rounded(train: Train) -> str:
    """Why there are more steps than the study file says."""
    asked = train.options.steps
    if train.longest_training == asked:
        return ""
    what = "round of updates" if train.options.mode == "exact" else "exchange"
    return f" ({asked:,} asked, and the last {what} is whole)"


def _noise(train: Train, plan: Plan, rows: int) -> Iterator[str]:
    """How much noise a private training of so many rows takes, and what it leaves."""
    from motet.training.privacy import learned, mechanism, noise_to_signal

    taken = mechanism(train, rows)
    yield f"Every site adds noise of {taken.noise_multiplier:.3g} times the clip to every step."
    share = noise_to_signal(train, taken, rows, plan.schema.sizes)
    yield from filter(None, (learned(share),))


def _sentences(train: Train, plan: Plan, rows: int | None) -> Iterator[str]:
    how = train.options
    updates = "" if how.mode == "exact" else f", {how.server}"
    yield (
        f"'{train.name}' trains networks ({how.mode} mode{updates}): at most "
        f"{train.longest_training:,} steps{_rounded(train)} in {_exchanges(most_exchanges(train))}."
    )
    # Of slices and volumes nobody knows yet how many there are.
    if rows is not None and by_people(train, plan):
        steps = train.steps(train.trained_of(rows))
        exchanges = train.exchanges(steps) + bool(how.validation)
        each, most = train.samples_a_step(train.trained_of(rows)), likely_bytes(train, plan, rows)
        yield (
            f"With the {rows:,} {'row' if rows == 1 else 'rows'} here: {steps:,} steps of about "
            f"{each:.0f}{_whole(train, rows)} in {_exchanges(exchanges)}, about {size(most)} from "
            "every site."
        )
        if train.private is not None:
            yield from _noise(train, plan, rows)
    gradients = "gradients of networks, summed over a site's samples"
    if how.mode == "exact":
        leaving = f"What leaves in every exchange are {gradients}"
    else:
        leaving = "What leaves in every exchange is what a site's own steps changed in the networks"
        leaving += " and in their optimizer's moments" if how.moments == "averaged" else ""
        leaving += ", and its mean square" if how.extrapolate else ""
        leaving += ", and the mean gradient of these steps" if how.server == "scaffold" else ""
        leaving += f"; before that, for {train.warm_up:,} steps, {gradients}" if how.warm_up else ""
    if train.private is not None:
        yield f"{leaving}, each person's clipped, and with noise; no losses."
    else:
        yield f"{leaving}, with sums of losses. Such numbers can reflect single people."
    if plan.masks(train):
        yield "They are masked: the coordinator reads what they come to over all sites."
        owned = [group for group in train.leaving if group.keeper == "owned"]
        if owned and not all(group.summed for group in owned):
            yield "A scanner's own parameters are one site's: masks do not hide those."
        elif owned and how.mode == "local":
            yield (
                "All sites change a scanner's parameters, but its optimizer's moments are one "
                "site's: masks do not hide those."
            )
    else:
        yield "They are not masked: the coordinator reads each site's."
    yield "Every site reads the networks that are made of them."
