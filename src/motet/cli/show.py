"""What the commands print: progress, tables, bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from motet.evaluation.result import VERSIONS, Judgement, Reading
from motet.harmonizer import findings_of
from motet.server.events import Event, Kind, Observer
from motet.server.trained import Seldom, time_left, trained
from motet.training.privacy import learned_in
from motet.version import __version__

if TYPE_CHECKING:
    from motet.evaluation.site_effect import SiteEffect
    from motet.plan import Plan, Release
    from motet.releases import Arrays

console = Console(soft_wrap=True, highlight=False)
if not console.is_terminal:
    console.width = 120  # in a file or a pipe nothing says how wide a page is

WORDS = {
    Kind.PLANNED: "The sites agree on features, covariates and batches.",
    Kind.RESUMED: "Going on after '{phase}', where an earlier run stopped.",
    Kind.ANEW: "An earlier run was stopped and cannot be gone on with: {site} has other "
    "data now, or lost what it kept. Everything begins anew.",
    Kind.PHASE: "Phase '{phase}' …",
    Kind.LOST: "Site {site} is left out ({code}).",
    Kind.SILENT: "Waiting for site {site} ({code}) …",
    Kind.BACK: "Site {site} is back.",
    Kind.VERSION: "Site {site} has Motet {code}; the coordinator has {version}.",
    Kind.RESTARTED: "Starting over with the sites that are left.",
    Kind.HARMONIZING: "Every site harmonizes its own people …",
    Kind.EVALUATING: "The sites sum what the evaluation needs …",
    Kind.JUDGING: "The study is judged with everybody in one place …",
    Kind.COMPARING: "The study is judged with everybody in one place, controls fitted for it …",
    Kind.CONTROL: "Control {step} of {steps}: {phase} …",
    Kind.UNJUDGED: "The evaluation goes on without {site} ({code}).",
}


def sentence(event: Event) -> str:
    """One line for an event; empty where there is nothing to say."""
    if event.kind is Kind.TRAINED:
        return trained(event)
    words = WORDS.get(event.kind, "")
    if event.kind is Kind.UNJUDGED and not event.site:
        words = "How well it went is not judged ({code})."
    if event.kind is Kind.RESUMED and event.steps:
        words = (
            "Going on with the training '{phase}' after step {step} of {steps}, "
            "where an earlier run stopped."
        )
    return words.format(
        phase=event.phase,
        site=event.site,
        code=event.code,
        step=event.step,
        steps=event.steps,
        version=__version__,
    )


@contextmanager
def progress() -> Iterator[Observer]:
    """Show a run: a bar in a terminal, one line an event elsewhere; of a training, some."""
    seldom = Seldom()
    if not console.is_terminal:

        def line(event: Event) -> None:
            words = sentence(event)
            if words and (event.kind is not Kind.TRAINED or seldom.due(event)):
                console.print(words, markup=False)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Asking the sites …", total=None)
        steps = bar.add_task("", total=None, visible=False)

        def observe(event: Event) -> None:
            if event.kind is Kind.TRAINED:
                left = "" if event.left is None else f" {time_left(event.left)}"
                bar.update(
                    steps,
                    description=f"steps{left}",
                    total=event.steps,
                    completed=event.step,
                    visible=event.step < event.steps,
                )
                if seldom.due(event):
                    bar.console.print(sentence(event), markup=False)
                return
            if event.kind is Kind.PLANNED:
                bar.update(task, total=event.steps + 1, completed=1)
            elif event.kind is Kind.DONE:
                bar.advance(task)
            if words := sentence(event):
                bar.update(task, description=words)
                if event.kind in (Kind.LOST, Kind.RESTARTED, Kind.RESUMED, Kind.ANEW):
                    bar.console.print(words)

        yield observe


def size(count: int) -> str:
    """Bytes for people, with a plain space: ``2.7 kB``."""
    from motet.report import words

    return words.size(count).replace(words.SPACE, " ")


def table(header: Iterable[str], rows: Iterable[Iterable[object]], *, title: str = "") -> None:
    """Print a plain table."""
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, show_edge=False)
    for name in header:
        grid.add_column(escape(name), overflow="fold")
    for row in rows:
        grid.add_row(*[escape(str(cell)) for cell in row])
    console.print(grid)


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "too few people"
    return f"{100 * value:.0f} %" if name == "share_significant" else f"{value:.3f}"


def effect_table(effect: SiteEffect) -> None:
    """Print site effect and covariate effect before and after."""
    lines = (
        ("features whose mean differs between batches (p < 0.05; chance 5 %)", "share_significant"),
        ("variance explained by batch (median partial eta²)", "batch_eta2"),
        ("variance explained by covariates (median partial R²)", "covariates_r2"),
    )
    rows = [
        (words, *(_figure(name, getattr(of, name)) for of in (effect.raw, effect.harmonized)))
        for words, name in lines
        if getattr(effect.raw, name) is not None or name != "covariates_r2"
    ]
    table(
        (f"{effect.n} people: {effect.people}; {effect.features} features", "raw", "harmonized"),
        rows,
    )


SHOWN = (
    "site_accuracy_random_forest",
    "site_accuracy_lda",
    "anova_share",
    "batch_eta2",
    "r2_",
    "auc_",
    "icc_travelers",
)
"""The metrics of the short table: names, or how they begin. 'motet evaluate' has them all."""


def judgement_table(judged: Judgement) -> None:
    """Print the metrics that matter most, for every version."""
    from motet.report.comparison import NAMES

    order = {metric.name: metric for metric in judged.metrics}
    chosen = [
        metric
        for begin in SHOWN
        for name, metric in order.items()
        if name == begin or (begin.endswith("_") and name.startswith(begin))
    ]
    versions = [v for v in VERSIONS if any(v in metric.readings for metric in chosen)]
    people = f"{judged.n} rows: {judged.people}; {judged.features} features"
    table(
        (people, "chance", *(NAMES[version] for version in versions)),
        [
            (
                metric.title,
                "" if metric.chance is None else f"{metric.chance:.3f}",
                *(_read(metric.readings.get(version)) for version in versions),
            )
            for metric in chosen
        ],
    )
    readings = [reading for metric in chosen for reading in metric.readings.values()]
    if any(reading.within_band is False for reading in readings):
        console.print("* outside of what chance gives", markup=False)


def _read(reading: Reading | None) -> str:
    if reading is None:
        return ""
    if reading.value is None:
        return "too few people"
    return f"{reading.value:.3f}{'' if reading.within_band in (None, True) else ' *'}"


def warnings(found: Iterable[tuple[str, str]]) -> None:
    """Print what the sites warned of."""
    for site, words in found:
        console.print(f"warning: {site}: {words}" if site else f"warning: {words}", markup=False)


def remarks(plan: Plan, shared: Arrays) -> None:
    """Print what the method says of the finished model that a reader needs at once."""
    found = findings_of(plan.harmonizer, plan.params, plan.schema, shared)
    of_noise = [learned_in(phase.name, shared) for phase in plan.phases]
    for words in (*(found.remarks if found is not None else ()), *filter(None, of_noise)):
        console.print(f"note: {words}", markup=False)


def released(release: Release) -> tuple[str, ...]:
    """An array that would leave: name, shape, type, the most bytes, what is behind it, meaning."""
    spec, most = release.spec, size(release.bytes * release.times)
    return (
        spec.name,
        f"({', '.join(map(str, spec.shape))})",
        spec.dtype if spec.dtype == release.dtype else f"{spec.dtype} as {release.dtype}",
        most if release.times == 1 else f"{most}, {release.times:,} times",
        spec.support,
        spec.meaning,
    )
