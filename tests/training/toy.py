"""Networks with everything that the methods to come need, and a plain loop over pooled people.

A shared encoder with a spectral norm and a running mean, heads that batches own, a critic of its
own interval that sees Gumbel draws, and equal shares of scanners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from motet.site import draw
from motet.training.draws import Draws
from motet.training.moment import Moment
from motet.training.options import TrainOptions
from motet.training.order import order_for
from motet.training.phase import Group, Train, Update
from motet.training.samples import Samples
from motet.training.spectral import spectral

P, H = 4, 5


class Head(nn.Module):
    def __init__(self, batches: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.linspace(-1, 1, P * H).reshape(1, H, P).repeat(batches, 1, 1)
        )
        self.bias = nn.Parameter(torch.zeros(batches, P))

    def forward(self, z: Tensor, batch: Tensor) -> Tensor:
        return torch.einsum("bh,bhp->bp", z, self.weight[batch]) + self.bias[batch]


class Toy(nn.Module):
    """Children are the groups; they come in another order than the plan has them."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.critic = nn.Sequential(spectral(nn.Linear(H, 3)), nn.Tanh(), nn.Linear(3, 1))
        self.encoder = nn.Sequential(spectral(nn.Linear(P, H)), nn.Tanh(), nn.LayerNorm(H))
        self.heads = Head(batches)

    def code(self, x: Tensor, draws: Any) -> Tensor:
        return torch.softmax(self.encoder(x) + draws.gumbel("code", H), dim=1)


@dataclass(frozen=True)
class Fit:
    """The callables of the phase."""

    def build(self, sizes: Mapping[str, int]) -> Toy:
        return Toy(sizes["batches"])

    def samples(self, site: Any, shared: Any) -> Samples:
        return of_rows(shared["x"], site.data)

    def critic(self, networks: Toy, batch: Mapping[str, Tensor], draws: Any) -> dict[str, Tensor]:
        z = networks.code(batch["x"], draws).detach()
        other = draws.uniform("other", H)
        real, fake = networks.critic(z)[:, 0], networks.critic(other)[:, 0]
        return {"real": softplus(-real), "fake": softplus(fake)}

    def generator(
        self, networks: Toy, batch: Mapping[str, Tensor], draws: Any
    ) -> dict[str, Tensor]:
        z = networks.code(batch["x"], draws)
        # Another batch's head: in exact mode everybody's gradient of it counts.
        count = len(networks.heads.bias)
        other = (batch["batch"] + 1 + draws.integers("to", count - 1)) % count
        back = networks.code(networks.heads(z, other), draws)
        return {
            "rec": (networks.heads(z, batch["batch"]) - batch["x"]).square().sum(dim=1),
            "cycle": (back - z).square().sum(dim=1),
            "fool": softplus(networks.critic(z)[:, 0]),
        }

    def weighing(self, moment: Moment) -> Mapping[str, float]:
        return {"cycle": moment.done}

    def rate(self, moment: Moment) -> float:
        return 1.0 - 0.5 * moment.done

    def error(self, networks: Toy, batch: Mapping[str, Tensor], draws: Any) -> Tensor:
        z = networks.encoder(batch["x"])
        return (networks.heads(z, batch["batch"]) - batch["x"]).square().sum(dim=1)


SIZES = {"critic": H * 3 + 3 + 3 + 3 + 1, "encoder": P * H + H + H + 2 * H, "heads": H * P + P}


def toy(
    options: TrainOptions,
    *,
    every: int = 0,
    keeper: str = "shared",
    summed: bool = False,
    **also: Any,
) -> Train:
    """The phase."""
    fit = Fit()
    groups = (
        Group(name="encoder", size=SIZES["encoder"], ema=0.9),
        Group(name="heads", size=SIZES["heads"], keeper="owned", summed=summed),
        Group(name="critic", size=SIZES["critic"], every=every, keeper=keeper),  # type: ignore[arg-type]
    )
    return Train(
        name="toy",
        build=fit.build,
        samples=fit.samples,
        groups=groups,
        updates=(
            Update(
                name="critic",
                groups=("critic",),
                optimizer={"name": "adam", "lr": 0.01, "betas": (0.5, 0.9)},
                losses=fit.critic,
                weights={"real": 1.0, "fake": 1.0},
                period=2,
                offset=1,
            ),
            Update(
                name="generator",
                groups=("encoder", "heads"),
                optimizer={
                    "name": "adam",
                    "lr": 0.02,
                    "lr_of": {"heads": 0.05},
                    "betas": (0.0 if summed else 0.9, 0.999),
                },
                losses=fit.generator,
                weights={"rec": 1.0, "cycle": 0.3, "fool": 0.1},
                weighing=fit.weighing,
                rate=fit.rate,
            ),
        ),
        options=options,
        validate=fit.error,
        **{"strata": "batch", **also},
    )


