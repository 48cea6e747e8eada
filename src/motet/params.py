"""A method's options, as a study file gives them."""

from __future__ import annotations

from motet import registry
from motet.config import Study, checked
from motet.errors import StudyFileError
from motet.harmonizer import Harmonizer, Params
from motet.training.options import TrainedParams, TrainOptions


def parse_params(study: Study) -> Params:
    """The parameters of the study's method, validated."""
    harmonizer = registry.methods().get(study.method)
    params = _checked_params(harmonizer, study)
    if study.target != "pooled":
        raise StudyFileError(
            f"'{study.method}' harmonizes to the pooled distribution, not to '{study.target}'.",
            do="To leave one batch untouched, name it in params: {reference: BATCH}."
            if "reference" in harmonizer.params_type.model_fields
            else "Take 'target' out.",
            key="target",
        )
    return params


def _checked_params(harmonizer: Harmonizer, study: Study) -> Params:
    """The method's options, with the section ``train`` where it is trained."""
    kind = harmonizer.params_type
    if issubclass(kind, TrainedParams):
        if "train" in study.params:
            raise StudyFileError(
                "'train' is a section of the study file, beside 'params'.", key="params.train"
            )
        elsewhere = sorted(
            set(study.train) & set(kind.model_fields) - set(TrainOptions.model_fields)
        )
        if elsewhere:
            raise StudyFileError(
                f"'{elsewhere[0]}' is an option of the method.",
                do=f"Put it under params: {{{elsewhere[0]}: …}}.",
                key=f"train.{elsewhere[0]}",
            )
        if "device" in study.train:
            raise StudyFileError(
                "Where networks are trained is no part of a study.",
                do="Say it where it runs: motet simulate --device cuda; device: in a site's "
                "site.yaml.",
                key="train.device",
            )
        document = {**study.params, "train": study.train}
        return checked(kind, document, under="params", apart=("train",))
    if study.train:
        raise StudyFileError(
            f"'{study.method}' is not trained.", do="Take 'train' out.", key="train"
        )
    return checked(kind, study.params, under="params")
