"""Every parameter of every method is explained where a user looks: 'motet methods NAME'."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from motet.documented import meanings
from motet.harmonizer import Params
from motet.registry import methods
from motet.training.options import TrainOptions


@pytest.mark.parametrize("method", methods().names())
def test_every_parameter_is_explained(method: str) -> None:
    """Catches an option that only the code knows."""
    kind = methods().get(method).params_type
    said = meanings(kind)
    assert set(said) == set(kind.model_fields)
    for name, (what, meaning) in said.items():
        assert what, name
        assert meaning.endswith((".", "…")) or name in ("adjust", "prior"), (name, meaning)


def test_every_option_of_a_training_is_explained() -> None:
    """Catches an option of the section 'train' without a meaning, in the command or the how-to."""
    said = meanings(TrainOptions)
    assert set(said) == set(TrainOptions.model_fields)
    assert all(what and meaning.endswith(".") for what, meaning in said.values())
    text = (Path(__file__).parents[2] / "docs/howto/train.md").read_text()
    found = re.findall(r"^\| `(\w+)` \|([^|]*)\|", text, flags=re.MULTILINE)
    rows = {name: default.strip(" `") for name, default in found}
    defaults = {name: field.default for name, field in TrainOptions.model_fields.items()}
    assert set(rows) == {*defaults, "rounds"}
    for name, default in defaults.items():
        assert rows[name] == (f"{default:g}" if isinstance(default, float) else str(default)), name


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
