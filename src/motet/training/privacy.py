"""Noise on what a training sends: what is asked, where it cannot be had, and how much it takes.

Abadi et al. 2016 (doi:10.1145/2976749.2978318), algorithm 1, with the person as unit. Epsilon by
Renyi divergences of the sampled Gaussian mechanism (Mironov, Talwar, Zhang 2019, arXiv:1908.10530,
section 3.3), computed by Opacus. Plain data, no torch; Opacus is imported where noise is measured.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from motet.errors import StudyFileError, TrainingError

if TYPE_CHECKING:
    from motet.phases import Phase
    from motet.releases import Arrays
    from motet.training.phase import Train

ACCOUNTANT = "RDP (Opacus)"
ORDERS = (
    *(1.1, 1.25, 1.5, 1.75),
    *map(float, range(2, 64)),
    *(64.0, 80.0, 96.0, 128.0, 192.0, 256.0, 512.0, 1024.0),
)
"""Orders of divergences: whichever gives the smallest epsilon holds. Large ones are of small
epsilons; of fractions there are few, since each takes a series."""
LITTLE = 0.03
"""Noise over the most that gradients can be, from which on it is spoken of. How much networks learn
beside it depends on their size and rate, too: decision 21 has what was measured."""


@dataclass(frozen=True, kw_only=True)
class Private:
    """What a study asks of its training.

    Attributes
    ----------
    epsilon, delta : float
        Of everything that a site sends in the training, over all its steps.
    clip : float
        Largest L2 norm of the gradient of a person: all of the person's rows, all groups.
    """

    epsilon: float
    delta: float
    clip: float


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """What that comes to for so many samples.

    Attributes
    ----------
    rate : float
        Probability with which a person is drawn in a step.
    steps : int
    noise_multiplier : float
        Standard deviation of the noise of one site, in units of `clip`.
    """

    rate: float
    steps: int
    noise_multiplier: float


def check_private(method: str, trainings: Sequence[Train]) -> None:
    """Refuse a study whose method has not one training that can be private.

    Raises
    ------
    StudyFileError
    """
    if len(trainings) != 1:
        raise StudyFileError(
            f"'dp' is noise on what a training sends, and '{method}' has "
            f"{'none' if not trainings else 'several, which would share epsilon'}.",
            do="Take 'dp' out, or choose another method.",
            key="privacy.dp",
        )
    check(trainings[0])


def check(train: Train) -> None:
    """Refuse a training of which one person's part has no bound, or another than is accounted for.

    Raises
    ------
    StudyFileError
        With the reason, and what to change.
    """
    how = train.options
    local = [group.name for group in train.groups if group.keeper == "local"]
    if not train.dp:
        why = (
            f"the losses of '{train.name}' are not declared as sums over people, one by one, with "
            "gradients that can be clipped"
        )
        do = "Take 'dp' out, or choose another method."
    elif local:
        why = (
            f"{', '.join(local)} never leave their site and learn from its people without noise: "
            "what leaves depends on them"
        )
        do = "Take 'dp' out, or choose another method."
    elif len(train.updates) > 1:
        names = ", ".join(update.name for update in train.updates)
        why = f"'{train.name}' has several updates a step ({names}), and one clip for all of them"
        do = "Take 'dp' out, or choose another method."
    elif how.mode != "exact":
        why = (
            "in local mode a site takes steps on its own people, and what leaves after them has no "
            "bound for one person"
        )
        do = "Set train: {mode: exact}."
    elif how.validation:
        why = "the losses of a validation would leave without noise"
        do = "Set train: {validation: 0}."
    elif train.strata:
        why = "people are drawn by rates that depend on how many a scanner has, which is private"
        do = "Take 'dp' out, or choose another method."
    elif how.precision == "bfloat16":
        why = "bfloat16 is too coarse for gradients that are clipped one by one"
        do = "Set train: {precision: float32}."
    else:
        return
    raise StudyFileError(
        f"The training cannot be differentially private: {why}.", do=do, key="privacy.dp"
    )


def mechanism(train: Train, samples: int) -> Mechanism:
    """Rate, steps and noise of a private training on so many samples.

    Raises
    ------
    TrainingError
        When delta is too large for so many, or epsilon smaller than any noise gives.
    """
    asked = train.private
    assert asked is not None
    if asked.delta * samples >= 1.0:
        raise TrainingError(
            f"delta is {asked.delta:g}, 1 over {1 / asked.delta:.0f}, and the fit has {samples} "
            "rows: with so large a delta somebody's data may leave as they are.",
            do=f"Set privacy: {{dp: {{delta: {10.0 ** -math.ceil(math.log10(10 * samples)):g}}}}}.",
            key="privacy.dp.delta",
        )
    each, steps = train.per_epoch(samples), train.steps(samples)
    rate = 1.0 / each
    return Mechanism(
        rate=rate,
        steps=steps,
        noise_multiplier=noise_multiplier(asked.epsilon, asked.delta, rate, steps),
    )


@lru_cache(maxsize=64)
def noise_multiplier(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The smallest noise with which so many steps are (epsilon, delta)-private, to 0.1 %.

    Raises
    ------
    TrainingError
    """
    from opacus.accountants.utils import get_noise_multiplier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the best order is the last: the bound holds
        try:
            found = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                epsilon_tolerance=1e-3 * epsilon,
                alphas=list(ORDERS),
            )
        except ValueError as error:
            raise TrainingError(
                f"No noise gives epsilon {epsilon:g} at delta {delta:g} over {steps} steps.",
                do="A larger epsilon or delta, fewer steps, or a smaller batch.",
                key="privacy.dp.epsilon",
            ) from error
    return float(found)


