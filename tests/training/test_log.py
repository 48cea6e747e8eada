"""The log of a training as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from motet.errors import ModelError
from motet.training.log import LOG, cautions, got_worse, losses, read_log, write_log

ROWS = [
    {
        "phase": "cvae",
        "exchange": 0,
        "step": 3,
        "steps": 6,
        "ae.kl": 0.1 + 0.2,
        "validation": 1e-17,
        "validated": 0,
        "step_size.decoder": 1.1,
        "sites": {"hh": {"ae.kl": 2.0, "validation": 3.0}, "guys": {"ae.kl": 1.0}},
    },
    {"phase": "critic", "exchange": 1, "step": 6, "steps": 6, "wasserstein": -1.5},
]


def test_numbers_read_back_exactly(tmp_path: Path) -> None:
    """Catches digits that are lost, columns that slip, and what one site has in what all have."""
    write_log(tmp_path / LOG, ROWS)
    header, *lines = (tmp_path / LOG).read_text().splitlines()
    assert header == (
        "phase,exchange,step,steps,ae.kl,wasserstein,validation,validated,step_size.decoder,"
        "guys/ae.kl,hh/ae.kl,hh/validation"
    )
    assert lines[1] == "critic,1,6,6,,-1.5,,,,,,"
    of_all = [{k: v for k, v in row.items() if k != "sites"} for row in ROWS]
    assert list(read_log(tmp_path / LOG)) == of_all
    assert losses(ROWS[0]) == {"ae.kl": 0.1 + 0.2}


def test_a_log_that_is_none(tmp_path: Path) -> None:
    """Catches a traceback at a file that somebody edited, and one that is not there."""
    assert read_log(tmp_path / LOG) == ()
    for text in ("a,b\n1,2\n", "phase,exchange,step,steps\ncvae,0,x,6\n", "phase,step\ncvae\n"):
        (tmp_path / LOG).write_text(text)
        with pytest.raises(ModelError, match="log of the training"):
            read_log(tmp_path / LOG)


def rows(*of: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {"phase": "cvae", "exchange": k, "step": k, "steps": 9, **one} for k, one in enumerate(of)
    ]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            rows({"ae.rec": 4.0, "ae.kl": 0.0}, {"ae.rec": 3.0, "ae.kl": 900.0}),
            "loss went from 4 to 903",
        ),
        (
            rows({"ae.rec": 4.0, "validation": 4.5}, {"ae.rec": 1.0}, {"validation": 10.0}),
            "validation loss went from 4.5 to 10",
        ),
        (rows({"ae.rec": 4.0, "ae.kl": 0.0}, {"ae.rec": 3.0, "ae.kl": 4.0}), ""),
        (
            rows({"ae.rec": 4.0, "validation": 4.5}, {"ae.rec": 90.0, "validation": 5.0}),
            "loss went from 4 to 90",
        ),
        (rows({"ae.rec": 4.0, "validation": 4.5}, {"ae.rec": 3.0, "validation": 5.0}), ""),
        (rows({"critic.real": 0.1, "generator.fooled": 0.1}, {"generator.fooled": 7.0}), ""),
        (rows({"critic.wasserstein": -1.0}, {"critic.wasserstein": 9.0}), ""),
        (rows({}, {}), ""),
        ([], ""),
    ],
    ids=[
        "loss",
        "validation",
        "a term",
        "loss beside validation",
        "overfitted",
        "two updates",
        "signed",
        "private",
        "none",
    ],
)
def test_a_training_that_got_worse(log: list[dict[str, Any]], said: str) -> None:
    """Catches a diverged training that is silent since its numbers are finite, and a warning about
    terms and critics that rise while a training goes well."""
    found = got_worse(log)
    assert len(found) == bool(said)
    assert all(said in sentence and "learning rate" in sentence for sentence in found)


def test_a_preset_for_tests_is_no_result() -> None:
    """Catches networks that learned nothing under figures that look fine."""
    (said,) = cautions(ROWS, {"train": {"preset": "tiny"}})
    assert "for tests" in said
    assert cautions(ROWS, {"train": {"preset": "small"}}) == cautions([], {}) == ()
