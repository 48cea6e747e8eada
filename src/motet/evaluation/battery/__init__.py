"""The full battery of a simulation: retrained probes, tests of features, biology, travelers.

What needs everybody in one place; a deployed study is judged from sums. It needs scikit-learn,
which the ``report`` extra installs, and asks for it when it is called.
"""

from motet.evaluation.battery.invented import Permuted
from motet.evaluation.battery.judge import battery, cross_validated

__all__ = ["Permuted", "battery", "cross_validated"]
