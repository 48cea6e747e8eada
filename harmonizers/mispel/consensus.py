"""What the sites that scanned a traveler make together: sums that only they read.

A traveler's embedding is this person's anatomy: six weights give the image back. So the sum is
hidden from everybody who did not scan the person, and each site that did has to have this person's
recorded consent. A site's part is hidden from the others, but where they are two: each then has
the other's by subtraction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers.mispel.grid import corners, seen
from motet.harmonizers.mispel.params import MispelParams
from motet.harmonizers.mispel.slices import Shape
from motet.harmonizers.mispel.training import Bench, Stage, Training, turns_done
from motet.phases import Sum, Who
from motet.releases import Arrays, ArraySpec
from motet.schema import Schema
from motet.site import Site

if TYPE_CHECKING:
    from torch import Tensor

    from motet.harmonizers.mispel.networks import Units

AT_ONCE = 16
"""Slices that pass through an encoder together."""
EXCHANGED = "it is exchanged among the sites that scanned this person, and nobody else can read it"


@dataclass(frozen=True)
class Consensus:
    """The sums.

    Parameters
    ----------
    params : MispelParams
    schema : Schema
    """

    params: MispelParams
    schema: Schema

    def embeddings(self) -> Sum:
        """The mean embedding of every traveler."""
        return self._sum(
            "consensus",
            f"embedding of the traveler's slices{self._pixels('embedding')}, the anatomy of this "
            f"person: {EXCHANGED}",
            dtype=self.params.sent,
            bound=self.params.largest * self._most,
            maps=(self.params.sizes.maps,),
            at_site=self.send_embeddings,
            at_coordinator=self.conclude,
        )

    def values(self) -> Sum:
        """The mean harmonized image of every traveler."""
        return self._sum(
            "values",
            f"harmonized slices of the traveler{self._pixels('harmonization')}, the anatomy of "
            f"this person: {EXCHANGED}",
            dtype=self.params.sent,
            bound=self.params.largest * self._most,
            at_site=self.send_values,
            at_coordinator=self.conclude,
        )

    def signs(self) -> Sum:
        """On how many scanners more a pixel is brighter than the mean image than darker."""
        return self._sum(
            "signs",
            f"where the traveler's harmonized slices{self._pixels('harmonization')} are brighter "
            f"than their mean: {EXCHANGED}",
            dtype="int16",
            bound=self._most,
            at_site=self.send_signs,
            at_coordinator=self.conclude_signs,
        )

    @property
    def _most(self) -> int:
        """Scanners of one site, at most."""
        sites = [batch.site for batch in self.schema.batches]
        return max(sites.count(site) for site in sites)

    def _pixels(self, stage: Stage) -> str:
        """What of a slice is exchanged, in words: in one exchange, and in all of a step."""
        of, turns = self.params.stride**2, Training(self.params, self.schema).turns(stage)
        if of == 1:
            return ""
        whole = "all of them" if turns >= of else f"{turns} of {of}"
        return f" (1 of {of} pixels in each of {turns} exchanges, {whole} in the end)"

    def _sum(
        self,
        name: str,
        meaning: str,
        *,
        dtype: str,
        bound: float,
        maps: tuple[int, ...] = (),
        at_site: Callable[[Site, Arrays], Arrays],
        at_coordinator: Callable[[Arrays, Arrays], Arrays],
    ) -> Sum:
        shape = Shape.of(self.params, self.schema)
        return Sum(
            name=name,
            who=Who(holders="traveler"),
            key="traveler",
            read_by="holders",
            arrays=(
                ArraySpec(
                    name=name,
                    shape=(len(shape), *maps, *shape.compared(self.params.stride)),
                    dtype=dtype,
                    support="person",
                    bound=float(bound),
                    meaning=meaning,
                ),
            ),
            at_site=at_site,
            at_coordinator=at_coordinator,
        )

    def send_embeddings(self, site: Site, shared: Arrays) -> Arrays:
        """Sum over the site's scanners, of every traveler."""
        return {
            f"{key}/consensus": self._sent(z, site) for key, z, _ in self._made(site, "embedding")
        }

    def send_values(self, site: Site, shared: Arrays) -> Arrays:
        """The same of the images that are made of them."""
        found = self._made(site, "harmonization")
        return {f"{key}/values": self._sent(y, site) for key, _, y in found}

    def send_signs(self, site: Site, shared: Arrays) -> Arrays:
        """Signs of their differences from the mean image."""
        return {
            f"{key}/signs": np.sign(y - site.keep[f"values/{key}"][:, None])
            .sum(axis=1)
            .astype(np.int16)
            for key, _, y in self._made(site, "harmonization")
        }

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Means over scanners."""
        dtype = np.float64 if self.params.sent == "float64" else np.float32
        count = len(self.schema.batches)
        return {_kept(name): (total / count).astype(dtype) for name, total in sums.items()}

    def conclude_signs(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Sums, as they are."""
        return {_kept(name): total.astype(np.int16) for name, total in sums.items()}

    def _sent(self, maps: NDArray[Any], site: Site) -> NDArray[Any]:
        """Maps of a site's scanners, (slices, K, …), cut to the bound and summed."""
        most = self.params.largest
        if (over := np.abs(maps) > most).any():
            site.warn(
                f"{over.mean():.2%} of what a traveler's consensus is made of is beyond "
                f"{most:g} (params.largest) and counts as that."
            )
        return np.asarray(np.clip(maps, -most, most).sum(axis=1).astype(self.params.sent))

    def _made(self, site: Site, stage: Stage) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
        """Embeddings (slices, K, maps, h, w) and images (slices, K, h, w) of every traveler."""
        bench = Training(self.params, self.schema).bench(site)
        cut, stride = bench.stack, self.params.stride
        turn = turns_done(site.keep, stage)
        corner = corners(cut.people, cut.parts, stride=stride, seed=site.seed, turn=turn)
        for key in dict.fromkeys(cut.people.tolist()):
            z, y = made(bench, cut.of(key), corner, self.params)
            yield key, z, y


def _kept(name: str) -> str:
    """``<key>/<array>`` of a sum, as it is kept: ``<array>/<key>``."""
    key, _, array = name.partition("/")
    return f"{array}/{key}"


def made(
    bench: Bench, rows: NDArray[np.intp], corner: NDArray[np.int64], params: MispelParams
) -> tuple[NDArray[Any], NDArray[Any]]:
    """What a bench's units make of some slices, on the pixels that are compared."""
    import torch

    from motet.harmonizers.mispel.losses import embeddings
    from motet.training.device import steady

    nets, found = bench.networks, list[tuple[NDArray[Any], NDArray[Any]]]()
    units = cast("Units", nets.module)

    def array(maps: Tensor, part: NDArray[np.intp]) -> NDArray[Any]:
        return seen(maps, torch.from_numpy(corner[part]), params.stride).to("cpu").numpy()

    with steady(params.train.threads), torch.no_grad():
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            x = torch.from_numpy(np.array(bench.stack.x[part])).to(nets.device, nets.dtype)
            there = torch.from_numpy(bench.stack.there[part].astype(np.int8)).to(nets.device)
            z, y = embeddings(units, {"x": x, "there": there})
            found.append((array(z, part), array(y, part)))
    return np.concatenate([z for z, _ in found]), np.concatenate([y for _, y in found])
