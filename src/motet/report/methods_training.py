"""What the Methods paragraph says of a training, with its references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from motet.report.read import StudyFiles
from motet.report.references import (
    FEDADAM,
    FEDAVG,
    FEDEXP,
    FEDPROX,
    SCAFFOLD,
    TORCH,
    Citations,
)
from motet.report.training import (
    MOMENTS,
    best,
    every,
    extrapolated,
    faster,
    groups,
    lines,
    options,
    owned,
    trained_alone,
)
from motet.report.words import count, percent
from motet.training.phase import VALIDATED


def trained(study: StudyFiles, cited: Citations) -> Iterator[str]:
    """Sentences on every training; none where nothing was trained."""
    if alone := trained_alone(study):
        yield (
            "The networks were trained by the hospitals that have the scans, and no gradient was "
            f"exchanged (preset {alone['preset']}, batches of {alone['batch']}, "
            f"{alone['precision']} arithmetic)."
        )
    for phase in dict.fromkeys(str(row["phase"]) for row in study.training):
        how, rows = options(study, phase), lines(study, phase)
        if not how:
            continue
        length = (
            f"preset {how.get('preset', 'paper')}, {count(int(rows[-1]['step']), 'step')} in "
            f"{count(int(rows[-1]['exchange']) + 1, 'exchange')}, "
            f"{_batches(how)}, {how['precision']} arithmetic"
        )
        yield f"The networks ({phase}) were trained by all hospitals together ({length})."
        yield _how(how, groups(study, phase), cited)
        if how["mode"] == "local":
            yield from owned(how, groups(study, phase))
        chosen = best(rows)
        if chosen is not None:
            yield (
                f"{percent(how['validation'])} of the people of the fit were kept out of the "
                "training, and the networks with the smallest summed loss on them were kept: those "
                f"after {count(int(chosen[VALIDATED]), 'step')}."
            )


def _batches(how: Mapping[str, Any]) -> str:
    if not how["batch"]:
        return "everybody of all hospitals in every step"
    return f"batches of at most {how['batch']} over all hospitals"


def _how(how: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], cited: Citations) -> str:
    if how["mode"] == "exact":
        return (
            "In every step the hospitals' gradients were summed and one step was taken, as with "
            "all people in one place."
        )
    said = f"Each hospital took steps of its own{faster(how)}"
    if how["server"] == "fedadam":
        then = (
            f", and the coordinator took a step of Adam (learning rate {how['server_rate']}) along "
            f"the mean of their changes (FedAdam {cited.cite(FEDADAM)})"
        )
    elif how["server"] == "scaffold":
        then = (
            ", corrected by what all hospitals' gradients were on average where networks are "
            f"averaged, and those were averaged by samples (SCAFFOLD {cited.cite(SCAFFOLD)})"
        )
    elif how["server"] == "fedprox":
        then = (
            f" with a proximal term (mu = {how['proximal']}), and their changes were averaged by "
            f"samples (FedProx {cited.cite(FEDPROX)})"
        )
    else:
        then = f", and their changes were averaged by samples (FedAvg {cited.cite(FEDAVG)})"
    if extrapolated(how):
        then += (
            "; that mean was multiplied, group by group, by half the ratio of the hospitals' mean "
            "squared change to its own square, at least 1 and at most half the number of hospitals "
            f"(FedExP {cited.cite(FEDEXP)})"
        )
    warm = (
        f", after {count(int(how['warm_up']), 'step')} with gradients summed over all hospitals"
        if how["warm_up"]
        else ""
    )
    moments = f"moments of the optimizer: {MOMENTS[how['moments']]}"
    return f"{said}{then}{warm}. Exchanged were {every(how, groups)} ({moments})."


def torch_version(study: StudyFiles, cited: Citations) -> str:
    """``PyTorch 2.13.0 [7]``; empty where nothing was trained."""
    version = study.run.get("versions", {}).get("torch")
    return f"PyTorch {version} {cited.cite(TORCH)}" if version else ""
