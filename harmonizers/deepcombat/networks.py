"""The conditional variational autoencoder of DeepComBat (Hu et al. 2024, section 2.3).

Encoder and decoder see batch and covariates beside features or latents, in their first layer. A
batch's columns of that layer are parameters of their own, which the batch's site keeps. There is a
column for every batch, where the published code leaves the first out: the function class is the
same, no batch is special, and the mean of all batches has the weight 1 / K each in both. Columns
begin at zero, so that no batch's beginning depends on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


class Tower(nn.Module):
    """Linear layers with tanh between them, and linear outputs.

    Parameters
    ----------
    inputs : int
    widths : sequence of int
        Of the hidden layers.
    outputs : sequence of int
        Of heads that read the last hidden layer.
    """

    def __init__(self, inputs: int, widths: Sequence[int], outputs: Sequence[int]) -> None:
        super().__init__()
        sizes = [inputs, *widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.heads = nn.ModuleList(nn.Linear(sizes[-1], size) for size in outputs)

    def forward(self, x: Tensor, of_batch: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the heads; `of_batch`, (B, first width), joins the first layer."""
        first, *layers = self.layers
        h = torch.tanh(first(x) + of_batch)
        for layer in layers:
            h = torch.tanh(layer(h))
        return tuple(head(h) for head in self.heads)


class Columns(nn.Module):
    """The columns of batches in a first layer.

    Parameters
    ----------
    batches, width : int
    """

    def __init__(self, batches: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(batches, width))

    def forward(self, member: Tensor) -> Tensor:
        """What batches add, (B, width), for weights of batches (B, K)."""
        return member @ self.weight


class CVAE(nn.Module):
    """Encoder, decoder and the batches' columns of both: the groups of the training.

    Parameters
    ----------
    features, covariates, batches : int
    widths : sequence of int
        Hidden layers and, last, the latent space.
    """

    def __init__(self, features: int, covariates: int, batches: int, widths: Sequence[int]) -> None:
        super().__init__()
        *hidden, latent = widths
        back = hidden[::-1]
        self.encoder = Tower(features + covariates, hidden, (latent, latent))
        self.decoder = Tower(latent + covariates, back, (features,))
        self.encoder_batch = Columns(batches, hidden[0])
        self.decoder_batch = Columns(batches, back[0])

    def encode(self, x: Tensor, w: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
        """Mu and log sigma^2 of the latent space, (B, latent) each."""
        mu, log_var = self.encoder(torch.cat([x, w], dim=1), self.encoder_batch(member))
        return mu, log_var

    def decode(self, z: Tensor, w: Tensor, member: Tensor) -> Tensor:
        """Features, (B, p), standardized."""
        (found,) = self.decoder(torch.cat([z, w], dim=1), self.decoder_batch(member))
        return torch.as_tensor(found)


def losses(networks: Any, batch: Mapping[str, Tensor], draws: Any) -> dict[str, Tensor]:
    """Squared error and Kullback-Leibler divergence of every sample, (B,) each."""
    mu, log_var = networks.encode(batch["x"], batch["w"], batch["member"])
    z = mu + torch.exp(0.5 * log_var) * draws.normal("latent", mu.shape[1])
    error = networks.decode(z, batch["w"], batch["member"]) - batch["x"]
    return {
        "reconstruction": (error.square() * batch["used"]).sum(dim=1),
        "kl": _divergence(mu, log_var),
    }


def losses_apart(networks: Any, batch: Mapping[str, Tensor], draws: Any) -> dict[str, Tensor]:
    """The same of people of whom is known what they are without their batch's effect, ``bare``.

    Half of the error is of the decoder with no batch's columns, which has to give that. By their
    own batches alone the columns of encoder and decoder could cancel each other while the latent
    space keeps batches apart; decoded as of another batch such people are nobody.
    """
    mu, log_var = networks.encode(batch["x"], batch["w"], batch["member"])
    z = mu + torch.exp(0.5 * log_var) * draws.normal("latent", mu.shape[1])
    own = networks.decode(z, batch["w"], batch["member"]) - batch["x"]
    none = networks.decode(z, batch["w"], torch.zeros_like(batch["member"])) - batch["bare"]
    return {
        "reconstruction": (0.5 * (own.square() + none.square()) * batch["used"]).sum(dim=1),
        "kl": _divergence(mu, log_var),
    }


def _divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    return torch.sum(0.5 * (mu.square() + log_var.exp() - 1.0 - log_var), dim=1)


def error(networks: Any, batch: Mapping[str, Tensor], draws: Any) -> Tensor:
    """Squared error of every sample decoded from its mean, (B,): what validation looks at."""
    mu, _ = networks.encode(batch["x"], batch["w"], batch["member"])
    found = networks.decode(mu, batch["w"], batch["member"]) - batch["x"]
    return torch.sum(found.square() * batch["used"], dim=1)
