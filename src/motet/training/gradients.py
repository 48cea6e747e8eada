"""Summed gradients of an update over samples, and the sums of its losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from motet.errors import PlanError
from motet.training.feed import Due, Feed, Portion
from motet.training.moment import Moment
from motet.training.networks import Networks
from motet.training.phase import Losses, Update


@dataclass(kw_only=True)
class Gradients:
    """Sums over samples of one update.

    Attributes
    ----------
    of : dict of str to list of Tensor
        Group -> gradient of each of its parameters.
    losses : dict of str to list of Tensor
        Every loss of every sample, weighted by nothing; they are summed together, later, so that
        no step starts kernels for it or waits for the device.
    samples : int
    """

    of: dict[str, list[Tensor]]
    losses: dict[str, list[Tensor]]
    samples: int


def total_of(parts: Sequence[Tensor]) -> float:
    """The sum of vectors' numbers, in float64; they may be on a device."""
    return float(torch.cat(list(parts)).to(torch.float64).sum()) if parts else 0.0


def weights_at(update: Update, moment: Moment) -> dict[str, float]:
    """The weight of every loss in a step."""
    factors = update.weighing(moment) if update.weighing else {}
    return {name: weight * factors.get(name, 1.0) for name, weight in update.weights.items()}


def summed_gradients(
    networks: Networks,
    update: Update,
    feed: Feed,
    due: Due,
    moment: Moment,
    *,
    mixed: bool = False,
    mean: bool = False,
) -> Gradients:
    """Gradients of the weighted losses over samples, with respect to the update's groups.

    Parameters
    ----------
    due : Due
        The samples; nobody's gradient is zero.
    moment : Moment
    mixed : bool
        Whether losses are computed in bfloat16 where torch holds that to be safe.
    mean : bool
        Whether gradients are means over the samples; otherwise sums.

    Raises
    ------
    PlanError
        Where losses are others than the update's, or have no gradients.
    """
    weights = weights_at(update, moment)
    share = 1.0 / due.samples if mean and due.samples else 1.0
    found = Gradients(of={}, losses={name: [] for name in weights}, samples=due.samples)
    computed = feed.made(update.losses)
    networks.ask_only(update.groups)
    depends = False
    for portion in due.portions():
        losses = losses_of(computed, networks, portion, mixed=mixed)
        if losses.keys() != weights.keys():
            raise PlanError(f"Update '{update.name}' has the losses {sorted(losses)}.")
        depends |= any(loss.requires_grad for loss in losses.values())
        for name, loss in losses.items():
            found.losses[name].append(_alone(loss.detach()))
        weighing = [share * weights[name] for name in losses]
        of = networks.gradients(list(losses.values()), update.groups, weighing)
        for name, parts in of.items():
            so_far = found.of.get(name)
            found.of[name] = (
                parts if so_far is None else [a + b for a, b in zip(so_far, parts, strict=True)]
            )
    if due.samples and not depends:
        raise PlanError(
            f"No loss of '{update.name}' depends on {', '.join(update.groups)}: nothing would be "
            "learned. Was it computed without gradients?"
        )
    for name in update.groups:
        if name not in found.of:
            found.of[name] = [torch.zeros_like(leaf) for leaf in networks.leaves[name]]
    return found


def _alone(loss: Tensor) -> Tensor:
    """A loss that is a part of something larger as a copy: until the turn ends it would hold it."""
    return loss.clone() if loss.untyped_storage().nbytes() > loss.nbytes else loss


def losses_of(
    losses: Losses, networks: Networks, portion: Portion, *, mixed: bool = False
) -> Mapping[str, Tensor]:
    """What `losses` gives for some samples: one value a sample each."""
    if mixed:
        with torch.autocast(networks.device.type, dtype=torch.bfloat16):
            found = losses(networks.module, portion.seen, portion.draws)
    else:
        found = losses(networks.module, portion.seen, portion.draws)
    samples = len(portion)
    for name, loss in found.items():
        if loss.ndim != 1 or len(loss) != samples:
            raise PlanError(
                f"The loss '{name}' has the shape {tuple(loss.shape)}: it needs one value a "
                f"sample, ({samples},)."
            )
    return found
