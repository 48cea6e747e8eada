"""The published unit, and how it begins."""

from __future__ import annotations

import numpy as np
import torch

from motet.harmonizers.mispel.networks import Decoder, Encoder
from motet.harmonizers.mispel.params import SIZES
from motet.harmonizers.mispel.units import built
from motet.registry import methods


def test_a_unit_has_the_published_size() -> None:
    """Catches a layer more or less, a bias, a norm."""
    assert SIZES["paper"].unit == 518_860
    for sizes in SIZES.values():
        encoder, decoder = Encoder(sizes), Decoder(sizes)
        assert sum(p.numel() for p in encoder.parameters()) == sizes.encoder
        assert sum(p.numel() for p in decoder.parameters()) == sizes.maps
        assert not list(encoder.buffers())


def test_an_embedding_is_as_large_as_its_slice_and_of_either_sign() -> None:
    """Catches a pooling that is not undone, and embeddings without a half of their values."""
    torch.manual_seed(1)
    z = Encoder(SIZES["paper"])(torch.rand(2, 1, 16, 20))
    assert z.shape == (2, 6, 16, 20)
    assert (z < 0).any()
    assert (z > 0).any()


def test_all_scanners_begin_alike_wherever_they_are() -> None:
    """Catches first weights that depend on how many scanners a site has: their embeddings would
    have nothing in common."""
    one, three = built(SIZES["tiny"], 1, seed=4), built(SIZES["tiny"], 3, seed=4)
    first = [p.detach().numpy() for p in one.parameters()]
    for k in range(3):
        own = [*three.encoder(k).parameters(), *three.decoder(k).parameters()]
        assert all(np.array_equal(a, b.detach().numpy()) for a, b in zip(first, own, strict=True))
    assert (three.decoder(0).weight > 0).all()
    other = built(SIZES["tiny"], 1, seed=5)
    assert not np.array_equal(first[0], next(iter(other.parameters())).detach().numpy())


def test_a_decoder_has_six_weights_and_no_shift() -> None:
    decoder = Decoder(SIZES["paper"])
    assert torch.equal(decoder(torch.zeros(1, 6, 4, 4)), torch.zeros(1, 4, 4))
    z = torch.randn(1, 6, 4, 4)
    expected = torch.relu(sum(decoder.weight[k] * z[:, k] for k in range(6)))
    assert torch.allclose(decoder(z), expected, atol=1e-6)


def test_the_card_says_what_it_needs() -> None:
    card = methods().get("mispel").card
    assert any("travelers" in words for words in card.limits)
    assert "consenting travelers" in card.leaves
