"""What scanners make of tissues: contrast, bias field, resolution, noise; and the exact truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from motet.phantom.anatomy import TISSUES, Anatomy
from motet.site import draw

Effect = Literal["monotone", "tissue"]

MEANS: Mapping[str, tuple[float, ...]] = {
    "T1w": (25.0, 65.0, 100.0, 80.0),
    "T2w": (100.0, 62.0, 45.0, 52.0),
    "PDw": (100.0, 82.0, 68.0, 74.0),
    "FLAIR": (15.0, 75.0, 60.0, 66.0),
}
"""Mean intensity of CSF, GM, WM and deep GM by contrast, before a scanner's own effect."""

TEXTURE = 0.04
"""Standard deviation of the anatomy's own variation within a tissue, a share of its mean."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scanner:
    """How a site's scanner shows one contrast.

    Attributes
    ----------
    means : (4,) float64
        Intensity of each tissue.
    curve : float
        Exponent of a monotone curve over the range of intensities; 1: none.
    gain : float
    bias : (x, y, z) float32
        Multiplies; smooth, mean 1.
    blur : float
        Width of the point spread (sd), mm.
    noise : float
        Standard deviation of the noise of each channel of a Rician, in units of the WM mean.
    """

    means: NDArray[np.float64]
    curve: float
    gain: float
    bias: NDArray[np.float32]
    blur: float
    noise: float


def scanner(
    site: str, contrast: str, effect: Effect, *, seed: int, shape: tuple[int, ...]
) -> Scanner:
    """Make a site's scanner; a function of (seed, site, contrast) alone.

    Parameters
    ----------
    effect : {"monotone", "tissue"}
        ``monotone``: one monotone curve and a gain, which a monotone map of intensities can undo.
        ``tissue``: tissues change spacing, and deep GM its place among them, differently by
        contrast, and there is a bias field: no monotone map undoes it.
    shape : (3,) tuple of int
    """
    rng = draw(seed, "scanner", f"{site}/{contrast}")
    means = np.array(MEANS[contrast])
    gain = float(np.exp(rng.normal(0.0, 0.4)))
    curve, blur, noise = float(np.exp(rng.normal(0.0, 0.35))), float(rng.uniform(0.0, 0.5)), 0.02
    bias = np.ones(shape, dtype=np.float32)
    if effect == "tissue":
        curve = 1.0
        means *= np.exp(rng.normal(0.0, 0.12, len(means)))
        low, high = sorted((means[1], means[2]))
        means[3] = rng.uniform(low - 0.25 * (high - low), high + 0.25 * (high - low))
        field = _smooth(rng, shape)
        bias = np.exp(0.12 * field).astype(np.float32)
        bias /= bias.mean()
    return Scanner(means=means, curve=curve, gain=gain, bias=bias, blur=blur, noise=noise)


def _smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A field (x, y, z) of sd 1 that changes over a quarter of the image.

    An axis less than half as long as the longest is a slab's: the field changes along it as slowly
    as along the longest, as the slab is a part of a head.
    """
    coarse = ndimage.gaussian_filter(rng.standard_normal((24, 24, 24)), 6.0)
    longest = max(shape)
    reach = [23.0 if 2 * n >= longest else 23.0 * (n - 1) / (longest - 1) for n in shape]
    places = np.meshgrid(
        *(np.linspace(0.0, end, n) for end, n in zip(reach, shape, strict=True)),
        indexing="ij",
        sparse=True,
    )
    fine = ndimage.map_coordinates(coarse, np.broadcast_arrays(*places), order=3, mode="nearest")
    return np.asarray(fine / max(float(fine.std()), 1e-12))


def texture(anatomy: Anatomy, *, seed: int, name: str) -> NDArray[np.float32]:
    """A person's own variation within tissues, (x, y, z), sd 1: the same under every scanner."""
    rng = draw(seed, "texture", name)
    field = ndimage.gaussian_filter(
        rng.standard_normal(anatomy.fractions.shape[1:], dtype=np.float32), 1.5
    )
    return np.asarray(field / max(float(field.std()), 1e-9), dtype=np.float32)


def truth(
    anatomy: Anatomy, own: NDArray[np.float32], by: Scanner, *, contrast: str
) -> NDArray[np.float32]:
    """The image of a person under a scanner without its noise, (x, y, z) float32.

    Parameters
    ----------
    anatomy : Anatomy
    own : (x, y, z) float32
        :func:`texture`.
    by : Scanner
    contrast : str
    """
    shares = anatomy.fractions.astype(np.float64)
    ideal = np.tensordot(by.means, shares, axes=1) * (1.0 + TEXTURE * own)
    largest = max(MEANS[contrast]) * 1.2
    shown = largest * np.clip(ideal / largest, 0.0, None) ** by.curve
    if by.blur:
        edges = np.linalg.norm(anatomy.affine[:3, :3], axis=0)
        shown = ndimage.gaussian_filter(shown, by.blur / edges)
    return np.asarray(by.gain * by.bias * shown, dtype=np.float32)


def scan(
    image: NDArray[np.float32], by: Scanner, *, seed: int, name: str, contrast: str, visit: int = 0
) -> NDArray[np.float32]:
    """One acquisition of a true image, with Rician noise; `visit` numbers repeated ones."""
    rng = draw(seed, f"noise {contrast}", name, visit)
    sd = by.noise * by.gain * by.means[TISSUES.index("WM")]
    real, imaginary = rng.standard_normal((2, *image.shape))
    return np.asarray(np.hypot(image + sd * real, sd * imaginary), dtype=np.float32)
