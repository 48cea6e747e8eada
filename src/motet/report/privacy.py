"""What differential privacy covers in a study, with what it was run with, and what it does not."""

from __future__ import annotations

from motet.report.read import StudyFiles
from motet.training.privacy import learned_in, run_with, sentences


def privacy(study: StudyFiles) -> tuple[str, ...]:
    """Sentences; none where the study did not ask for it."""
    said = study.plan.get("privacy")
    if not said:
        return ()
    covered, exact = sentences(dict(said))
    return (covered, *_run_with(study), exact)


def _run_with(study: StudyFiles) -> tuple[str, ...]:
    """Noise, rate and steps, which the shared model holds."""
    said = study.plan["privacy"]
    (name,) = said["covers"]
    how = run_with(name, study.shared)
    if how is None:
        return ()
    return (
        f"Noise of each site: {how.noise_multiplier:.3g} times the clip; each person was drawn "
        f"with the probability {how.rate:.3g} in each of {how.steps} steps; epsilon by "
        f"{said['accountant']}. "
        "No loss of the training left, so its log has none.",
    )


def learned(study: StudyFiles) -> str:
    """What noise left of the training; empty where there is nothing to say."""
    said = study.plan.get("privacy")
    if not said:
        return ""
    (name,) = said["covers"]
    return learned_in(name, study.shared)


def in_methods(study: StudyFiles) -> str:
    """The same as a sentence of a Methods section; empty where there is none."""
    said = study.plan.get("privacy")
    if not said:
        return ""
    how = " ".join(_run_with(study)).partition(" No loss")[0]
    return (
        f"The training was differentially private by person (epsilon {said['epsilon']:g}, delta "
        f"{said['delta']:g} for what a hospital sent, against the coordinator too; clip "
        f"{said['clip']:g}). {how} All else ({', '.join(said['not_covered'])}) was released "
        "without noise and is not covered."
    )
