"""The vocabulary of plans: all that a harmonization method can say.

A harmonizer is a plan of steps, and every step declares what leaves a site. Nothing here knows a
network, a file or Flower. Callables are module-level functions or bound methods of frozen
dataclasses, so that a plan can be described, hashed and rebuilt at every site from the installed
package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from numpy.typing import NDArray

from motet.errors import PlanError
from motet.releases import Arrays, ArraySpec, Leaves, Size
from motet.scale import Bounds, Magnitudes
from motet.site import Site


@dataclass(frozen=True, kw_only=True)
class Who:
    """Which sites take part in a phase.

    Parameters
    ----------
    site : str
        Only this site.
    having : str
        Only sites with this capability, e.g. ``"T2w"`` or ``"pairs"``.
    holders : str
        Only the holders of a key, e.g. ``"traveler"``: those who scanned the person.
    """

    site: str = ""
    having: str = ""
    holders: str = ""

    def __str__(self) -> str:
        words = [f"{key} {value}" for key, value in vars(self).items() if value]
        return ", ".join(words) or "all sites"


ALL = Who()
UNTOLD = "untold/"
"""First part of the names of conclusions that stay at the coordinator (:class:`Sum`)."""


def _personal(arrays: Sequence[ArraySpec]) -> bool:
    """Whether an array is one person's own, who must have consented."""
    return any(spec.support == "person" for spec in arrays)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What all phases have in common.

    Parameters
    ----------
    name : str
        Unique within its plan.
    who : Who
        The sites that take part.
    on : {"fit", "held_out", "all"}
        The people it reads.
    reads : {"raw", "harmonized", "versions"}
        The values it reads. The platform's evaluation phases read ``site.versions``: raw values,
        harmonized ones, and those of the site harmonized alone.
    when : str
        Name of a :class:`~motet.releases.Size`: the phase is left out when that size is 0.
    of : tuple of str
        Keys of the travelers of whom alone its releases are; default: everybody it reads. A
        hospital counts these, and nobody else, as standing behind them.
    """

    name: str
    who: Who = ALL
    on: Literal["fit", "held_out", "all"] = "fit"
    reads: Literal["raw", "harmonized", "versions"] = "raw"
    when: str = ""
    of: tuple[str, ...] = ()

    @property
    def leaves(self) -> Leaves | None:
        """Class of what leaves a site; None where nothing does."""
        return None

    @property
    def releases(self) -> tuple[ArraySpec, ...]:
        """The arrays that leave each site taking part."""
        return ()

    def times(self, array: str) -> int:
        """How often `array` may leave a site in one run of the phase."""
        return 1

    @property
    def readers(self) -> str:
        """Who can read what a site sends, and what is made of it; empty where nothing leaves."""
        return ""


@dataclass(frozen=True, kw_only=True)
class Agree(Phase):
    """Public schema that must be equal at all sites, or of which the sorted union is taken.

    Of `largest` the largest is: powers of 4 that bound numbers, where sums are to be masked.
    """

    equal: tuple[str, ...] = ()
    union: tuple[str, ...] = ()
    largest: tuple[str, ...] = ()

    @property
    def leaves(self) -> Leaves | None:
        return Leaves.SCHEMA

    @property
    def readers(self) -> str:
        return "the coordinator reads each site's; all sites read what is agreed"


@dataclass(frozen=True, kw_only=True)
class Local(Phase):
    """Work at the site of which nothing leaves. It may take long (a hub training alone)."""

    at_site: Callable[[Site, Arrays], None]


@dataclass(frozen=True, kw_only=True)
class Sum(Phase):
    """Named arrays of which only the sum over sites is needed.

    Parameters
    ----------
    arrays : tuple of ArraySpec
        What each site sends.
    at_site : callable
        ``(site, shared) -> arrays``, exactly the declared ones.
    at_coordinator : callable
        ``(sums, shared) -> additions`` to the shared model. Raw sums are never broadcast. With
        ``read_by="holders"`` it runs at each holder.
    key : str
        ``"traveler"``: one sum for each traveler, over the sites that hold that traveler. A site's
        arrays are then called ``<key>/<array>``, and so are the sums.
    read_by : {"coordinator", "holders"}
        ``"holders"``: the coordinator adds what it cannot read, and what holders conclude stays
        with them, in ``site.keep``.
    stays_at : {"", "coordinator"}
        ``"coordinator"``: what is concluded stays there, for later phases, under ``untold/<name>``.
        Sites are not told, and the shared model goes without.
    sets : tuple of Size
        Sizes known after this phase: the lengths of shared arrays of the same names.
    bounds : callable, optional
        ``(magnitudes, shared) -> {array: bound}``: what no site's entry exceeds in absolute value,
        public, broadcast to the array. Every floating-point array needs one to be summed where
        nobody can read it; integers do not.
    """

    arrays: tuple[ArraySpec, ...]
    at_site: Callable[[Site, Arrays], Arrays]
    at_coordinator: Callable[[Arrays, Arrays], Arrays]
    key: str = ""
    read_by: Literal["coordinator", "holders"] = "coordinator"
    stays_at: Literal["", "coordinator"] = ""
    sets: tuple[Size, ...] = ()
    bounds: Callable[[Magnitudes, Arrays], Bounds] | None = None

    @property
    def leaves(self) -> Leaves | None:
        return Leaves.PERSONAL if _personal(self.arrays) else Leaves.SUM

    @property
    def readers(self) -> str:
        if self.read_by == "holders":
            return (
                "the holders read the sum, and so, where they are two, each other's part; the "
                "coordinator and other sites read nothing"
            )
        return f"the coordinator reads each site's; {self.concluded('the sum')}"

    def concluded(self, source: str) -> str:
        """Who reads what is made of a sum, in words."""
        if self.stays_at:
            return f"no site reads what is concluded from {source}"
        return f"all sites read what is concluded from {source}"

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """What is known after the phase."""
        found = self.at_coordinator(sums, shared)
        return {f"{UNTOLD}{name}": a for name, a in found.items()} if self.stays_at else found

    @property
    def releases(self) -> tuple[ArraySpec, ...]:
        return self.arrays

    def of_keys(self, keys: Sequence[str]) -> tuple[ArraySpec, ...]:
        """The arrays of some keys, called ``<key>/<array>``, as sites compute them."""
        return tuple(replace(s, name=f"{key}/{s.name}") for key in keys for s in self.arrays)


@dataclass(frozen=True, kw_only=True)
class Publish(Phase):
    """Arrays of one or several sites as they are, to all or to one recipient.

    The result is ``shared["<site>/<name>"]``, or what `at_coordinator` makes of
    ``(published, shared)``, where `published` has these keys. With `sealed` the coordinator
    relays ciphertext, `at_coordinator` must be None, and the result is the recipient's alone:
    ``site.keep["<site>/<name>"]`` there.
    """

    arrays: tuple[ArraySpec, ...]
    at_site: Callable[[Site, Arrays], Arrays]
    at_coordinator: Callable[[Arrays, Arrays], Arrays] | None = None
    to: Who = ALL
    sealed: Literal["", "recipient"] = ""

    @property
    def leaves(self) -> Leaves | None:
        return Leaves.PERSONAL if _personal(self.arrays) else Leaves.PUBLISHED

    @property
    def readers(self) -> str:
        whom = str(self.to)
        if self.sealed:
            return f"{whom} reads it; the coordinator passes on what it cannot read"
        return f"the coordinator and {whom} read it as it is"

    @property
    def releases(self) -> tuple[ArraySpec, ...]:
        return self.arrays


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Steps that run until a condition on the shared model holds, at most ``at_most`` times.

    Consent and privacy budget cover ``at_most`` times the releases inside.
    """

    name: str
    steps: tuple[Step, ...] = field(default=())
    at_most: int
    until: Callable[[Arrays], bool] | None = None

    def __post_init__(self) -> None:
        if self.at_most < 1 or not self.steps:
            raise PlanError(f"Repeat '{self.name}' needs steps and at_most >= 1.")


Step = Phase | Repeat


def without_untold(shared: Arrays) -> dict[str, NDArray[Any]]:
    """The shared model: what is known at the coordinator, but for what stays there."""
    return {name: array for name, array in shared.items() if not name.startswith(UNTOLD)}


def walk(steps: Sequence[Step], times: int = 1) -> Iterator[tuple[Phase, int]]:
    """Yield every phase with the largest number of times it may run."""
    for step in steps:
        if isinstance(step, Repeat):
            yield from walk(step.steps, times * step.at_most)
        else:
            yield step, times
