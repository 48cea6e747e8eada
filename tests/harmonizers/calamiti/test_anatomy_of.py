"""Whose anatomy code an image is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from motet.harmonizers.calamiti.networks import Calamiti
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.volumes import of_styles

Float = NDArray[np.float64]
SHAPE = (18, 20, 3)


def params(anatomy_of: str, preset: str) -> CalamitiParams:
    asked = {"train": {"preset": preset}, "pixels": 32, "planes": ["axial"]}
    return CalamitiParams.model_validate({**asked, "anatomy_of": anatomy_of})


def brain() -> tuple[list[Float], NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[2:16, 3:17] = True
    return [np.where(inside, rng.uniform(0.1, 0.4, SHAPE), 0.0) for _ in range(2)], inside


@pytest.mark.parametrize("preset", ["small", "tiny"])
def test_both_contrasts_are_made_of_the_mean_of_their_logits(preset: str) -> None:
    """Catches a contrast that is decoded from another's anatomy, styles that change places, and a
    one-hot code that is averaged and no longer one."""
    seen, inside = brain()
    how = params("both", preset)
    torch.manual_seed(0)
    networks = Calamiti(how.sizes).to(torch.float64)
    rng = np.random.default_rng(1)
    styles = [
        list(rng.normal(size=(2, how.sizes.codes))),
        list(rng.normal(size=(1, how.sizes.codes))),
    ]
    made = of_styles(networks, how, seen, inside, styles)
    assert [volumes.shape for volumes in made] == [(2, 1, *SHAPE), (1, 1, *SHAPE)]
    each = of_styles(networks, params("each", preset), seen, inside, styles)
    assert not np.allclose(made[0], each[0])
    alike = [seen[1], seen[1]]
    np.testing.assert_allclose(
        np.concatenate(of_styles(networks, how, alike, inside, styles)),
        np.concatenate(of_styles(networks, params("each", preset), alike, inside, styles)),
        atol=1e-12,
    )
    # The middle slice by hand.
    at = (slice(7, 25), slice(6, 26))

    def shown(image: Float) -> torch.Tensor:
        whole = np.zeros((1, 1, 32, 32))
        whole[0, 0][at] = image[..., 1]
        return torch.from_numpy(whole)

    brains = networks.brains(shown(inside.astype(np.float64)))
    with torch.no_grad():
        first, second = (networks.logits(shown(one), brains) for one in seen)
        code = networks.code((first + second) / 2, None, 1.0)
        theta = torch.from_numpy(styles[1][0])[None]
        want = networks.decode(code, theta, brains)[0, 0].numpy()[at]
    np.testing.assert_allclose(
        made[1][0, 0][..., 1], np.where(inside[..., 1], want, 0.0), atol=1e-12
    )
