"""The networks as published: their sizes, their codes, their losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from motet.harmonizers._images.shading import evened, spread
from motet.harmonizers.calamiti.curves import curved, wandering
from motet.harmonizers.calamiti.losses import Losses, pairs
from motet.harmonizers.calamiti.networks import SHADING, Calamiti
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import KNOTS, TOP
from motet.harmonizers.calamiti.training import train_phase
from motet.training.draws import Draws, sample_keys
from training.slabs import BRAIN, SHARED, X

PUBLISHED = {
    "anatomy": 2_165_232,
    "anatomy_head": 27_988,
    "style": 427_552,
    "style_head": 49_860,
    "decoder": 8_642_225,
    "critic": 84_721,
}


def of_preset(preset: str, **given: object) -> CalamitiParams:
    return CalamitiParams.model_validate({"train": {"preset": preset}, **given})


def test_parameters_are_as_many_as_published() -> None:
    """Catches a layer, a bias or a norm that is missing, and a head of another width."""
    with torch.device("meta"):
        net = Calamiti(of_preset("paper").sizes)
    found = {n: sum(p.numel() for p in c.parameters()) for n, c in net.named_children()}
    assert found == PUBLISHED


@pytest.mark.parametrize("preset", ["paper", "small", "tiny"])
def test_sizes_that_a_site_counts_without_torch_are_those_of_the_networks(preset: str) -> None:
    """Catches a plan that declares other sizes than leave."""
    sizes = of_preset(preset).sizes
    with torch.device("meta") if preset == "paper" else torch.device("cpu"):
        net = Calamiti(sizes)
    found = {
        name: sum(p.numel() for p in c.parameters()) + sum(b.numel() for b in c.buffers())
        for name, c in net.named_children()
    }
    assert found == sizes.groups


def batch(count: int = 6) -> tuple[dict[str, torch.Tensor], Draws]:
    x = torch.from_numpy(X[:count, 0])
    seen = {
        "x": x,
        "other": torch.from_numpy(X[:count, 1]),
        "brain": torch.from_numpy(BRAIN[:count, 0]),
        "label": torch.arange(count) % 5,
        "cumulated": torch.from_numpy(SHARED["cumulated"]),
    }
    keys = sample_keys(0, [f"sub-{i}" for i in range(count)], np.zeros(count, dtype=np.intp))
    return seen, Draws(torch.from_numpy(keys), 7, torch.float64)


def networks(preset: str = "tiny", **given: object) -> Calamiti:
    torch.manual_seed(0)
    return Calamiti(of_preset(preset, pixels=32, **given).sizes).double()


def test_the_code_is_one_hot_with_the_gradient_of_its_soft_form() -> None:
    """Catches a soft code that passes more than the bottleneck allows, and a gradient of none."""
    net = networks()
    logits = torch.randn(2, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    code = net.code(logits, noise, 0.7)
    largest = (logits + noise).argmax(dim=1)
    assert torch.equal(code.detach().argmax(dim=1), largest)
    assert torch.allclose(code.detach().sort(dim=1).values[:, -1], torch.ones(2, 5, 5).double())
    toward = torch.randn_like(code)
    (got,) = torch.autograd.grad((code * toward).sum(), logits)
    soft = torch.softmax((logits + noise) / 0.7, dim=1)
    (want,) = torch.autograd.grad((soft * toward).sum(), logits)
    assert torch.allclose(got, want)
    assert torch.equal(net.code(logits, None, 0.7).argmax(dim=1), logits.argmax(dim=1))


@torch.no_grad()
def test_losses_are_those_of_the_equations() -> None:
    """Catches a term of the wrong sign, of a sum for a mean, of another sample, and a style code of
    the slice itself, which would tell the decoder of its anatomy."""
    net, (seen, draws) = networks(), batch()
    made = Losses(cooling=2e-4, augment=0.0)
    found = made.generator(net, seen, draws)
    critic = made.critic(net, seen, draws)
    noise = draws.gumbel("anatomy", 2, 4, 32, 32)
    warmth = max(0.5, np.exp(-2e-4 * 3))
    for i in range(6):
        codes, images = [], []
        for c in range(2):
            logits = net.logits(seen["x"][i : i + 1, c : c + 1], None)
            codes.append(net.code(logits, noise[i : i + 1, c], warmth))
        rec, kl, edges = 0.0, 0.0, 0.0
        for c in range(2):
            mean, log_var = net.contrast(seen["other"][i : i + 1, c : c + 1])
            theta = mean + torch.exp(0.5 * log_var) * draws.normal("style", 2, 2)[i, c]
            pick = int(draws.integers(f"anatomy of {c}", 2)[i])
            plane = theta[:, :, None, None].expand(1, 2, 32, 32)
            images.append(net.decoder.unet(torch.cat([codes[pick], plane], dim=1)))
            apart = (images[c] - seen["x"][i, c])[0, 0]
            rec += float(apart.abs().mean()) / 2
            kl += float((0.5 * (log_var.exp() + mean**2 - 1 - log_var)).mean()) / 2
            apart = apart * seen["brain"][i]
            steps = (apart[1:] - apart[:-1]).abs().sum() + (
                apart[:, 1:] - apart[:, :-1]
            ).abs().sum()
            edges += float(steps) / 32**2 / 2
        own = torch.tensor([2 * (i % 5), 2 * (i % 5) + 1])
        drawn = torch.searchsorted(seen["cumulated"], draws.uniform("label", 2, 1)[i, :, 0])
        yes = [net.critic(codes[c], own[c : c + 1] / 10)[0] for c in range(2)]
        no = [net.critic(codes[c], drawn[c : c + 1] / 10)[0] for c in range(2)]

        def bce(logits: torch.Tensor, to: float) -> float:
            target = torch.full_like(logits, to)
            return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, target))

        expected = {
            "reconstruction": rec,
            "gradient": edges,
            "kl": kl,
            "anatomy": float((codes[0] - codes[1]).abs().mean()),
            "adversarial": sum(bce(one, 0.0) for one in yes) / 2
            + sum(bce(one, 1.0) for one in no) / 2,
        }
        for name, value in expected.items():
            assert abs(float(found[name][i]) - value) < 1e-8, name
        assert abs(float(critic["joint"][i]) - sum(bce(one, 1.0) for one in yes) / 2) < 1e-8
        assert abs(float(critic["marginal"][i]) - sum(bce(one, 0.0) for one in no) / 2) < 1e-8


def test_the_critic_moves_nothing_of_the_encoders_and_the_generator_moves_what_it_should() -> None:
    net, (seen, draws) = networks(), batch()
    made = Losses(cooling=2e-4, augment=0.0)
    sum(v.sum() for v in made.critic(net, seen, draws).values()).backward()
    moved = {n: any(p.grad is not None for p in c.parameters()) for n, c in net.named_children()}
    assert moved == {n: n == "critic" for n in moved}


def test_what_lies_beside_the_brain_changes_nothing_within_it() -> None:
    """Catches norms over the background where networks say that they are of the brain."""
    net, (seen, draws) = networks("small"), batch()
    pair = pairs(net, seen, draws)
    beside = pair.x + 3.0 * (1.0 - pair.brain)
    assert net.sizes.within
    normed = [
        net.anatomy.down[0].first.norm(x, pair.brain, None)
        for x in (pair.x.expand(-1, 8, -1, -1), beside.expand(-1, 8, -1, -1))
    ]
    assert torch.allclose(*normed)


def test_a_smooth_gain_is_no_anatomy() -> None:
    """Catches an anatomy encoder that sees the scanner's shading."""
    seen, _ = batch()
    x, brain = seen["x"][:, :1], seen["brain"][:, None].double()
    gain = torch.linspace(0.8, 1.25, 32, dtype=torch.float64)
    plain = evened(x, brain, 9, least=0.025)
    apart = (evened(gain * x, brain, 9, least=0.025) - plain).square().sum() / plain.square().sum()
    assert apart < 0.02
    assert ((gain * x - x).square().sum() / x.square().sum()) > 0.01
    assert (plain[brain == 0] == 0).all()