def options(**given: Any) -> TrainOptions:
    """In exact mode, float64, unless something else is given."""
    exact = {
        "mode": "exact",
        "precision": "float64",
        "transfer": "float64",
        "batch": 8,
        "steps": 20,
    }
    return TrainOptions(**{**exact, **given})


@dataclass(frozen=True)
class Where:
    """One of the study's scanners."""

    site: str
    name: str


@dataclass
class PlainSchema:
    """What a training reads of a schema."""

    batches: tuple[Where, ...]

    @property
    def sizes(self) -> dict[str, int]:
        return {"batches": len(self.batches)}


@dataclass
class PlainSite:
    """What a training reads of a site; ``data`` are rows of the pooled people."""

    name: str
    schema: PlainSchema
    data: np.ndarray
    seed: int = 3
    keep: dict[str, np.ndarray] = field(default_factory=dict)
    scratch: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"


BATCH = np.repeat(np.arange(5), (3, 9, 4, 7, 12))
"""Scanner of every person: unequal."""


def people(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((len(BATCH), P)) + rng.standard_normal((5, P))[BATCH]


def of_rows(x: np.ndarray, rows: np.ndarray) -> Samples:
    names = np.array([f"sub-{i:03d}" for i in rows])
    return Samples(arrays={"x": x[rows], "batch": BATCH[rows]}, people=names, batch=BATCH[rows])


def sites_of(where: Sequence[int], scanner: np.ndarray = BATCH) -> dict[str, PlainSite]:
    """Sites, for the site of every one of the five scanners; `scanner` is every person's."""
    schema = PlainSchema(tuple(Where(f"site {s}", f"b{k}") for k, s in enumerate(where)))
    return {
        f"site {s}": PlainSite(
            name=f"site {s}",
            schema=schema,
            data=np.flatnonzero(np.isin(scanner, [k for k, at in enumerate(where) if at == s])),
        )
        for s in sorted(set(where))
    }


SHARED = {"people": np.asarray(len(BATCH)), "x": people()}


class Pooled:
    """The same training by a plain loop over everybody, with torch's own means and optimizers."""

    def __init__(self, train: Train, seed: int = 3) -> None:
        self.train = train
        torch.manual_seed(int(draw(seed, "first weights", train.name).integers(2**63)))
        self.net = Toy(5).double()
        self.samples = of_rows(SHARED["x"], np.arange(len(BATCH)))
        self.keys = self.samples.keys(seed)
        per_epoch = train.per_epoch(len(BATCH))
        self.order = order_for(train, self.keys, BATCH, trained=len(BATCH), batches=5, seed=seed)
        self.steps = train.steps(len(BATCH))
        self.per_epoch = per_epoch
        self.adam = {
            "critic": torch.optim.Adam(self.net.critic.parameters(), lr=0.01, betas=(0.5, 0.9)),
            "generator": torch.optim.Adam(
                [
                    {"params": self.net.encoder.parameters(), "lr": 0.02},
                    {"params": self.net.heads.parameters(), "lr": 0.05},
                ]
            ),
        }
        self.base = {n: [g["lr"] for g in a.param_groups] for n, a in self.adam.items()}
        self.mean = [p.detach().clone() for p in self.net.encoder.parameters()]

    def loss(self, update: Update, step: int) -> Tensor:
        """The weighted mean over the samples of a step."""
        rows = self.order.due(step)
        batch = {"x": torch.from_numpy(SHARED["x"][rows]), "batch": torch.from_numpy(BATCH[rows])}
        draws = Draws(torch.from_numpy(self.keys[rows]), step, torch.float64)
        moment = Moment(step=step, steps=self.steps, per_epoch=self.per_epoch)
        factor = {"cycle": moment.done}
        losses = update.losses(self.net, batch, draws)
        return sum(update.weights[n] * factor.get(n, 1.0) * v.mean() for n, v in losses.items())  # type: ignore[return-value]

    def step(self, step: int) -> None:
        for update in self.train.updates:
            if not update.runs(step):
                continue
            optimizer = self.adam[update.name]
            self.net.zero_grad()
            self.loss(update, step).backward()
            factor = 1.0 - 0.5 * step / self.steps if update.rate else 1.0
            for group, lr in zip(optimizer.param_groups, self.base[update.name], strict=True):
                group["lr"] = lr * factor
            optimizer.step()
            for part in update.groups:
                for module in getattr(self.net, part).modules():
                    if hasattr(module, "refresh"):
                        module.refresh()
            if "encoder" in update.groups:
                for mean, p in zip(self.mean, self.net.encoder.parameters(), strict=True):
                    mean.lerp_(p.detach(), 0.1)
