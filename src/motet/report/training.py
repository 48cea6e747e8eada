"""How networks were trained: in words, with its losses, from the plan and the released log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from motet.report.figures.canvas import shown
from motet.report.figures.losses import Curve, losses
from motet.report.read import StudyFiles
from motet.report.words import count, joined, percent, significant, size
from motet.training import log
from motet.training.phase import VALIDATED, VALIDATION

Row = Mapping[str, Any]
MODES = {
    "exact": "exact: the gradients of every step were summed over the hospitals, and the step was "
    "taken once, as if everybody were in one place",
    "local": "local: each hospital took steps of its own{faster}; exchanged were {every}",
}
MOMENTS = {
    "averaged": "averaged over hospitals with the networks",
    "kept": "each hospital kept its own",
    "forgotten": "begun anew after each exchange",
}
SERVERS = {
    "fedavg": "FedAvg: the mean of what hospitals changed, by samples",
    "fedprox": "FedProx: hospitals' steps were pulled towards the shared networks (mu = "
    "{proximal}), and their changes averaged by samples",
    "scaffold": "SCAFFOLD: a hospital's gradients were corrected by how far its mean gradient lay "
    "from that of all hospitals, between the exchanges before; then the mean of what hospitals "
    "changed, by samples",
    "fedadam": "FedAdam: a step of Adam (learning rate {server_rate}) along the mean of what "
    "hospitals changed",
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One training of a study."""

    phase: str
    facts: tuple[tuple[str, str], ...]
    figures: tuple[Markup, ...]
    bytes: tuple[tuple[str, str], ...]
    judged: bool
    """Whether networks were judged on people that none was trained on."""


def trainings(study: StudyFiles) -> tuple[Trained, ...]:
    """All trainings, in the order of the log; none where nothing was trained."""
    phases = dict.fromkeys(str(row["phase"]) for row in study.training)
    return tuple(_trained(study, how, phase) for phase in phases if (how := options(study, phase)))


def options(study: StudyFiles, phase: str) -> Mapping[str, Any]:
    """The options of one training, complete; empty where the method is not trained."""
    found = study.plan.get("trainings", {}).get(phase)
    # A training may have others than the study's; older plans say the study's alone.
    found = study.plan.get("params", {}).get("train") if found is None else found
    return found if isinstance(found, Mapping) else {}


def trained_alone(study: StudyFiles) -> Mapping[str, Any]:
    """Options of networks that hospitals train without an exchange; empty where there are none."""
    how = study.plan.get("params", {}).get("train")
    exchanged = study.plan.get("trainings", True)  # older plans do not say
    return how if isinstance(how, Mapping) and not exchanged else {}


def faster(how: Mapping[str, Any]) -> str:
    """What steps of local mode do to learning rates; nothing where that is nothing."""
    times = how.get("local_rate", 1.0)  # older plans have none
    return "" if times == 1.0 else f", with {times:g} times the learning rate"


def step_sizes(rows: tuple[Row, ...]) -> str:
    """By what means of changes were multiplied in the exchanges that the log has."""
    found = []
    for name in sorted({name for row in rows for name in row if name.startswith(log.STEP_SIZE)}):
        taken = [float(row[name]) for row in rows if name in row]
        ends = dict.fromkeys(f"{size:.2f}" for size in (min(taken), max(taken)))
        found.append(f"{name.removeprefix(log.STEP_SIZE)} {' to '.join(ends)}")
    return f" (as logged, {'; '.join(found)})" if found else ""


def extrapolated(how: Mapping[str, Any]) -> bool:
    """Whether networks might go further than the mean of what hospitals changed."""
    return bool(how.get("extrapolate"))  # older plans have none


def groups(study: StudyFiles, phase: str) -> tuple[Mapping[str, Any], ...]:
    """The groups of parameters of one training; none of older plans."""
    return tuple(study.plan.get("groups", {}).get(phase, ()))