def test_curves_keep_nothing_at_nothing_and_the_monotone_one_its_order() -> None:
    x = (
        torch.linspace(0, 2 * TOP, 200, dtype=torch.float64)
        .reshape(1, 1, 10, 20)
        .repeat(3, 1, 1, 1)
    )
    u = torch.tensor([[0.0], [0.5], [1.0]], dtype=torch.float64)
    made = curved(x, u).flatten(1)
    assert (made[:, 0] == 0).all()
    assert (made.diff(dim=1) > 0).all()
    assert torch.allclose(made[1, 1:], x[1].flatten()[1:], atol=1e-5)
    still = wandering(x, torch.zeros(3, KNOTS, dtype=torch.float64)).flatten(1)
    assert torch.allclose(still, x.flatten(1).clamp_max(TOP))


def small() -> Calamiti:
    torch.manual_seed(0)
    return Calamiti(of_preset("small").sizes).double()


def test_shading_is_a_gain_and_has_mean_nothing_over_the_brain() -> None:
    """Catches shading that reaches the decoder's norms, and one that changes the mean level, which
    theta has."""
    net = small()
    sizes = net.sizes
    x = torch.rand(2, 1, 96, 96, dtype=torch.float64) + 0.1
    x[:, :, :30] = 0.0
    with torch.no_grad():
        mean, _ = net.contrast(x)
        assert mean.shape == (2, sizes.codes)
        share = nn.functional.adaptive_avg_pool2d((x > 0).double(), sizes.shading).flatten(1)
        assert ((mean[:, sizes.style :] * share).sum(dim=1).abs() < 0.05).all()
        brain = (x > 0).double()
        brains = net.brains(brain)
        code = net.code(net.logits(x, brains), None, 1.0)
        field = torch.linspace(-1, 1, sizes.shading**2, dtype=torch.float64).expand(2, -1)
        ways = [torch.cat([mean[:, : sizes.style], f], dim=1) for f in (0 * field, field)]
        plain, shaded = (net.decode(code, theta, brains) for theta in ways)
    edge = sizes.shading
    gain = torch.exp(SHADING * spread(field.reshape(2, 1, edge, edge), (96, 96)))
    assert torch.allclose(shaded, plain * gain, rtol=1e-10)


