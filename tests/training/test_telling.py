"""What a site's own log says of a training."""

from __future__ import annotations

import logging

import pytest

from conformance.cases import case
from conformance.federation import Federation
from motet.training.telling import LINES, due


@pytest.mark.parametrize("exchanges", [1, 2, 19, 20, 21, 500, 12345])
def test_twenty_lines_at_most(exchanges: int) -> None:
    """Catches a log that a long training fills, and one without its beginning or its end."""
    told = [number for number in range(exchanges) if due(number, exchanges)]
    assert len(told) <= LINES
    assert (told[0], told[-1]) == (0, exchanges - 1)
    assert len(told) >= min(exchanges, LINES) - 1


def test_each_site_logs_its_own_losses(caplog: pytest.LogCaptureFixture) -> None:
    """Catches a hospital that learns nothing of how it goes, and lines that count as warnings."""
    caplog.set_level(logging.INFO, logger="motet.site")
    made = case("deepcombat", n=(12, 14), p=4, covariates=("age",))
    federation = Federation(made)
    outcome = federation.run()
    assert not outcome.missing, federation.errors
    for site in federation.tables:
        said = [m for m in caplog.messages if m.startswith(f"{site}: 'cvae'")]
        assert len(said) == 6
        assert "step 6 of 6: autoencoder.kl " in said[-1]
    assert not [text for _, text in federation.warnings if "cvae" in text]
