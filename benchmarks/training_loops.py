"""The same training twice: by the engine, and by the loop that a PyTorch user would write.

DeepComBat's autoencoder at the size that ``small`` has for so many features, on made-up people of
ten scanners at one site; the steps of the second exchange, which SCAFFOLD's control variates
correct as they do all later ones. What the two cost is measured by ``training_overhead.py``; how
many kernels they start is held by ``tests/training/test_kernels.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from motet.harmonizers.deepcombat.networks import CVAE
from motet.harmonizers.deepcombat.params import DeepComBatParams
from motet.harmonizers.deepcombat.training import train_phase
from motet.schema import Batch, Covariate, Schema
from motet.strategies.fedavg import average
from motet.training import gradients
from motet.training.at_site import train_at_site
from motet.training.control import Controls
from motet.training.coordinator import Trainer
from motet.training.draws import Draws, DrawsAhead
from motet.training.feed import Feed
from motet.training.networks import Networks
from motet.training.optimizer import Optimizer
from motet.training.samples import Samples
from motet.training.site_state import SiteState
from motet.training.workshop import Workshop, workshop

SCANNERS, COLUMNS = 10, 3
VIEWS = {
    *("t", "view", "_unsafe_view", "transpose", "slice", "expand", "detach", "alias", "select"),
    *("split", "split_with_sizes", "unsqueeze", "squeeze", "as_strided", "permute", "unbind"),
    *("reshape", "lift_fresh", "is_same_size", "_record_function_enter_new"),
    *("_record_function_exit", "profiler", "empty", "empty_like"),
}
"""Operations that start no kernel."""


class Kernels(TorchDispatchMode):
    """Counts operations that start a kernel, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        if name not in VIEWS:
            self.of[name] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Draw and gather on the CPU as on a GPU: by torch's kernels, as many steps at once.

    The order of samples is the host's everywhere.
    """
    on_host, on_device = (vars(Draws)[name] for name in ("_uniform64", "_by_torch"))

    def drawn(self: Draws, purpose: str, count: int) -> torch.Tensor:
        where = on_host if purpose in ("order", "turns") else on_device
        found: torch.Tensor = where(self, purpose, count)
        return found

    with (
        mock.patch.object(Draws, "_uniform64", drawn),
        mock.patch.object(DrawsAhead, "MOST", {"cpu": DrawsAhead.MOST["cuda"]}),
        mock.patch.object(Feed, "AHEAD", {"cpu": Feed.AHEAD["cuda"]}),
    ):
        yield


@dataclass
class Site:
    """What a training reads of a site."""

    name: str
    schema: Schema
    device: str
    seed: int = 1
    keep: dict[str, Any] = field(default_factory=dict)
    scratch: dict[str, Any] = field(default_factory=dict)


def made_up(people: int, features: int) -> Samples:
    """People of ten scanners with twelve latent dimensions."""
    rng = np.random.default_rng(0)
    batch = rng.integers(0, SCANNERS, people)
    latent = rng.standard_normal((people, 12))
    x = latent @ rng.standard_normal((12, features)) / 3 + rng.standard_normal((people, features))
    return Samples(
        arrays={
            "x": x,
            "w": rng.random((people, COLUMNS)),
            "member": np.eye(SCANNERS)[batch],
        },
        constants={"used": np.ones(features)},
        people=np.array([f"sub-{i}" for i in range(people)]),
        batch=batch.astype(np.intp),
    )


class Loops:
    """Ways through as many steps of the same networks.

    Parameters
    ----------
    features, people, batch, steps : int
    width : int
        Times as wide as ``small``.
    device : str
    compiled : bool
    """

    def __init__(
        self,
        *,
        features: int = 150,
        people: int = 900,
        batch: int = 64,
        steps: int = 64,
        width: int = 1,
        device: str = "cpu",
        compiled: bool = False,
    ) -> None:
        self.batch, self.people = batch, people
        self.device = torch.device(device)
        schema = Schema(
            features=tuple(f"f{j}" for j in range(features)),
            units=("",) * features,
            covariates=tuple(Covariate(name=f"c{i}", kind="continuous") for i in range(COLUMNS)),
            batches=tuple(Batch("here", f"b{k}") for k in range(SCANNERS)),
        )
        options = {
            "preset": "small",
            "steps": 2 * steps,
            "epochs": 0,
            "local_steps": steps,
            "batch": batch,
            "compile": compiled,
        }
        params = DeepComBatParams.model_validate({"train": options})
        widths = tuple(width * w for w in params.widths(features))
        params = params.model_copy(update={"dims": widths})
        samples = made_up(people, features)
        self._train = replace(
            train_phase(params, schema), first=None, samples=lambda site, shared: samples
        )
        shared = {"people": np.asarray(people)}
        trainer = Trainer(self._train, sizes=schema.sizes, seed=1, samples=people)
        self._site: Any = Site(name="here", schema=schema, device=device)
        first, self._turn = self._train.turn(0), self._train.turn(1)
        told = {**shared, **trainer.told(first)}
        average(trainer, first, train_at_site(self._train, first, self._site, told))
        self._told = {**shared, **trainer.told(self._turn)}
        self._shop = workshop(self._train, self._site, self._told)
        steps_of = range(self._turn.first, self._turn.after)
        self._rows = {step: self._shop.due(step) for step in steps_of}
        self.seen = sum(map(len, self._rows.values()))
        self._tensors = {
            k: torch.from_numpy(v).float().to(self.device) for k, v in samples.arrays.items()
        }
        self._net = CVAE(features, COLUMNS, SCANNERS, widths).to(self.device)
        self._optimizer = torch.optim.Adam(self._net.parameters(), lr=0.001, fused=True)
        self.parameters = sum(p.numel() for p in self._net.parameters())

    def engine(self) -> None:
        """Steps of local mode, as a site takes them between two exchanges."""
        train_at_site(self._train, self._turn, self._site, self._told)

    def passes(self) -> None:
        """Forward and backward passes of the engine's steps alone; their memory is freed, too."""
        networks, (update,) = self._shop.networks, self._train.updates
        networks.ask_only(update.groups)
        computed = self._shop.feed.made(update.losses)
        for due in self._shop.feed.ahead(self._rows):
            for portion in due.portions():
                losses = gradients.losses_of(computed, networks, portion)
                weights = [update.weights[name] for name in losses]
                found = networks.gradients(list(losses.values()), update.groups, weights)
                del losses
                found.clear()

    def plain(self) -> None:
        """Shuffled indices, ``randn``, mean losses, ``backward``, torch's fused Adam."""
        for x, w, member in self.rows():
            loss = self.loss(x, w, member)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()

    def rows(self) -> Iterator[list[Tensor]]:
        """People in an order drawn anew in every pass, as many as the engine sees."""
        done = 0
        while done < self.seen:
            order = torch.randperm(self.people)
            for start in range(0, self.people, self.batch):
                index = order[start : start + self.batch].to(self.device)
                yield [self._tensors[k][index] for k in ("x", "w", "member")]
                done += len(index)
                if done >= self.seen:
                    break

    def loss(self, x: Tensor, w: Tensor, member: Tensor) -> Tensor:
        """Of some samples, the mean."""
        mu, log_var = self._net.encode(x, w, member)
        z = mu + torch.exp(0.5 * log_var) * self.noise(mu)
        error = (self._net.decode(z, w, member) - x).square().sum(dim=1).mean()
        kl = 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(dim=1).mean()
        return error + 0.1 * kl

    def noise(self, like: Tensor) -> Tensor:
        """Of the latent space."""
        return torch.randn_like(like)


ENGINE = (
    ("forward", gradients, "losses_of"),
    ("backward", Networks, "gradients"),
    ("optimizer", Optimizer, "step"),
    *(("control variates", Controls, n) for n in ("__init__", "correct", "count", "close", "own")),
    ("rows and draws", Feed, "ahead"),
    ("rows and draws", DrawsAhead, "found"),
    ("rows and draws", Workshop, "due"),
    ("exchange", SiteState, "load"),
    ("exchange", SiteState, "leave"),
)
"""What the engine's time is spent on, and where."""
PLAIN = (
    ("forward", Loops, "loss"),
    ("backward", torch.Tensor, "backward"),
    ("optimizer", torch.optim.Adam, "step"),
    ("optimizer", torch.optim.Adam, "zero_grad"),
    ("rows and draws", Loops, "rows"),
    ("rows and draws", Loops, "noise"),
)
"""What the plain loop's is."""
