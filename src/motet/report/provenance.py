"""Versions, hashes, seed: what is needed to make the study again."""

from __future__ import annotations

from motet.report.methods_text import options
from motet.report.participation import covariates_in_full
from motet.report.read import StudyFiles
from motet.report.words import percent, shape, size


def provenance(study: StudyFiles) -> tuple[tuple[str, str], ...]:
    """(what, value) in the order of a reader's interest."""
    run, plan = study.run, study.plan
    versions = run.get("versions", {})
    facts = [
        ("study", str(run["study"])),
        ("mode", "simulation on one machine" if study.simulated else "deployed federation"),
        ("method", str(plan["method"])),
        ("options", options(study) or "defaults"),
        ("preset", str(plan.get("params", {}).get("train", {}).get("preset", ""))),
        ("covariates", covariates_in_full(study) or "none"),
        ("target", str(plan.get("target", "pooled"))),
        ("held out of the fit", percent(float(plan.get("held_out") or 0.0))),
        ("seed", str(run["seed"])),
        ("plan, SHA-256", str(run["plan"])),
        ("shared model, SHA-256", str(run["model"])),
        ("schema, SHA-256", str(plan["schema"].get("sha256", ""))),
        ("Motet", str(run["motet"])),
        *((name, str(version)) for name, version in sorted(versions.items())),
    ]
    return tuple((what, value) for what, value in facts if value)


def shared_arrays(study: StudyFiles) -> tuple[tuple[str, str, str, str], ...]:
    """(name, shape, dtype, bytes) of the arrays that every site got."""
    return tuple(
        (name, shape(array.shape), array.dtype.name, size(array.nbytes))
        for name, array in sorted(study.shared.items())
    )
