"""What is asked to be kept is kept, or refused: no method takes covariates and ignores them."""

from __future__ import annotations

import pytest

from motet.config import Study, checked
from motet.errors import StudyFileError
from motet.params import parse_params
from motet.registry import methods

MODELLING = {"combat", "deepcombat", "fed_combat", "ravel", "voxelwise_combat"}
"""Methods whose own tests compare a fit with covariates with a dense one."""


@pytest.mark.parametrize("name", methods().names())
def test_covariates_are_modelled_or_refused(name: str) -> None:
    """Catches a method that says in its report that effects of age were kept, and never saw age."""
    study = Study(study="s", method=name, params={"covariates": ["age"]})
    if name in MODELLING:
        assert list(parse_params(study).covariates) == ["age"]
        return
    with pytest.raises(StudyFileError, match=r"params\.covariates.*models no covariates.*biology"):
        parse_params(study)


@pytest.mark.parametrize("name", sorted(set(methods().names()) - MODELLING))
def test_an_older_model_with_covariates_is_read(name: str) -> None:
    """Catches a saved model of a version that took them becoming unreadable."""
    kind = methods().get(name).params_type
    was = {**kind().model_dump(mode="json"), "covariates": {"age": "continuous"}}
    assert list(checked(kind, was, saved=True).covariates) == ["age"]
