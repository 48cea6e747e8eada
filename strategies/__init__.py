"""How a phase is run over sites: one file, one way.

A strategy is a function ``(phase, ask, shared) -> additions to the shared model``, where `ask`
sends the shared model to the sites of the phase and returns their validated arrays.
"""

from motet.strategies.choose import check_runnable, strategy_for
from motet.strategies.rounds import Ask, Strategy

__all__ = ["Ask", "Strategy", "check_runnable", "strategy_for"]
