"""The method of a study that is read, with its parameters, where it is installed here."""

from __future__ import annotations

from motet.config import checked
from motet.errors import StudyFileError, UnknownMethodError
from motet.harmonizer import Harmonizer, Params
from motet.registry import methods
from motet.report.read import StudyFiles


def installed(study: StudyFiles) -> tuple[Harmonizer, Params] | None:
    """The method and the study's parameters; None of a study of another installation."""
    try:
        method = methods().get(str(study.plan["method"]))
        given = study.plan.get("params", {})
        return method, checked(method.params_type, given, under="params", saved=True)
    except (StudyFileError, UnknownMethodError):
        return None
