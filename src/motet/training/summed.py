"""What may be summed over sites in local mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet.errors import PlanError

if TYPE_CHECKING:
    from motet.training.phase import Group, Train


def check_summed(train: Train, group: Group) -> None:
    """Refuse a sum of changes in which every site repeats what is one's: momentum, decay."""
    said = f"Train '{train.name}': '{group.name}' is summed over sites and "
    if group.keeper != "owned":
        raise PlanError(f"{said}has no batches.")
    optimizer = next(u for u in train.updates if group.name in u.groups).optimizer
    adaptive = optimizer["name"] != "sgd"
    first = optimizer.get("betas", (0.9, 0.999))[0] if adaptive else 0.0
    decay = optimizer.get("weight_decay", 0.01 if optimizer["name"] == "adamw" else 0.0)
    if first or decay:
        raise PlanError(
            f"{said}its optimizer moves it without a gradient: every site would do that. "
            "Its first beta and its weight decay have to be 0."
        )
    if adaptive and train.options.mode == "local" and train.options.moments != "averaged":
        raise PlanError(
            f"{said}the optimizer's moments are {train.options.moments}: sites that seldom "
            "train it would take as long steps as its owner. Set train: {moments: averaged}."
        )
