"""Several sums of the same numbers are equations: who stands alone in what follows from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.secure.subtraction import exposed

ALL = "abcdef"


@pytest.mark.parametrize(
    ("circles", "found"),
    [
        (["abcd"], ""),
        (["abcd", "abcd"], ""),
        (["abcd", "abc"], "d"),
        (["abc", "abcd"], "d"),
        (["abcde", "abc"], "de"),
        (["abcdef", "abc"], ""),
        (["abcd", "bcde"], "ae"),  # what a has more than e
        (["abcdef", "abc", "cdef"], "c"),  # no two of them differ by fewer than two sites
        (["abcd", "efgh"], ""),
    ],
)
def test_who_stands_alone(circles: list[str], found: str) -> None:
    """Catches two sums that differ by one site, and three of which no two do."""
    assert exposed(circles, "abcdefgh") == tuple(found)


def test_those_who_do_not_mind() -> None:
    """Catches a study that is stopped for a site which allows plain sums."""
    assert exposed(["abcd", "abc"], "abc") == ()
    assert exposed(["abcde", "abc"], "e") == ("d", "e")


@given(
    st.lists(st.sets(st.sampled_from(ALL), min_size=3), min_size=1, max_size=5),
    st.sampled_from(ALL),
)
def test_one_more_sum_never_hides_anybody(circles: list[set[str]], who: str) -> None:
    """Catches a rank that shrinks with more equations."""
    if any(exposed(circles[:k], who) for k in range(1, len(circles))):
        assert exposed(circles, who)
