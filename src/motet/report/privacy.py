"""What differential privacy covers in a study, with what it was run with, and what it does not."""

from __future__ import annotations

from motet.report.read import StudyFiles
from motet.training.privacy import sentences


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
    found = [study.shared.get(f"{name}.{what}") for what in ("noise_multiplier", "rate", "steps")]
    if any(one is None for one in found):
        return ()
    noise, rate, steps = (float(one) for one in found if one is not None)
    return (
        f"Noise of each site: {noise:.3g} times the clip; each person was drawn with the "
        f"probability {rate:.3g} in each of {steps:.0f} steps; epsilon by {said['accountant']}. "
        "No loss of the training left, so its log has none.",
    )


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
