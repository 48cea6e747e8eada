"""Local mode with a proximal term: sites' steps are pulled towards the shared networks.

Li et al. 2020, algorithm 2 (arXiv:1812.06127). The term ``mu / 2 |w - w_shared|^2`` is part of a
site's gradient (:mod:`motet.training.at_site`); what comes of it is averaged as in fedavg.
"""

from __future__ import annotations

from motet.releases import Arrays
from motet.strategies.fedavg import average
from motet.strategies.rounds import Ask
from motet.strategies.trained import run
from motet.training.phase import Train


def fedprox(train: Train, ask: Ask, shared: Arrays) -> Arrays:
    """Train in local mode, near the shared networks."""
    return run(train, ask, shared, average)
