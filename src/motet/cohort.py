"""Which people a phase reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizer import Params
from motet.site import draw


def in_fit(people: NDArray[Any], *, held_out: float, seed: int) -> NDArray[np.bool_]:
    """Which rows the fit sees, (n,) bool.

    A person is held out, with all sessions, by a draw that depends on the seed and the person
    alone: the same people whichever way the data are split into sites.

    Parameters
    ----------
    people : (n,) array of str
        ``participant_id`` of every row.
    held_out : float
        Share of people that the fit does not see.
    seed : int
    """
    if held_out == 0:
        return np.ones(len(people), dtype=bool)
    chosen = {
        person: draw(seed, "held_out", str(person)).random() >= held_out
        for person in set(people.tolist())
    }
    return np.array([chosen[person] for person in people.tolist()], dtype=bool)


def seen_by_fit(
    table: Table, *, held_out: float, seed: int, params: Params | None = None
) -> NDArray[np.bool_]:
    """Which rows of a site the fit sees, (n,) bool: see :func:`in_fit`.

    Parameters
    ----------
    params : Params, optional
        The method's: travelers whom it needs are never held out.
    """
    needed = () if params is None else params.needed
    if params is not None and not needed and table.site == params.holder:
        return np.ones(len(table), dtype=bool)
    always = [person for key, person in table.travelers.items() if key in needed]
    drawn = in_fit(table.people, held_out=held_out, seed=seed)
    return np.asarray(drawn | np.isin(table.people, always))
