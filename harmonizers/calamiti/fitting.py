"""A target's style code, fitted to the target's own people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers.calamiti.params import CalamitiParams

if TYPE_CHECKING:
    from torch import Tensor

    from motet.harmonizers.calamiti.networks import Calamiti
    from motet.training.samples import Samples

Float = NDArray[np.float64]
RATE = 0.03
"""Of Adam, in units of style codes, whose numbers are about 1."""
SLICES = 8
"""Of a step, of every contrast, in the mean: each slice's place in a pass is drawn."""


def fitted(
    networks: Calamiti,
    params: CalamitiParams,
    seen: Samples,
    rows: NDArray[np.intp],
    *,
    seed: int,
    theta: Float,
) -> Float:
    """The style code with which a scanner's people are decoded nearest to their scans.

    The style encoder says how one image looks; the mean of its codes over a scanner's people is not
    the code that makes all of them look right. So the mean is where a descent begins, networks as
    they are, by Adam with a rate that falls as a cosine, on

        L(theta) = mean over slices and contrasts c of |D(beta, theta_c) - x_c|, within the brain,

    with beta the anatomy of which images are made. Each step is of about ``SLICES`` slices, so that
    ``style_steps * SLICES`` are seen in all; a scanner may have more. Where these come no nearer to
    their scans than with the mean, the mean it is.

    It is of the scanner's people alone. An optimum depends on single people more than a mean does
    (``docs/decisions/0024-calamiti.md``).

    Parameters
    ----------
    networks : Calamiti
        They are not trained any more: their parameters ask for no gradients from then on. They
        decide on device and precision.
    params : CalamitiParams
        ``style_steps`` of them.
    seen : Samples
        The site's, as networks are trained on them: ``x`` and ``brain`` are read.
    rows : (n,) int
        The scanner's among them; one at least.
    seed : int
        Of the study.
    theta : (contrasts, codes) float64
        Where to begin.

    Returns
    -------
    (contrasts, codes) float64
    """
    import torch

    from motet.training.device import steady
    from motet.training.feed import Feed
    from motet.training.moment import Moment, falling
    from motet.training.order import Order

    like = next(networks.parameters())
    keys, per_epoch = seen.keys(seed), len(rows) / min(SLICES, len(rows))
    seen = replace(seen, arrays={n: seen.arrays[n] for n in ("x", "brain")}, drawn={}, constants={})
    feed = Feed(seen, keys, dtype=like.dtype, device=like.device)
    order = Order.alike(keys[rows], per_epoch=per_epoch)
    steps = {step: rows[order.due(step)] for step in range(params.style_steps)}
    networks.requires_grad_(False)
    with steady(params.train.threads):
        first = torch.from_numpy(np.array(theta)).to(like)
        code = first.clone().requires_grad_()
        adam = torch.optim.Adam([code], lr=RATE)
        for due in feed.ahead(steps):
            if not due.samples:
                continue
            moment = Moment(step=due.step, steps=len(steps), per_epoch=per_epoch)
            adam.param_groups[0]["lr"] = RATE * falling(moment)
            code.grad = torch.zeros_like(code)
            for portion in due.portions():
                error = _decoded(networks, params, portion.seen).error(code) / due.samples
                code.grad += torch.autograd.grad(error, code)[0]
            adam.step()
        # Anatomy is asked for again: codes of all slices would take more memory than networks do.
        last, more = code.detach(), 0.0
        for due in feed.ahead(steps):
            for portion in due.portions():
                with torch.no_grad():
                    slices = _decoded(networks, params, portion.seen)
                    more += float(slices.error(last) - slices.error(first))
    # A code that is no number is not nearer, either.
    return last.to("cpu", torch.float64).numpy() if more < 0.0 else theta


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    """Slices that are decoded with a style a contrast.

    Attributes
    ----------
    networks : Calamiti
    x, brain : (contrasts B, 1, h, w)
        Slices, and where their brain is.
    brains : list of Tensor, optional
        The same at every level of the networks, where norms are taken within it.
    anatomy : (contrasts B, anatomy, h, w)
    """

    networks: Calamiti
    x: Tensor
    brain: Tensor
    brains: list[Tensor] | None
    anatomy: Tensor

    def error(self, code: Tensor) -> Tensor:
        """Absolute error within the brain, (): mean of contrasts, summed over samples."""
        from motet.harmonizers.calamiti.losses import apart

        each = code.repeat_interleave(len(self.x) // len(code), dim=0)
        made = self.networks.decode(self.anatomy, each, self.brains)
        off = apart(self.networks, (made - self.x) * self.brain, self.brain)
        return off.flatten(1).mean(dim=1).sum() / len(code)


def _decoded(networks: Calamiti, params: CalamitiParams, batch: Mapping[str, Tensor]) -> _Decoded:
    """Samples with their anatomy, as images are made of it."""
    import torch

    from motet.harmonizers.calamiti.losses import stacked

    contrasts, count = len(params.contrasts), len(batch["brain"])
    x = stacked(batch["x"])
    brain = batch["brain"].to(x.dtype)[:, None].repeat(contrasts, 1, 1, 1)
    brains = networks.brains(brain)
    with torch.no_grad():
        logits = networks.logits(x, brains)
        if params.anatomy_of == "both":
            each = logits.reshape(contrasts, count, *logits.shape[1:])
            logits = each.mean(dim=0).repeat(contrasts, 1, 1, 1)
        anatomy = networks.code(logits, None, 1.0)
    return _Decoded(networks=networks, x=x, brain=brain, brains=brains, anatomy=anatomy)
