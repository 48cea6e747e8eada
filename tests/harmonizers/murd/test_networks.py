"""The networks as published: their sizes, their losses, what each loss moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as nnf

from motet.harmonizers.murd.layers import reflected
from motet.harmonizers.murd.losses import Losses
from motet.harmonizers.murd.networks import Murd
from motet.harmonizers.murd.params import MurdParams
from motet.harmonizers.murd.sizes import BATCHED
from motet.harmonizers.murd.targets import appearance
from motet.harmonizers.murd.training import CRITIC, STYLE_GENERATOR, WEIGHTS
from motet.training.draws import Draws, sample_keys
from motet.training.moment import Moment
from training.triplets import ORDER, of_people, params, phase

PUBLISHED = {
    "content encoder": 5_390_848,
    "style encoder": 4_977_184,
    "style generator": 109_504,
    "generator": 8_416_963,
    "discriminator": 660_419,
}
OF = {
    "content encoder": ("content_encoder",),
    "style encoder": ("style_encoder", "style_heads"),
    "style generator": STYLE_GENERATOR,
    "generator": ("generator",),
    "discriminator": CRITIC,
}


def test_parameters_are_as_many_as_published() -> None:
    """Catches a layer, a bias or a norm that is missing, and a head of another width."""
    sizes = MurdParams.model_validate({"train": {"preset": "paper"}}).sizes
    with torch.device("meta"):
        net = Murd(sizes, range(3))
    count = {n: sum(p.numel() for p in c.parameters()) for n, c in net.named_children()}
    assert {name: sum(count[part] for part in parts) for name, parts in OF.items()} == PUBLISHED
    assert sum(count[name] // 3 for name in BATCHED) == 41_345


@pytest.mark.parametrize("preset", ["paper", "small", "tiny"])
def test_sizes_that_a_site_counts_without_torch_are_those_of_the_networks(preset: str) -> None:
    """Catches a plan that declares other sizes than leave."""
    sizes = MurdParams.model_validate({"train": {"preset": preset}}).sizes
    with torch.device("meta") if preset == "paper" else torch.device("cpu"):
        net = Murd(sizes, range(4))
    found = {n: sum(p.numel() for p in c.parameters()) for n, c in net.named_children()}
    assert not list(net.buffers())
    assert {n: c // (4 if n in BATCHED else 1) for n, c in found.items()} == sizes.groups


def networks(preset: str = "tiny") -> Murd:
    torch.manual_seed(0)
    return Murd(params(preset).sizes, ORDER.tolist()).double()


def batch(count: int = 6) -> tuple[dict[str, torch.Tensor], Draws]:
    given = of_people(np.arange(count))
    seen = {n: torch.from_numpy(d.array[d.first]) for n, d in given.drawn.items()}
    seen |= {"label": torch.from_numpy(given.arrays["label"]), "order": torch.from_numpy(ORDER)}
    return seen, Draws(torch.from_numpy(given.keys(0)), 7, torch.float64)


def losses(**given: object) -> Losses:
    return Losses(**{"noise": 1.0, "within": False, **given})  # type: ignore[arg-type]


def test_losses_are_those_of_the_equations() -> None:
    """Catches a term of the wrong sign, of another batch's head, of another sample, and a penalty
    that is halved or averaged over pixels."""
    net, (seen, draws) = networks(), batch()
    net.requires_grad_(False)
    found, critic = losses().generator(net, seen, draws), losses().critic(net, seen, draws)
    z, other = draws.normal("z", 2), draws.normal("other z", 2)
    noise = draws.normal("content", 8, 8, 8), draws.normal("content again", 8, 8, 8)
    rank = draws.integers("target", 5)
    for n in range(6):
        x = 1.8 * torch.cat([seen[name][n : n + 1] for name in ("x-1", "x0", "x+1")], dim=1) - 1
        i, j = seen["label"][n : n + 1], torch.tensor([int(ORDER[rank[n]])])
        brain = torch.ones(1, 1, 32, 32, dtype=torch.float64)

        def of_z(z: torch.Tensor, j: torch.Tensor = j) -> torch.Tensor:
            head = net.code_heads
            return net.style_generator(z) @ head.weight[j[0]].T + head.bias[j[0]]

        def of_image(x: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
            head = net.style_heads
            return net.style_encoder(x) @ head.weight[j[0]].T + head.bias[j[0]]

        def logit(x: torch.Tensor, j: torch.Tensor, brain: torch.Tensor = brain) -> torch.Tensor:
            head = net.critic_heads
            return (net.critic(x, brain) @ head.weight[j[0]].T + head.bias[j[0]])[0, 0]

        def mean(values: torch.Tensor) -> float:
            return float(values.abs().mean())

        def up(x: torch.Tensor) -> torch.Tensor:
            return nnf.softplus(x)

        c = net.content_encoder(x, brain)
        s, own = of_z(z[n : n + 1]), of_image(x, i)
        made = net.generator(c + noise[0][n], s, x, brain)
        apart = net.generator(c + noise[0][n], of_z(other[n : n + 1]), x, brain)
        again = net.content_encoder(made, brain)
        back = x - net.generator(again + noise[1][n], own, made, brain)
        expected = {
            "adversarial": float(up(-logit(made, j))),
            "content": mean(c - again),
            "style": mean(s - of_image(made, j)),
            "identity": mean(x - net.generator(c + noise[0][n], own, x, brain)),
            "cycle": mean(back),
            "gradient": mean(back[:, :, 1:] - back[:, :, :-1])
            + mean(back[..., 1:] - back[..., :-1]),
            "alignment": float(c.square().mean()),
            "diversity": mean(made - apart),
        }
        assert set(found) == set(expected) == set(WEIGHTS)
        for name, value in expected.items():
            assert abs(float(found[name][n]) - value) < 1e-10, name
        slope = torch.autograd.functional.jacobian(lambda x, i=i: logit(x, i), x)
        expected = {
            "real": float(up(-logit(x, i))),
            "fake": float(up(logit(made, j))),
            "r1": float(slope.square().sum()),
        }
        for name, value in expected.items():
            assert abs(float(critic[name][n].detach()) - value) < 1e-10, name


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_the_discriminator_moves_itself_alone_and_the_rest_moves_the_rest(preset: str) -> None:
    """Catches fakes that train the generator to be found out."""
    net, (seen, draws) = networks(preset), batch()
    made = losses(within=preset == "small")
    sum(v.sum() for v in made.critic(net, seen, draws).values()).backward()
    moved = {n: any(p.grad is not None for p in c.parameters()) for n, c in net.named_children()}
    assert moved == {n: n in CRITIC for n in moved}
    net.zero_grad()
    groups = phase(preset).update("generator").groups
    assert set(groups) == set(moved) - set(CRITIC)
    sum(v.sum() for v in made.generator(net, seen, draws).values()).backward()
    for name in groups:
        assert any(p.grad is not None for p in getattr(net, name).parameters()), name


def test_diversity_is_subtracted_less_and_less_and_the_style_generator_is_slow() -> None:
    """Catches the released code's sign, and its filter of names that gives F the full rate."""
    update = phase().update("generator")
    assert update.weights["diversity"] == -1.0
    assert update.weighing is not None
    assert update.rate is not None
    told = [Moment(step=k, steps=20, per_epoch=1.0) for k in (0, 5, 10, 15)]
    assert [update.weighing(m)["diversity"] for m in told] == [1.0, 0.75, 0.5, 0.25]
    assert [update.rate(m) for m in told] == [1.0, 1.0, 1.0, 0.5]
    rate = update.optimizer["lr"]
    assert update.optimizer["lr_of"] == dict.fromkeys(STYLE_GENERATOR, 0.01 * rate)


