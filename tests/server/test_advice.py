"""What somebody is told to do about sites that are not there."""

from __future__ import annotations

import pytest

from motet.server.advice import about_lost, about_missing


@pytest.mark.parametrize(
    ("missing", "said", "not_said"),
    [
        ({}, ["needs two sites"], ["log"]),
        ({"a": "not-approved", "b": "not-approved"}, ["motet site approve"], ["log"]),
        (
            {"a": "not-approved", "b": "policy", "c": "policy"},
            ["motet site approve", "own log"],
            ["wait until"],
        ),
        ({"a": "data", "b": "study-file"}, ["They say the same"], []),
        ({"a": "data"}, ["own log"], ["They say"]),
        ({"a": "policy", "b": "timeout"}, ["wait until the others are back"], []),
        ({"a": "policy", "b": "policy"}, ["own log"], ["wait until"]),
    ],
    ids=str,
)
def test_missing_sites(missing: dict[str, str], said: list[str], not_said: list[str]) -> None:
    """Catches advice for a reason that is not theirs, and a wait for sites that need a word."""
    advice = about_missing(missing, plain=True)
    assert all(words in advice for words in said)
    assert not any(words in advice for words in not_said)


def test_masked_sums_need_no_others() -> None:
    """Catches talk of two sites where sums are masked by the study."""
    assert "masked" not in about_missing({"a": "policy", "b": "timeout"}, plain=False)


def test_sites_that_a_run_needs() -> None:
    """Catches a site that is to be started although it is up, and one that is down forgotten."""
    both = about_lost({"a": "policy", "b": "site-failed"})
    assert "policy of a refused" in both
    assert "Have b started again" in both
    assert "started" not in about_lost({"a": "policy"})
    assert "policy" not in about_lost({"b": "timeout"})
