"""How much further than the mean of the sites' changes networks are moved: FedExP.

Jhunjhunwala et al. 2023, algorithm 1 (arXiv:2301.09604). Of changes at right angles to one another,
as those are by which each site learns its own people, the mean keeps a part that falls with the
number of sites; of equal ones all. How long they are beside their mean tells which it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from motet.training.exchange import mean_square
from motet.training.phase import SQUARES, WEIGHT, Turn

if TYPE_CHECKING:
    from motet.training.coordinator import Trainer


def extrapolation(
    trainer: Trainer,
    turn: Turn,
    sums: Mapping[str, NDArray[Any]],
    changes: Mapping[str, NDArray[Any]],
) -> dict[str, float]:
    """Server step sizes, by which the mean changes of groups are multiplied.

    Parameters
    ----------
    trainer : Trainer
    turn : Turn
    sums : mapping of str to ndarray
        Over all sites.
    changes : mapping of str to ndarray
        Mean changes, as of :func:`motet.strategies.fedavg.mean_change`.

    Returns
    -------
    dict of str to float
        Of every group that is averaged, from 1 to half the number of sites: what the published
        rule gives for changes at right angles, of sites of one size. Opposite ones it would
        lengthen without end; the paper takes one step size for all parameters, and no largest.
    """
    train = trainer.train
    if not train.options.extrapolate:
        return {}
    samples = dict(zip(turn.leaving, sums[WEIGHT], strict=True))
    squares = dict(zip(train.averaged(turn), sums[SQUARES], strict=True))
    most = max(1.0, trainer.sizes["sites"] / 2)
    found = {}
    for name in squares.keys() & changes.keys():
        of_mean = mean_square(changes[name][: trainer.count(name)])
        of_sites = float(squares[name]) / samples[name]
        found[name] = min(most, max(1.0, of_sites / (2 * of_mean))) if of_mean else 1.0
    return found
