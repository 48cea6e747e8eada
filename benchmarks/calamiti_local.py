"""CALAMITI in local mode, alone, and at a site that joins: beside exact mode, on labelled slabs.

    python benchmarks/calamiti_local.py SLABS.npz OUT [--ways exact,5,10,25,50,alone,join]
                                        [--train '{"steps": 600}'] [--seed 1]

The phantom and the travelers of ``calamiti_slabs.py``. Every way trains as many steps of as many
slices; figures are means over travelers and pairs of sites of PSNR and SSIM in plane with the
truth.

* ``exact``: gradients are summed in every step, as if everybody were in one place.
* a number: local mode with so many steps between exchanges.
* ``alone``: every site trains with its own people and nobody else. A target is then an image of one
  of its people, since its style code means nothing to another site's networks.
* ``join``: dogwood was not in the fit and adapts its heads; beside it, what the sites that were in
  the fit reach with the same networks, and what dogwood reaches in ``exact``.

``gain`` is the PSNR above raw, ``of exact`` its share of what exact mode gains for the same pairs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from calamiti_slabs import (
    CONTRASTS,
    SITES,
    file_of,
    made_phantom,
    people,
    restyled,
    scan,
    trained,
    volume,
)

from motet.images.fidelity import fidelity

OTHERS, JOINING = SITES[:3], SITES[3]


def simulated(
    phantom: Path, out: Path, sites: Sequence[str], way: str, asked: argparse.Namespace
) -> Path:
    """A finished study of some sites, trained in one way."""
    train = json.loads(asked.train)
    local = {"mode": "local", "local_steps": int(way)} if way.isdigit() else {"mode": "exact"}
    # As many slices a site and step.
    batch = max(1, int(train.get("batch", 4)) * len(sites) // len(SITES))
    train |= {**local, "batch": batch}
    params = json.loads(asked.params)
    return trained(phantom, out, sites=sites, params=params, train=train, seed=asked.seed)


def example(phantom: Path, target: str) -> str:
    """Images of one of a site's people, as a target."""
    who = people(phantom, target, travelers=False)[0]
    return ",".join(str(file_of(phantom / target, who, contrast)) for contrast in CONTRASTS)


def brought(
    phantom: Path, out: Path, way: str, asked: argparse.Namespace
) -> Iterator[tuple[str, str, Path]]:
    """Every pair of sites, and the folder of what a way makes of it."""
    if way == "join":
        model = simulated(phantom, out, OTHERS, way, asked)
        for site in SITES:
            for target in OTHERS:
                if site != target:
                    yield site, target, restyled(phantom, model, site, target)
        return
    if way != "alone":
        model = simulated(phantom, out, SITES, way, asked)
    for site in SITES:
        if way == "alone":
            model = simulated(phantom, out / site, (site,), way, asked)
        for target in SITES:
            if site != target:
                to = example(phantom, target) if way == "alone" else ""
                yield site, target, restyled(phantom, model, site, target, to=to)


def judged(phantom: Path, pairs: Iterator[tuple[str, str, Path]]) -> pd.DataFrame:
    """Mean figures of every pair and contrast, of raw images and of what was made of them."""
    rows = []
    for site, target, folder in pairs:
        for contrast in CONTRASTS:
            who = people(phantom, target, travelers=True)
            masks = {p: scan(phantom, target, p, contrast).mask for p in who}
            truths = {p: volume(file_of(phantom / "truth" / target, p, contrast)) for p in who}
            wide = float(np.mean([np.ptp(truths[p][masks[p]]) for p in who]))
            for p in who:
                (file,) = folder.rglob(f"{p}_*{contrast}.nii.gz")
                row = {"from": site, "to": target, "contrast": contrast}
                for name, made in (
                    ("raw", scan(phantom, site, p, contrast).data),
                    ("made", volume(file)),
                ):
                    f = fidelity(made, truths[p], masks[p], data_range=wide, contrast=contrast)
                    row |= {f"{name} psnr": f.psnr, f"{name} ssim": f.ssim_in_plane}
                rows.append(row)
    return pd.DataFrame(rows).groupby(["contrast", "from", "to"]).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slabs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ways", default="exact,5,10,25,50,alone,join")
    parser.add_argument("--train", default='{"batch": 4, "steps": 600}')
    parser.add_argument("--params", default="{}")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    phantom = asked.out / "phantom"
    made_phantom(asked.slabs, phantom, seed=asked.seed)
    found = {}
    for way in asked.ways.split(","):
        kept = asked.out / f"{way}.csv"
        if not kept.exists():
            judged(phantom, brought(phantom, asked.out / way, way, asked)).to_csv(kept)
        table = pd.read_csv(kept, index_col=["contrast", "from", "to"])
        table["gain"] = table["made psnr"] - table["raw psnr"]
        found[way] = table
        print(f"\n{way}\n{told(table, found.get('exact')).round(3).to_string()}", flush=True)
        if way == "join":
            here = table.index.get_level_values("from") == JOINING
            for name, part in (("in the fit", table[~here]), ("joined", table[here])):
                print(f"  {name}\n{told(part, found.get('exact')).round(3).to_string()}")


def told(table: pd.DataFrame, exact: pd.DataFrame | None) -> pd.DataFrame:
    """Means over pairs of sites, a row a contrast."""
    columns = ["raw psnr", "made psnr", "made ssim", "gain"]
    made = table.groupby("contrast")[columns].mean()
    if exact is not None:
        same = exact.loc[table.index].groupby("contrast")["gain"].mean()
        made["of exact"] = made["gain"] / same
    return made


if __name__ == "__main__":
    main()
