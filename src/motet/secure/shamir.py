"""A secret in n shares of which any t suffice, and t - 1 say nothing (Shamir 1979)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

PRIME = 2**256 + 297
"""A prime just above every secret of 32 bytes."""

SECRET = 32
SHARE = 33
"""Bytes."""


def split(
    secret: bytes, points: Sequence[int], threshold: int, *, draw: Callable[[int], bytes]
) -> dict[int, bytes]:
    """Shares of a secret, one for every point.

    Parameters
    ----------
    secret : bytes
        Of ``SECRET`` bytes.
    points : sequence of int
        Distinct, from 1.
    threshold : int
    draw : callable
        The k-th coefficient's 48 bytes, which nobody else can know. Reduced, they are uniform to
        2^-127.
    """
    if len(secret) != SECRET or not 1 <= threshold <= len(points) == len(set(points)):
        raise ValueError("not a secret of 32 bytes, or no such threshold")
    coefficients = [
        int.from_bytes(secret, "big"),
        *(int.from_bytes(draw(k), "big") % PRIME for k in range(1, threshold)),
    ]
    return {x: _value(coefficients, x).to_bytes(SHARE, "big") for x in points}


def _value(coefficients: Sequence[int], x: int) -> int:
    found = 0
    for c in reversed(coefficients):
        found = (found * x + c) % PRIME
    return found


def join(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret of which these are shares; the first `threshold` points count.

    Raises
    ------
    ValueError
        When there are too few, or they are of no secret.
    """
    points = sorted(shares)[:threshold]
    if len(points) < threshold:
        raise ValueError("too few shares")
    secret = 0
    for x in points:
        weight = 1
        for other in points:
            if other != x:
                weight = weight * other * pow(other - x, -1, PRIME) % PRIME
        secret = (secret + int.from_bytes(shares[x], "big") * weight) % PRIME
    return secret.to_bytes(SHARE, "big")[-SECRET:] if secret < 2**256 else _no_secret()


def _no_secret() -> bytes:
    raise ValueError("shares of no secret")
