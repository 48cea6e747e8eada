"""Sites of a made-up study, and the gradients of their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from conformance.brains import opened, study_of
from motet.agreement import agree
from motet.bids.table import Table
from motet.client.local_site import LocalSite
from motet.harmonizers.mispel.consensus import Consensus
from motet.harmonizers.mispel.params import MispelParams
from motet.harmonizers.mispel.training import Bench, Stage, Training, turns_done
from motet.images.images import Images
from motet.params import parse_params
from motet.schema import Schema
from motet.training.feed import Feed
from motet.training.gradients import summed_gradients
from motet.training.moment import Moment

SCANNERS = ("b0", "b1", "b2")
SEED = 3
TRAVELERS = ("T1", "T2")
SITES = {"mode": "sites", "travelers": list(TRAVELERS)}


def params_of(**options: Any) -> MispelParams:
    params = parse_params(study_of("mispel", options or SITES))
    assert isinstance(params, MispelParams)
    return params


def images_of(folder: Any, **options: Any) -> Images:
    return opened(folder, study_of("mispel", options or SITES))


def own(images: Images) -> dict[str, Table]:
    """Every site has its own scans, travelers' too."""
    return {b: images.where(images.batch == b).as_site(b) for b in SCANNERS}


def at_hub(images: Images) -> dict[str, Table]:
    """The hub has the travelers' scans, the others have their people's."""
    travels = np.array([who.startswith("sub-T") for who in images.people])
    found = {b: images.where(~travels & (images.batch == b)).as_site(b) for b in SCANNERS}
    return {**found, "hub": images.where(travels).as_site("hub")}


def in_pairs(images: Images) -> dict[str, Table]:
    """b0's site has T1's scans on b0 and b1, and T2's on b0 and b2."""
    travels = np.array([who.startswith("sub-T") for who in images.people])
    left = (images.people == "sub-T1") & (images.batch == "b2")
    left |= (images.people == "sub-T2") & (images.batch == "b1")
    found = {b: images.where(~travels & (images.batch == b)).as_site(b) for b in SCANNERS[1:]}
    reference = (travels | (images.batch == "b0")) & ~left
    return {**found, "ref": images.where(reference).as_site("ref")}


def local_sites(tables: Mapping[str, Table], seed: int = SEED) -> dict[str, LocalSite]:
    schema = agree([table.described for table in tables.values()])
    return {
        name: LocalSite(name=name, schema=schema, data=table, seed=seed)
        for name, table in tables.items()
    }


def schema_of(sites: Mapping[str, LocalSite]) -> Schema:
    return next(iter(sites.values())).schema


def gradients(
    training: Training, bench: Bench, kept: Mapping[str, Any], stage: Stage
) -> dict[str, np.ndarray]:
    """Scanner -> gradient of its unit, over all slices: encoder, then decoder."""
    turn = turns_done(kept, stage)
    samples = training.samples(bench, kept, stage, seed=SEED, turn=turn)
    nets = bench.networks
    feed = Feed(samples, samples.keys(0), dtype=nets.dtype, device=nets.device)
    update = training.update(len(bench.names), stage)
    moment = Moment(step=0, steps=10, per_epoch=1.0)
    due = feed.due(np.arange(len(samples)), 0)
    found = summed_gradients(nets, update, feed, due, moment, mean=True)
    flat = {name: np.concatenate([g.numpy().ravel() for g in gs]) for name, gs in found.of.items()}
    return {
        name: np.concatenate([flat.get(f"encoder{k}", np.zeros(0)), flat[f"decoder{k}"]])
        for k, name in enumerate(bench.names)
    }


def refreshed(sites: Mapping[str, LocalSite], params: MispelParams, *names: str) -> None:
    """Sums over the sites, in clear: every site keeps what is concluded."""
    of = Consensus(params, schema_of(sites))
    for name in names:
        phase = {"consensus": of.embeddings, "values": of.values, "signs": of.signs}[name]()
        sent = [phase.at_site(site, {}) for site in sites.values()]
        sums = {at: np.sum([one[at].astype(float) for one in sent], axis=0) for at in sent[0]}
        for site in sites.values():
            site.keep.update(phase.at_coordinator(sums, {}))


def random_units(params: MispelParams, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Units that differ, of embeddings and images with values above 0."""
    rng = np.random.default_rng(7)
    size = params.sizes.unit
    found = {f"unit.{name}": rng.normal(0, 0.3, size) for name in names}
    for vector in found.values():
        vector[-params.sizes.maps :] = np.abs(vector[-params.sizes.maps :]) + 0.1
    return found


def slices(bench: Bench, name: str) -> torch.Tensor:
    """Slices of one scanner that are there, float64."""
    k = bench.names.index(name)
    return torch.from_numpy(np.array(bench.stack.x[bench.stack.there[:, k], k], dtype=np.float64))