def every(how: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    """``all networks every 20 steps``; where groups differ, which are exchanged when."""
    usual = int(how["local_steps"])
    found: dict[int, list[str]] = {}
    for group in groups:
        if group["keeper"] != "local":
            found.setdefault(group["every"] or usual, []).append(str(group["name"]))
    if len(found) < 2:
        return f"all networks every {count(next(iter(found), usual), 'step')}"
    most = max(found, key=lambda n: len(found[n]))
    of = [f"{joined(found[n])} every {count(n, 'step')}" for n in sorted(found) if n != most]
    return f"{'; '.join(of)}; all else every {count(most, 'step')}"


def owned(how: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Sentences on parts of networks that are a scanner's, in local mode."""
    by = "along" if how["server"] == "fedadam" else "by"
    heads = {
        summed: [str(g["name"]) for g in groups if g["keeper"] == "owned" and g["summed"] == summed]
        for summed in (False, True)
    }
    if heads[False]:
        yield (
            f"A scanner's own parts ({joined(heads[False])}) were moved {by} what its hospital "
            "alone changed them by."
        )
    if heads[True]:
        yield (
            f"A scanner's own parts ({joined(heads[True])}) were moved {by} the sum of what all "
            "hospitals changed them by."
        )


def lines(study: StudyFiles, phase: str) -> tuple[Row, ...]:
    """The log of one training."""
    return tuple(row for row in study.training if row["phase"] == phase)


def best(rows: tuple[Row, ...]) -> Row | None:
    """The line whose networks were kept: the first of the smallest validation."""
    judged = [row for row in rows if VALIDATION in row]
    return min(judged, key=lambda row: float(row[VALIDATION])) if judged else None


def _trained(study: StudyFiles, how: Mapping[str, Any], phase: str) -> Trained:
    rows = lines(study, phase)
    sent: dict[str, int] = {}
    releases = 0
    for entry in study.run.get("received", ()):
        if str(entry["phase"]).split("/")[-1] == phase:
            site = str(entry["site"])
            times = int(entry.get("times", 1))
            releases += times
            sent[site] = sent.get(site, 0) + int(entry["bytes"]) * times
    return Trained(
        phase=phase,
        facts=(
            *_facts(how, rows, groups(study, phase), masked=bool(study.plan.get("secure_sum"))),
            *_releases(releases, len(sent)),
        ),
        figures=shown(_figures(phase, rows)),
        bytes=tuple((site, size(n)) for site, n in sorted(sent.items())),
        judged=best(rows) is not None,
    )


def own_losses(folder: Path, site: str) -> tuple[Markup, ...]:
    """Losses of networks that a site trained by itself, from the log in its own folder."""
    rows = log.read_log(folder / log.LOG)
    phases = dict.fromkeys(str(row["phase"]) for row in rows)
    return shown(
        figure
        for phase in phases
        for figure in _figures(phase, tuple(r for r in rows if r["phase"] == phase), of=f"{site}/")
    )


def _releases(releases: int, sites: int) -> tuple[tuple[str, str], ...]:
    """How many arrays left for it; nothing where the run kept no record."""
    if not releases:
        return ()
    return (("releases", f"{count(releases, 'array')} from {count(sites, 'hospital')}"),)


def _facts(
    how: Mapping[str, Any],
    rows: tuple[Row, ...],
    groups: Sequence[Mapping[str, Any]],
    *,
    masked: bool,
) -> Iterator[tuple[str, str]]:
    last, local = rows[-1], how["mode"] == "local"
    rate = f"{said} (local_rate)" if (said := faster(how)) else ""
    yield "mode", MODES[how["mode"]].format(faster=rate, every=every(how, groups))
    if local:
        yield "server", SERVERS[how["server"]].format(**how)
        if extrapolated(how):
            yield (
                "extrapolation",
                "FedExP: that mean was multiplied, group by group, by half the ratio of the "
                "hospitals' mean squared change to its own square, at least 1 and at most half "
                f"the number of hospitals{step_sizes(rows)}",
            )
        if said := " ".join(owned(how, groups)):
            yield "scanners' own parts", said
        yield "moments of the optimizer", MOMENTS[how["moments"]]
    if how["warm_up"]:
        yield "warm-up", f"{count(how['warm_up'], 'step')} of exact mode before local mode"
    yield (
        "length",
        f"{count(int(last['step']), 'step')} in {count(int(last['exchange']) + 1, 'exchange')}",
    )
    samples = f"at most {count(how['batch'], 'sample')}" if how["batch"] else "all"
    yield "batch", f"{samples} a step, over all hospitals"
    yield "preset", str(how["preset"])
    sent = "behind masks, as integers of 64 bits" if masked else f"as {how['transfer']}"
    yield "precision", f"{how['precision']}; sent {sent}"
    chosen = best(rows)
    if chosen is None:
        yield "networks kept", "the last ones; nobody was left out of the training to judge them"
    else:
        yield (
            "networks kept",
            f"those after {count(int(chosen[VALIDATED]), 'step')}, with the smallest validation "
            f"loss ({significant(chosen[VALIDATION])}) on {percent(how['validation'])} of the "
            "people of the fit, on whom nothing was trained",
        )


def _figures(phase: str, rows: tuple[Row, ...], *, of: str = "") -> Iterator[Markup]:
    """One figure an update; the validation stands in the first."""
    names = list(dict.fromkeys(name for row in rows for name in log.losses(row)))
    updates = list(dict.fromkeys(name.partition(".")[0] for name in names)) or [""]
    chosen = best(rows)
    judged = _curve(rows, VALIDATION, at=VALIDATED)
    for k, update in enumerate(updates):
        yield losses(
            {
                name.partition(".")[2]: _curve(rows, name, at="step")
                for name in names
                if name.partition(".")[0] == update
            },
            judged if k == 0 else _curve((), VALIDATION, at=VALIDATED),
            title=f"Losses of {update or phase}".replace("_", " "),
            kept=int(chosen[VALIDATED]) if chosen is not None else None,
            name=f"{of}losses-{phase}-{update}",
        )


def _curve(rows: tuple[Row, ...], name: str, *, at: str) -> Curve:
    found = [(row[at], row[name]) for row in rows if name in row and at in row]
    steps = np.array([step for step, _ in found], dtype=np.float64)
    return steps, np.array([value for _, value in found], dtype=np.float64)
