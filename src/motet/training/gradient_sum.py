"""The sum of a group's gradients over steps, from what its optimizer remembers of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from motet.training.networks import joined
from motet.training.optimizer import Optimizer


class GradientSum:
    """The sum of a group's gradients from here on.

    Adam's first moment is a running mean, ``m_t = b m_(t-1) + (1 - b) g_t``. Of the s gradients
    between two looks at it ``(m_t - b^s m_(t-s)) / (1 - b^s)`` is a mean, whose weights fall by b
    from the last to the first; s of it are taken for their sum. Looked at every ``1 / (1 - b)``
    steps, no gradient weighs less than 1 / e of another, and a look's three kernels are for as many
    steps (decision 22). Every gradient is added where an optimizer has no such mean, and where
    looks save little or are few: fewer than three alike would lean to the later steps.

    Parameters
    ----------
    optimizer : Optimizer
        With the moments that the steps begin with.
    name : str
        The group.
    leaves : sequence of Tensor
        Its parameters.
    steps : int
        How many steps are to come, at the most.

    Attributes
    ----------
    steps : int
        How many gradients the sum is of.
    """

    def __init__(
        self, optimizer: Optimizer, name: str, leaves: Sequence[Tensor], *, steps: int
    ) -> None:
        self._decay, means = optimizer.running(name)
        # Of 0.9, 1 / (1 - b) is a little less than ten as floating point has it.
        self._every = int(1.0 / (1.0 - self._decay) + 1e-9)
        looks = self._every > 3 and steps >= 3 * self._every
        self._running = means if looks else []
        self._sum = [torch.zeros_like(leaf) for leaf in leaves]
        self._seen = [mean.clone() for mean in self._running]
        self.steps = self._unseen = 0

    def add(self, gradient: list[Tensor]) -> None:
        """Count a gradient, one tensor a parameter, after the optimizer's step along it."""
        self.steps += 1
        if not self._running:
            torch._foreach_add_(self._sum, gradient)
            return
        self._unseen += 1
        if self._unseen == self._every:
            self._look()

    def _look(self) -> None:
        left = self._decay**self._unseen
        scale = self._unseen / (1.0 - left)
        torch._foreach_add_(self._sum, self._running, alpha=scale)
        torch._foreach_add_(self._sum, self._seen, alpha=-scale * left)
        torch._foreach_copy_(self._seen, self._running)
        self._unseen = 0

    def total(self) -> Tensor:
        """The sum as one flat vector."""
        if self._unseen:
            self._look()
        return joined(self._sum)
