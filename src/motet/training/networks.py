"""Networks as flat vectors, one a group: what is optimized, exchanged and written down."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from motet.errors import PlanError
from motet.releases import Arrays
from motet.site import draw
from motet.training.phase import Group, Train

BUILDING = threading.Lock()
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.float32}


class Networks:
    """The networks of a training, and each group's numbers as one vector.

    A group's vector is its parameters in the order of ``named_parameters``, then its buffers. It is
    joined where it is asked for: parameters have memory of their own, as torch allocates it.

    Parameters
    ----------
    module : torch.nn.Module
        Its children are the groups.
    groups : sequence of Group
    batches : int
        Batches along the first axis of owned groups.
    dtype : torch.dtype
    device : torch.device
    """

    def __init__(
        self,
        module: nn.Module,
        groups: Sequence[Group],
        *,
        batches: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.module = module.to(device=device, dtype=dtype)
        self.groups = {group.name: group for group in groups}
        self.batches, self.dtype, self.device = batches, dtype, device
        self._host = np.float64 if dtype == torch.float64 else np.float32
        self._asked: tuple[str, ...] | None = None
        children = dict(module.named_children())
        if set(children) != set(self.groups):
            raise PlanError(
                f"The networks have the children {sorted(children)}, the plan the groups "
                f"{sorted(self.groups)}."
            )
        self.leaves: dict[str, list[nn.Parameter]] = {}
        self._refreshed: dict[str, list[Any]] = {}
        self.buffers: dict[str, Tensor] = {}
        whose: dict[int, str] = {}
        for name, child in children.items():
            for leaf in child.parameters():
                if (other := whose.setdefault(id(leaf), name)) != name:
                    raise PlanError(
                        f"The groups '{other}' and '{name}' have a parameter in common."
                    )
            self._take(name, child)

    def _take(self, name: str, child: nn.Module) -> None:
        group = self.groups[name]
        self._refreshed[name] = [m for m in child.modules() if hasattr(m, "refresh")]
        self.leaves[name] = list(child.parameters())
        if group.keeper == "owned" and any(len(p) != self.batches for p in self.leaves[name]):
            raise PlanError(f"A parameter of the owned group '{name}' has no axis of batches.")
        for leaf in self.leaves[name]:
            # Optimizers read memory as it lies.
            leaf.data = leaf.data.contiguous()
        buffers = [(m, key) for m in child.modules() for key, _ in m.named_buffers(recurse=False)]
        rest = _joined((getattr(m, key) for m, key in buffers), self.dtype, self.device)
        start = 0
        for owner, key in buffers:
            old = getattr(owner, key)
            setattr(owner, key, rest[start : start + old.numel()].view(old.shape))
            start += old.numel()
        self.buffers[name] = rest
        count = self.count(name) + len(rest)
        expected = group.numbers(self.batches)
        if count != expected:
            raise PlanError(f"The group '{name}' has {count} numbers; its plan says {expected}.")
        if group.keeper == "owned" and len(rest):
            raise PlanError(f"The owned group '{name}' has buffers: they belong to no batch.")

    def count(self, name: str) -> int:
        """Parameters of a group, of all batches; its buffers are not among them."""
        return sum(leaf.numel() for leaf in self.leaves[name])

    def parameters(self, name: str) -> Tensor:
        """A group's parameters as one flat vector: a copy."""
        return joined(leaf.detach() for leaf in self.leaves[name])

    def vector(self, name: str) -> NDArray[np.float64]:
        """A group's numbers, (size,) or (batches, size) float64."""
        return self.numbers(name).to("cpu", torch.float64).numpy()

    def numbers(self, name: str) -> Tensor:
        """The same where and as they are: on the device, in its precision."""
        return self.shaped(
            name, joined([*(leaf.detach() for leaf in self.leaves[name]), self.buffers[name]])
        )

    def load(self, name: str, vector: NDArray[np.floating]) -> None:
        """Take a group's numbers."""
        flat = self.taken(name, vector)
        count = self.count(name)
        with torch.no_grad():
            for leaf, part in zip(self.leaves[name], self.parts(name, flat[:count]), strict=True):
                leaf.copy_(part)
            self.buffers[name].copy_(flat[count:])

    def taken(self, name: str, shaped: NDArray[np.floating]) -> Tensor:
        """A vector that was told or kept, flat, in the precision of the networks."""
        # What is told may be read only, as tensors never are; a device gets it in one copy.
        with np.errstate(over="ignore"):  # infinite is said of by whoever computes with it
            told = torch.from_numpy(np.array(shaped, dtype=self._host))
        return self.flat(name, told.to(self.device))

    def shaped(self, name: str, flat: Tensor) -> Tensor:
        """A flat vector as it leaves: of an owned group, a row a batch."""
        if self.groups[name].keeper != "owned":
            return flat
        parts, start = [], 0
        for parameter in self.leaves[name]:
            parts.append(flat[start : start + parameter.numel()].view(self.batches, -1))
            start += parameter.numel()
        return torch.cat(parts, dim=1)

    def flat(self, name: str, shaped: Tensor) -> Tensor:
        """Inverse of :meth:`shaped`."""
        if self.groups[name].keeper != "owned":
            return shaped.reshape(-1)
        widths = [parameter.numel() // self.batches for parameter in self.leaves[name]]
        parts = shaped.split_with_sizes(widths, dim=1)
        return torch.cat([part.reshape(-1) for part in parts])

    def ask_only(self, names: Sequence[str]) -> None:
        """Let what is computed from now on keep what gradients of these groups take, and no more.

        Other groups have no gradients until they are asked for.
        """
        asked = tuple(names)
        if asked == self._asked:
            return
        for name, leaves in self.leaves.items():
            for leaf in leaves:
                leaf.requires_grad_(name in asked)
        self._asked = asked

    def gradients(
        self, losses: Sequence[Tensor], names: Sequence[str], weights: Sequence[float] = (1.0,)
    ) -> dict[str, list[Tensor]]:
        """Gradients of a weighted sum of losses with respect to some groups.

        Parameters
        ----------
        losses : sequence of tensors
            Of any shape; all their numbers are summed.
        names : sequence of str
            Groups.
        weights : sequence of float
            Of each loss.

        Returns
        -------
        dict of str to list of Tensor
            One a parameter, as torch makes them: to join them costs memory traffic that only an
            exchange needs. Zero where the losses have nothing of it.
        """
        leaves = [leaf for name in names for leaf in self.leaves[name]]
        # The sum itself is nowhere needed: a backward pass begins with the weights.
        of, along = [], []
        for loss, weight in zip(losses, weights, strict=True):
            if loss.requires_grad:
                of.append(loss)
                along.append(torch.full_like(loss, weight))
        # backward() would take two hundredths less, and leave its gradients at parameters: those of
        # a step that failed, and of whatever else a loss asks for gradients of.
        parts = iter(torch.autograd.grad(of, leaves, along, allow_unused=True))
        found: dict[str, list[Tensor]] = {}
        for name in names:
            pairs = zip(self.leaves[name], parts, strict=False)
            # Optimizers read memory as it lies: a transposed or an expanded gradient is another.
            found[name] = [torch.zeros_like(w) if g is None else g.contiguous() for w, g in pairs]
        return found

    def parts(self, name: str, flat: Tensor) -> list[Tensor]:
        """A flat vector of a group's parameters as views, one a parameter."""
        split = flat.split_with_sizes([leaf.numel() for leaf in self.leaves[name]])
        return [part.view(leaf.shape) for part, leaf in zip(split, self.leaves[name], strict=True)]

    def refresh(self, names: Iterable[str]) -> None:
        """Let modules that keep something of their weights (spectral norms) take the new ones."""
        for name in names:
            for part in self._refreshed[name]:
                part.refresh()


def joined(parts: Iterable[Tensor]) -> Tensor:
    """Tensors as one flat vector."""
    return torch.cat([part.reshape(-1) for part in parts])


def _joined(parts: Iterable[Tensor], dtype: torch.dtype, device: torch.device) -> Tensor:
    flat = [part.detach().to(device, dtype).reshape(-1) for part in parts]
    return torch.cat(flat) if flat else torch.zeros(0, dtype=dtype, device=device)


def build(train: Train, sizes: Mapping[str, int], *, seed: int, device: str = "cpu") -> Networks:
    """The networks with their first weights: the same of one seed, wherever they are built."""
    first = int(draw(seed, "first weights", train.name).integers(2**63))
    # torch's generator is everybody's: sites of one process build theirs one after another.
    with BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(first)
        module = train.build(sizes)
    return Networks(
        module,
        train.groups,
        batches=sizes["batches"],
        dtype=DTYPES[train.options.precision],
        device=torch.device(device),
    )


def trained(train: Train, sizes: Mapping[str, int], shared: Arrays) -> Any:
    """The module with the weights of a finished training, float64 on the processor."""
    with BUILDING, torch.random.fork_rng(devices=[]):
        module = train.build(sizes)
    networks = Networks(
        module,
        train.groups,
        batches=sizes["batches"],
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    for group in train.leaving:
        networks.load(group.name, shared[f"{train.name}.{group.name}"])
    return module


def counted(module: nn.Module, name: str, *, batches: int = 0) -> int:
    """Numbers in a child of a module; of an owned one, of one batch. For ``Group.size``."""
    child = module.get_submodule(name)
    count = sum(p.numel() for p in child.parameters()) + sum(b.numel() for b in child.buffers())
    return count // batches if batches else count
