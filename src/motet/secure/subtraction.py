"""What follows from several sums by subtraction: one of five sites, and one of four of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations

import numpy as np


def exposed(circles: Sequence[Collection[str]], shy: Collection[str]) -> tuple[str, ...]:
    """The fewest sites whose own sum, or sum of two, follows from these sums of the same numbers.

    Sums are equations. One site stands alone in what follows from them where without its column
    their matrix has a smaller rank; two stand alone, where without both columns it has. (Of two,
    each knows its own part.)

    Parameters
    ----------
    circles : sequence of collection of str
        Whom each sum is over.
    shy : collection of str
        Those who do not want to be read: where nobody of them is among the exposed, all is well.

    Returns
    -------
    tuple of str
        Empty where nobody is.
    """
    if not shy:
        return ()
    members = sorted({member for circle in circles for member in circle})
    rows = sorted({tuple(member in circle for member in members) for circle in circles})
    matrix = np.array(rows, dtype=np.float64).reshape(len(rows), len(members))
    rank = _rank(matrix)

    def alone(*columns: int) -> int:
        """How many independent sums of these members alone follow."""
        return rank - _rank(np.delete(matrix, columns, axis=1))

    ones = [alone(k) for k in range(len(members))]
    minding = [member in shy for member in members]
    for k, count in enumerate(ones):
        if count and minding[k]:
            return (members[k],)
    for i, j in combinations(range(len(members)), 2):
        # Of two of whom one stands alone anyway, nothing new follows.
        if (minding[i] or minding[j]) and alone(i, j) > ones[i] + ones[j]:
            return members[i], members[j]
    return ()


def _rank(matrix: np.ndarray) -> int:
    return int(np.linalg.matrix_rank(matrix)) if matrix.size else 0