def test_a_random_shading_is_the_same_for_a_slice_and_its_other() -> None:
    """Catches a gain that the style code could not know of."""
    seen, draws = batch()
    net = Calamiti(of_preset("tiny").sizes).double()
    seen = {name: a.double() if a.is_floating_point() else a for name, a in seen.items()}
    plain = pairs(net, seen, draws)
    shaded = Losses(cooling=0.0, augment=0.0, augment_shading=0.5)._pairs(net, seen, draws)
    gain = shaded.x[plain.x > 0.01] / plain.x[plain.x > 0.01]
    assert gain.std() > 0.1
    both = (plain.x > 0.01) & (plain.other > 0.01)
    assert torch.allclose((shaded.x / plain.x)[both], (shaded.other / plain.other)[both])


def test_noise_of_theta_cannot_run_away_in_the_small_preset() -> None:
    """Catches steps of single slices after which noise is of size 1e10, and so is all else."""
    torch.manual_seed(3)
    net = Calamiti(of_preset("small", pixels=32).sizes)
    x = torch.rand(2, 1, 32, 32)
    style = of_preset("small").sizes.style
    quiet = net.contrast(x)[1][:, :style]
    torch.testing.assert_close(quiet, torch.full_like(quiet, -8.0), atol=0.5, rtol=0)
    noise = net.style_head["log_var"].last
    with torch.no_grad():
        noise.weight.mul_(1e3)
    loud = net.contrast(x)[1][:, :style]
    assert loud.std() > 1
    assert loud.max() <= 0


@pytest.mark.parametrize(("preset", "periods"), [("paper", [2, 2]), ("small", [4, 1])])
def test_how_often_critic_and_all_else_are_updated(preset: str, periods: list[int]) -> None:
    """Catches a published preset whose critic does not take turns with all else."""
    updates = train_phase(of_preset(preset)).updates
    assert [update.period for update in updates] == periods
    assert [update.offset for update in updates] == [0, periods[1] - 1]


def test_local_steps_of_small_are_corrected_and_gradients_of_exact_mode_are_not() -> None:
    """Catches a preset in whose local mode the source's contrast shows in what is brought to
    scanners unlike it (decision 24), and control variates where nobody has steps of their own."""
    train = train_phase(of_preset("small"))
    assert (train.options.mode, train.options.server) == ("local", "scaffold")
    assert all(train.controls(group) for group in train.groups)
    exact = train_phase(of_preset("small", train={"preset": "small", "mode": "exact"}))
    assert not any(exact.controls(group) for group in exact.groups)