def spent(noise: float, rate: float, steps: int, delta: float) -> float:
    """Epsilon of `steps` steps with noise of `noise` times the clip."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta=delta, alphas=list(ORDERS)))


def noise_to_signal(train: Train, how: Mechanism, samples: int, sizes: Mapping[str, int]) -> float:
    """How much longer noise is than what it hides, over a whole training.

    Parameters
    ----------
    train : Train
        Noise is on each of its parameters.
    how : Mechanism
    samples : int
        Of all sites; none that is drawn adds more than the clip.
    sizes : mapping of str to int
        ``sites``, of which each adds the whole noise, and ``batches``.

    Returns
    -------
    float
        Expected length of the sum of all steps' noise, over the most that gradients which all
        point the same way sum to.
    """
    parameters = sum(group.numbers(sizes["batches"]) for group in train.leaving)
    noise = how.noise_multiplier * math.sqrt(sizes["sites"] * parameters / how.steps)
    return noise / (how.rate * samples)


def learned(share: float) -> str:
    """A sentence of what noise may have left of a training; empty where it is little.

    Parameters
    ----------
    share : float
        See :func:`noise_to_signal`.
    """
    if share < LITTLE:
        return ""
    return (
        f"Over the whole training the noise is {share:.2g} times as long as all gradients could "
        "be together, if they pointed the same way, which they never do. Networks learn less than "
        "without it, or nothing: compare with a method that is not trained, or with no noise."
    )


def run_with(name: str, shared: Arrays) -> Mechanism | None:
    """What a finished private training `name` was run with; None of one that was not."""
    keys = [f"{name}.{what}" for what in ("rate", "steps", "noise_multiplier")]
    if any(key not in shared for key in keys):
        return None
    rate, steps, noise = (float(shared[key]) for key in keys)
    return Mechanism(rate=rate, steps=round(steps), noise_multiplier=noise)


def learned_in(name: str, shared: Arrays) -> str:
    """What noise may have left of a finished training; empty of one without."""
    share = shared.get(f"{name}.noise_to_signal")
    return "" if share is None else learned(float(share))


def document(phases: Iterable[Phase]) -> dict[str, Any] | None:
    """What is private in a plan, and what is not, for everybody who reads it; None: nothing is."""
    leaving = [phase for phase in phases if phase.leaves is not None]
    asked = {p.name: q for p in leaving if (q := getattr(p, "private", None)) is not None}
    if not asked:
        return None
    ((name, private),) = asked.items()
    return {
        "unit": "person",
        "epsilon": private.epsilon,
        "delta": private.delta,
        "clip": private.clip,
        "accountant": ACCOUNTANT,
        "covers": [name],
        "not_covered": [phase.name for phase in leaving if phase.name != name],
    }


def sentences(said: dict[str, Any]) -> tuple[str, str]:
    """What is covered and what is not, of a :func:`document`."""
    return (
        f"Differential privacy covers: {', '.join(said['covers'])}. Whatever one person's data "
        f"are, the training's releases of a site are ({said['epsilon']:g}, {said['delta']:g})-"
        f"differentially private, over all its steps; a person's gradient is clipped to "
        f"{said['clip']:g}, and every site adds the whole noise itself.",
        f"Not covered: {', '.join(said['not_covered'])}. These leave exactly, without noise; the "
        "study as a whole is not differentially private.",
    )
