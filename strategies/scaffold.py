"""Local mode with control variates: sites' gradients are corrected by what all sites' were.

Karimireddy et al. 2020, algorithm 1 (arXiv:1910.06378). The correction is part of a site's gradient
(:mod:`motet.training.control`); what comes of it is averaged as in fedavg, and so are the controls.
"""

from __future__ import annotations

from motet.releases import Arrays
from motet.strategies.fedavg import average
from motet.strategies.rounds import Ask
from motet.strategies.trained import run
from motet.training.phase import Train


def scaffold(train: Train, ask: Ask, shared: Arrays) -> Arrays:
    """Train in local mode, along what all sites' gradients have in common."""
    return run(train, ask, shared, average)
