"""Every parameter of every method is explained where a user looks: 'motet methods NAME'."""

from __future__ import annotations

import pytest

from motet.documented import meanings
from motet.harmonizer import Params
from motet.registry import methods


@pytest.mark.parametrize("method", methods().names())
def test_every_parameter_is_explained(method: str) -> None:
    """Catches an option that only the code knows."""
    kind = methods().get(method).params_type
    said = meanings(kind)
    assert set(said) == set(kind.model_fields)
    for name, (what, meaning) in said.items():
        assert what, name
        assert meaning.endswith((".", "…")) or name in ("adjust", "prior"), (name, meaning)


def test_sections_after_the_parameters_are_not_theirs() -> None:
    """Catches a parser that reads on into another section, and bases that win over their child."""

    class Mine(Params):
        """Options of mine.

        Parameters
        ----------
        covariates : list
            Other
            words.

        Notes
        -----
        x : no parameter
        """

    found = meanings(Mine)
    assert found["covariates"] == ("list", "Other words.")
    assert set(found) == {"covariates", "batch"}
