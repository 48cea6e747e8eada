"""What a training is made of: groups of parameters, updates that move them, turns of the sites.

Plain data, no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from motet.releases import ArraySpec
from motet.training.moment import Moment

Keeper = Literal["shared", "owned", "local"]
Losses = Callable[[Any, Mapping[str, Any], Any], Mapping[str, Any]]
"""``(networks, batch, draws) -> {name: (B,)}``: one value a SAMPLE, never a mean.

What is drawn or handed in is not to be changed in place: other updates of the step see it, too."""

UNFINISHED = "training/"
"""First part of the names of what the coordinator keeps of a training that goes on."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam remembers of a group, by torch's names."""
CONTROL = "control"
"""Last part of the names of mean gradients of sites' steps (:mod:`motet.training.control`)."""
EMA = "ema"
"""Last part of the names of running means, which sites are told where they judge them."""
LOSSES, SAMPLES, WEIGHT, SQUARES, VALIDATION, VALIDATED = (
    *("losses", "samples", "weight", "squares", "validation", "validated"),
)
OF_WEIGHT = ArraySpec(
    name=WEIGHT,
    shape=(),
    least=0,
    meaning="samples since each group that leaves last left, by which its changes count",
)
OF_SQUARES = ArraySpec(
    name=SQUARES,
    shape=(),
    least=0,
    meaning="mean square of the change of each group that is averaged, by samples",
)
OF_VALIDATION = (
    ArraySpec(name=VALIDATION, shape=(), meaning="sum of the validation loss over samples"),
    ArraySpec(
        name=VALIDATED, shape=(), dtype="int64", least=0, meaning="samples of the validation"
    ),
)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters of one network or one set of heads, and who keeps them.

    Parameters
    ----------
    name : str
        Of a child of the module that ``Train.build`` makes.
    size : int
        Numbers in it, buffers of spectral norms included; of an owned group, of one batch.
    keeper : {"shared", "owned", "local"}
        ``owned``: every parameter has batches along its first axis, in the order of the schema; in
        local mode a batch's part is taken from the site that has the batch. ``local``: it never
        leaves.
    summed : bool
        Of an owned group in local mode: a batch's part moves by the sum of what all sites changed
        it by, and a site's gradient of it is its samples' sum over all samples of a step: one step
        of gradient descent is exact mode's, with a ``local_rate`` of 1. The optimizer's moments are
        still the owner's. It is for heads that other sites' samples train, too. Without momentum
        and weight decay alone.
    every : int
        Steps between exchanges in local mode; 0: the study's ``local_steps``.
    ema : float
        Decay a step of the running mean that takes the group's place in the model; 0: none.
    """

    name: str
    size: int
    keeper: Keeper = "shared"
    summed: bool = False
    every: int = 0
    ema: float = 0.0

    def numbers(self, batches: int) -> int:
        """Numbers in it where there are so many batches."""
        return self.size * (batches if self.keeper == "owned" else 1)


@dataclass(frozen=True, kw_only=True)
class Update:
    """One optimizer step of a training step; updates run in their order (critic, generator).

    Parameters
    ----------
    name : str
    groups : tuple of str
        What it moves. Other groups count as constants.
    optimizer : mapping
        ``{"name": "adam", "lr": 0.01, …}``, arguments as torch's; ``lr_of``: learning rates of
        single groups.
    losses : callable
        ``(networks, batch, draws) -> {name: (B,)}``: one value a sample.
    weights : mapping of str to float
        Of every loss, by its name.
    weighing : callable, optional
        ``(moment) -> {name: factor}`` on those weights.
    rate : callable, optional
        ``(moment) -> factor`` on the learning rate.
    period, offset : int
        It runs when ``step % period == offset``.
    """

    name: str
    groups: tuple[str, ...]
    optimizer: Mapping[str, Any]
    losses: Losses
    weights: Mapping[str, float]
    weighing: Callable[[Moment], Mapping[str, float]] | None = None
    rate: Callable[[Moment], float] | None = None
    period: int = 1
    offset: int = 0

    def runs(self, step: int) -> bool:
        """Whether it is part of this step."""
        return step % self.period == self.offset

    @property
    def moments(self) -> tuple[str, ...]:
        """What its optimizer has to remember: of a first beta of 0, no mean gradient."""
        if self.optimizer["name"] == "sgd":
            return ()
        first = self.optimizer.get("betas", (0.9, 0.999))[0]
        return MOMENTS if first else MOMENTS[1:]

    def ran(self, step: int) -> int:
        """How often it ran before this step."""
        return max(0, -(-(step - self.offset) // self.period))


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What sites do between two exchanges, and which groups leave after it.

    Attributes
    ----------
    number : int
        From 0.
    first, after : int
        The first step, and the step after the last.
    update : str
        The one whose gradients are summed; empty where sites take steps of their own, or only
        validate.
    leaving : tuple of str
        Groups, sorted.
    validates : bool
        Whether the networks are judged before those steps.
    """

    number: int
    first: int
    after: int
    update: str = ""
    leaving: tuple[str, ...] = ()
    validates: bool = False

    @property
    def exact(self) -> bool:
        """Whether gradients leave, not networks."""
        return bool(self.update)
