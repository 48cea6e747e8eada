"""Networks as groups of numbers: what is refused, gradients, and what is taken and given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from motet.errors import PlanError
from motet.training.networks import Networks
from motet.training.phase import Group


class Scales(nn.Module):
    """A number a batch, and a buffer beside it where one is asked for."""

    def __init__(self, batches: int, *, counts: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(batches, 1))
        if counts:
            self.register_buffer("count", torch.zeros(batches))


def networks(children: dict[str, nn.Module], *groups: Group, **more: Any) -> Networks:
    return Networks(
        nn.ModuleDict(children),
        groups,
        batches=3,
        dtype=more.get("dtype", torch.float64),
        device=torch.device("cpu"),
    )


def two() -> Networks:
    return networks(
        {"first": nn.Linear(3, 2), "second": nn.Linear(2, 1, bias=False)},
        Group(name="first", size=8),
        Group(name="second", size=2),
    )


ONE = nn.Linear(2, 2, bias=False)


@pytest.mark.parametrize(
    ("children", "groups", "said"),
    [
        ({"a": nn.Linear(2, 1)}, [Group(name="b", size=3)], "have the children"),
        ({"a": nn.Linear(2, 1)}, [Group(name="a", size=4)], "'a' has 3 numbers"),
        (
            {"a": ONE, "b": nn.Sequential(ONE)},
            [Group(name="a", size=4), Group(name="b", size=4)],
            "'a' and 'b' have a parameter in common",
        ),
        ({"a": Scales(2)}, [Group(name="a", size=1, keeper="owned")], "no axis of batches"),
        (
            {"a": Scales(3, counts=True)},
            [Group(name="a", size=2, keeper="owned")],
            "belong to no batch",
        ),
    ],
    ids=["names", "size", "shared parameter", "axis", "buffer of an owner"],
)
def test_refusals(children: dict[str, nn.Module], groups: list[Group], said: str) -> None:
    """Catches groups that are not what the plan says, found out in the middle of a training."""
    with pytest.raises(PlanError, match=said):
        networks(children, *groups)


def losses_of(nets: Networks, x: Tensor) -> tuple[Tensor, Tensor]:
    hidden = torch.tanh(nets.module["first"](x))
    return nets.module["second"](hidden).square()[:, 0], hidden.sum(dim=1)


def test_gradients_are_those_of_the_weighted_sum() -> None:
    """Catches weights that are left out or given to another loss, and gradients of a mean."""
    nets, x = two(), torch.randn(5, 3, generator=torch.manual_seed(0), dtype=torch.float64)
    found = nets.gradients(losses_of(nets, x), ("second", "first"), [0.5, -2.0])
    first, second = losses_of(nets, x)
    total = 0.5 * first.sum() - 2.0 * second.sum()
    for name in ("first", "second"):
        wanted = torch.autograd.grad(total, nets.leaves[name], retain_graph=True)
        for a, b in zip(found[name], wanted, strict=True):
            assert torch.allclose(a, b, rtol=1e-13, atol=0)


def test_what_no_loss_depends_on_has_no_gradient() -> None:
    """Catches a loss without a history, and a group that no loss knows, that stop a training."""
    nets, x = two(), torch.ones(4, 3, dtype=torch.float64)
    constant = torch.ones(4, dtype=torch.float64)
    first, second = losses_of(nets, x)
    of_second_alone = nets.gradients([second, constant], ("second",), [1.0, 1.0])
    assert not of_second_alone["second"][0].any()
    of_nothing = nets.gradients([constant], ("first", "second"))
    assert all(not part.any() for parts in of_nothing.values() for part in parts)
    with pytest.raises(ValueError, match="zip"):
        nets.gradients([first, constant], ("first",), [1.0])


def test_groups_that_are_not_asked_for_keep_nothing() -> None:
    """Catches gradients that are computed for groups that an update does not move, and a group
    that is not asked for again after another was."""
    nets = two()
    for names in (("first",), ("second",), ("second",), ("first", "second"), ("first",)):
        nets.ask_only(names)
        asked = {
            name for name, leaves in nets.leaves.items() if all(p.requires_grad for p in leaves)
        }
        assert asked == set(names)
        other = {n for n, leaves in nets.leaves.items() if not any(p.requires_grad for p in leaves)}
        assert other == set(nets.leaves) - set(names)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_that_are_told_are_copied(dtype: torch.dtype) -> None:
    """Catches a vector of the coordinator's, read only in shared memory, that is trained in."""
    nets = networks({"a": nn.Linear(2, 1)}, Group(name="a", size=3), dtype=dtype)
    told = np.array([1.0, 2.0, 1 / 3])
    told.flags.writeable = False
    nets.load("a", told)
    with torch.no_grad():
        for leaf in nets.leaves["a"]:
            leaf += 1
    assert told.tolist() == [1.0, 2.0, 1 / 3]
    wanted = np.asarray(told, np.float32 if dtype == torch.float32 else np.float64) + 1
    assert np.array_equal(nets.vector("a"), wanted.astype(np.float64))
