"""Releases: the arrays that leave a site, declared before they exist.

The same :class:`ArraySpec` drives the site's outgoing gate, the coordinator's validator,
``motet plan`` and the ledger. :func:`violations` is the one comparison of arrays with their
declaration; both ends call it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import PlanError

Arrays = Mapping[str, NDArray[Any]]
Dim = int | str
DTYPES = (
    *("float64", "float32", "float16", "int64", "int32", "int16", "int8"),
    *("uint64", "uint32", "uint16", "uint8", "bool"),
)


LARGEST = 1e120
"""Largest entry of any release: products of two, summed over sites, must stay finite."""


class Leaves(StrEnum):
    """Class of a release, weakest promise last."""

    SCHEMA = "schema"
    SUM = "sum"
    UPDATE = "update"
    PUBLISHED = "published"
    PERSONAL = "personal"


@dataclass(frozen=True, kw_only=True)
class Size:
    """A size that is known only during the run; consent is given to ``at_most``.

    Its value is the length of the shared array of the same name.
    """

    name: str
    at_most: Dim


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """Declaration of one array that leaves a site.

    Parameters
    ----------
    name : str
        Key of the array in the reply.
    shape : tuple of int or str
        A string names a public size (``"p"``, ``"q"``); never a number of people.
    meaning : str
        What the entries are, for the person who consents.
    dtype : str
        One of ``DTYPES``.
    support : str
        The count that must stand behind an entry: ``"n"`` people, ``"cell"`` of a categorical
        covariate and, where a study has splines of others, their basis, ``"basis"`` column alone,
        or one consenting ``"person"``.
    bound : float or str, optional
        Public bound on the absolute value of an entry, or the name of an array of bounds.
    least : float, optional
        Smallest value an entry can have: 0 for counts and sums of squares.
    moved_by_one_person : float, optional
        How far one person can move it (L2, after clipping); None where differential privacy
        cannot cover it.
    """

    name: str
    shape: tuple[Dim, ...]
    meaning: str
    dtype: str = "float64"
    support: str = "n"
    bound: float | str | None = None
    least: float | None = None
    moved_by_one_person: float | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise PlanError(f"Release '{self.name}' has dtype {self.dtype}; known: {DTYPES}.")
        if self.support not in ("n", "cell", "basis", "person"):
            raise PlanError(f"Release '{self.name}' has unknown support '{self.support}'.")
        if any(isinstance(dim, int) and dim < 0 for dim in self.shape):
            raise PlanError(f"Release '{self.name}' has a negative length.")


def bind(shape: Sequence[Dim], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Replace the named sizes of a shape by numbers."""
    try:
        return tuple(dim if isinstance(dim, int) else sizes[dim] for dim in shape)
    except KeyError as error:
        known = ", ".join(sorted(sizes))
        raise PlanError(f"A shape names the size {error}, which is not one of {known}.") from error


def nbytes(spec: ArraySpec, sizes: Mapping[str, int]) -> int:
    """Bytes of the array on the wire, without the message around it."""
    return math.prod(bind(spec.shape, sizes)) * np.dtype(spec.dtype).itemsize


def _largest(array: NDArray[Any]) -> float:
    return float(np.abs(array.astype(np.float64)).max()) if array.size else 0.0


def violations(
    arrays: Arrays, specs: Sequence[ArraySpec], sizes: Mapping[str, int]
) -> tuple[str, ...]:
    """Say how `arrays` depart from their declaration; empty when they do not.

    The sentences hold names, shapes and dtypes only, never values.
    """
    declared = {spec.name: spec for spec in specs}
    found = [f"'{name}' is not declared" for name in arrays if name not in declared]
    for name, spec in declared.items():
        if name not in arrays:
            found.append(f"'{name}' is missing")
            continue
        array = arrays[name]
        shape = bind(spec.shape, sizes)
        if array.dtype != np.dtype(spec.dtype):
            found.append(f"'{name}' has dtype {array.dtype} instead of {spec.dtype}")
        elif array.shape != shape:
            found.append(f"'{name}' has shape {array.shape} instead of {shape}")
        elif array.dtype.kind == "f" and not np.isfinite(array).all():
            found.append(f"'{name}' holds values that are not finite")
        elif spec.least is not None and array.size and array.min() < spec.least:
            found.append(f"'{name}' holds values below {spec.least:g}")
        elif array.dtype == np.float64 and _largest(array) > LARGEST:
            found.append(f"'{name}' holds values beyond {LARGEST:g}, which no sum survives")
        elif isinstance(spec.bound, int | float) and _largest(array) > spec.bound:
            found.append(f"'{name}' exceeds its declared bound {spec.bound:g}")
    return tuple(found)
