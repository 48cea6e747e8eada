"""Shorter waits in Flower's own ServerApp process: 20 ms instead of 1, 2, 4 … seconds.

A reply's metadata can be seen before its objects are there; Flower then waits a second and doubles
it. The bounds are keyword defaults of one function of the pinned version, and are set where they
stand, since Flower's grid calls it without arguments.
"""

from __future__ import annotations

from flwr.supercore.inflatable import inflatable_utils

FIRST_WAIT, LONGEST_WAIT, TRIES = 0.02, 0.5, 1000
"""Seconds, seconds, and looks for one object: 500 of Flower's long waits would be too few."""


def quick_pulls() -> None:
    """Set the bounds, in this process.

    Raises
    ------
    RuntimeError
        When Flower has no such keywords any more.
    """
    defaults = inflatable_utils.pull_objects.__kwdefaults__
    bounds = {
        "initial_backoff": FIRST_WAIT,
        "backoff_cap": LONGEST_WAIT,
        "max_tries_per_object": TRIES,
    }
    if missing := sorted(set(bounds) - set(defaults or ())):
        raise RuntimeError(f"Flower's pull_objects has no {', '.join(missing)}: see motet.flower.")
    defaults.update(bounds)