def test_targets_are_anybody() -> None:
    """Catches a batch that nothing is brought to, and slices that are only brought to their own."""
    keys = sample_keys(0, [f"sub-{i}" for i in range(5000)], np.zeros(5000, dtype=np.intp))
    label = torch.arange(5000) % 5
    seen = {"label": label, "order": torch.from_numpy(ORDER)}
    for by in ("-1", "0", "+1"):
        seen |= {f"x{by}": torch.zeros(5000, 1, 1, 1), f"b{by}": torch.zeros(5000, 1, 1)}
    draws = Draws(torch.from_numpy(keys), 0, torch.float64)
    target = losses().triplets(seen, draws).target
    assert abs(float((target == label).double().mean()) - 1 / 5) < 0.03
    assert np.bincount(target.numpy(), minlength=5).min() > 900


def test_appearances_are_drawn_once_and_cut() -> None:
    """Catches another appearance for every image, and one that no training saw."""
    many = appearance(0, 16)
    assert np.abs(many.mean(axis=0)).max() < 0.1
    for k in (1, 2):
        assert appearance(k, 16).shape == (1, 16)
    assert np.abs(many).max() <= 2.0
    assert 0.8 < many.std() < 0.95
    assert np.array_equal(appearance(3, 16), appearance(3, 16))


@pytest.mark.parametrize("by", [0, 1, 3])
def test_edges_are_mirrored(by: int) -> None:
    x = torch.arange(2 * 3 * 5 * 6, dtype=torch.float64).reshape(2, 3, 5, 6)
    assert torch.equal(reflected(x, by), nnf.pad(x, (by,) * 4, mode="reflect"))


def test_shading_and_gain_of_the_source_are_no_detail() -> None:
    """Catches a small generator that hands the source's coil on."""
    net, (seen, _) = networks("small"), batch()
    x, brain = seen["x0"].expand(-1, 3, -1, -1), seen["b0"][:, None].double()
    gain = torch.linspace(0.8, 1.25, 32, dtype=torch.float64)
    plain = net.detail(1.8 * x - 1.0, brain)
    apart = (net.detail(1.8 * gain * x - 1.0, brain) - plain).square().sum()
    assert apart / plain.square().sum() < 0.05
    assert (plain[(brain == 0).expand_as(plain)] == 0).all()
