"""MISPEL on labelled T1 slabs with known truth: travelers, before and after, scanner by scanner.

    python benchmarks/mispel_slabs.py SLABS.npz OUT [--seeds 1,2,3] [--modes sites,hub]
                                      [--effect tissue] [--params '{"refresh": 5}']

Four sites of 2 people and 12 travelers at 2 mm (``motet phantom``). Units are trained on eight of
the travelers with ``motet simulate`` and used with ``motet apply`` on the other four, whom no fit
saw, as a user does. For ``hub`` a fifth site holds the travelers' scans, a session a scanner.

* ``raw``: intensities in parts of the brain's mean, as the units see them.
* ``histogram matching``: 1,001 quantiles to their mean over sites and the trained travelers.

Of every pair of scanners: SSIM (in plane, within the brain, of the range of both), the share of
intensities between scans, and Dice of tissues between both scans. Of every scan: Dice of its
tissues with the labels. ``moved``: bytes of arrays, as the coordinator received them. Losses are
those of both steps over all pixels, with the weights of the preset, of the finished units.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from calamiti_slabs import motet, volume

from motet.images.fidelity import fidelity
from motet.images.tissues import order_of, overlap, segment

SITES = ("ash", "birch", "cedar", "dogwood")
TRAVELERS = [f"sub-traveler{k:02d}" for k in range(1, 13)]
TRAINED, HELD = TRAVELERS[:8], TRAVELERS[8:]
GRID = np.linspace(0, 1, 1001)
CONTRAST = "T1w"


def hub_of(phantom: Path) -> Path:
    """A folder with the trained travelers' scans of all sites: links, a session each."""
    home = phantom / "hub"
    if home.exists():
        return home
    for person in TRAINED:
        for site in SITES:
            anat = home / person / f"ses-{site}" / "anat"
            anat.mkdir(parents=True)
            for kind in (CONTRAST, "desc-brain_mask"):
                source = phantom / site / person / "anat" / f"{person}_{kind}.nii.gz"
                (anat / f"{person}_ses-{site}_{kind}.nii.gz").symlink_to(source.resolve())
        rows = "".join(f"ses-{site}\t{site}\n" for site in SITES)
        (home / person / f"{person}_sessions.tsv").write_text(f"session_id\tscanner\n{rows}")
    people = "".join(f"{person}\tn/a\n" for person in TRAINED)
    (home / "participants.tsv").write_text(f"participant_id\tscanner\n{people}")
    return home


def trained(phantom: Path, out: Path, mode: str, asked: argparse.Namespace, seed: int) -> float:
    """Train one mode; seconds."""
    sites = {site: str(phantom / site) for site in SITES}
    params: dict[str, object] = {"mode": mode, "travelers": TRAINED}
    if mode == "hub":
        sites["hub"] = str(hub_of(phantom))
        params = {"mode": mode, "hub": "hub"}
    study = {
        "study": f"slabs-{mode}-{seed}",
        "method": "mispel",
        # Slabs without a head do not look like a head's T1w.
        "params": {
            **params,
            "registered": True,
            "unusual_contrast": True,
            **json.loads(asked.params),
        },
        "train": {"preset": "small", **json.loads(asked.train)},
        "sites": sites,
        "evaluation": {"metrics": "none"},
        "seed": seed,
    }
    file = out / f"{mode}.yaml"
    file.write_text(yaml.safe_dump(study))
    began = time.monotonic()
    motet("simulate", file, "--out", out / mode, "--reports", "later")
    return time.monotonic() - began


def applied(phantom: Path, out: Path, mode: str, site: str) -> Path:
    made = out / f"{mode}-{site}"
    if not made.exists():
        labels = [word for person in HELD for word in ("--participant-label", person)]
        model = out / mode / "sites" / site
        motet("apply", "--model", model, phantom / site, made, "participant", *labels)
    return made


def raw(phantom: Path, site: str, person: str) -> tuple[np.ndarray, np.ndarray]:
    """A scan in parts of its brain's mean, and the brain."""
    anat = phantom / site / person / "anat"
    mask = volume(anat / f"{person}_desc-brain_mask.nii.gz") > 0
    data = volume(anat / f"{person}_{CONTRAST}.nii.gz")
    return np.where(mask, data / data[mask].mean(), 0.0), mask


def histograms(phantom: Path) -> dict[str, np.ndarray]:
    """Mean quantiles of the trained travelers on every scanner."""
    found = {}
    for site in SITES:
        scans = [raw(phantom, site, person) for person in TRAINED]
        found[site] = np.mean([np.quantile(data[mask], GRID) for data, mask in scans], axis=0)
    return found


def versions(
    phantom: Path, out: Path, modes: list[str], known: Mapping[str, np.ndarray], site: str, who: str
) -> Iterator[tuple[str, np.ndarray]]:
    data, mask = raw(phantom, site, who)
    yield "raw", data
    target = np.mean(list(known.values()), axis=0)
    matched = np.zeros_like(data)
    matched[mask] = np.interp(data[mask], known[site], target)
    yield "histogram matching", matched
    for mode in modes:
        (file,) = applied(phantom, out, mode, site).rglob(f"{who}_*{CONTRAST}.nii.gz")
        yield mode, np.where(mask, volume(file), 0.0)


def judged(phantom: Path, out: Path, modes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a version, pair of scanners and traveler; and one a version, scanner and traveler."""
    known, pairs, scans = histograms(phantom), [], []
    for who in HELD:
        labels = volume(phantom / "labels" / f"{who}_dseg.nii.gz")
        made: dict[str, dict[str, np.ndarray]] = {}
        for site in SITES:
            mask = raw(phantom, site, who)[1]
            # Deep grey matter has tissue of its own; k-means of three knows none.
            plain = mask & np.isin(labels, (1, 2, 3))
            truth = (labels[plain] - 1).astype(np.uint8)
            for name, data in versions(phantom, out, modes, known, site, who):
                made.setdefault(name, {})[site] = data
                dice = overlap(segment(data[plain]), truth, order=order_of(CONTRAST))
                row = {"version": name, "site": site, "who": who}
                scans.append({**row, "dice": np.mean(list(dice.values()))})
        for name, of_site in made.items():
            wide = float(np.mean([np.ptp(data[mask]) for data in of_site.values()]))
            for one, other in combinations(SITES, 2):
                f = fidelity(of_site[one], of_site[other], mask, data_range=wide, contrast=CONTRAST)
                row = {"version": name, "pair": f"{one}-{other}", "who": who}
                row |= {"ssim": f.ssim_in_plane, "psnr": f.psnr, "mae": f.mae}
                pairs.append({**row, "dice between": np.mean(list(f.dice.values()))})
    return pd.DataFrame(pairs), pd.DataFrame(scans)


def moved(out: Path, mode: str) -> int:
    """Bytes of arrays that the coordinator received in the fit."""
    received = json.loads((out / mode / "run.json").read_text())["received"]
    return sum(e["bytes"] * e["times"] for e in received if e["class"] != "schema")


def losses(phantom: Path, out: Path, mode: str, people: list[str]) -> dict[str, float]:
    """The published losses of a mode's finished units, over all pixels of some travelers."""
    import torch

    from motet.harmonizers.mispel.losses import Together
    from motet.harmonizers.mispel.params import MispelParams
    from motet.harmonizers.mispel.slices import padded
    from motet.harmonizers.mispel.units import UNIT, load, networks

    params = MispelParams()
    nets = networks(params, len(SITES), seed=0, device="cpu")
    kept = {}
    for site in SITES:
        with np.load(out / mode / "sites" / site / "model" / "model.npz") as model:
            (name,) = [name for name in model.files if name.startswith(UNIT)]
            kept[f"{UNIT}{site}"] = model[name]
    load(nets, SITES, kept)
    every = []
    for who in people:
        scans = [padded(np.moveaxis(raw(phantom, site, who)[0], 2, 0)) for site in SITES]
        x = torch.from_numpy(np.stack(scans, axis=1)).to(nets.dtype)
        batch = {"x": x, "there": torch.ones(x.shape[:2])}
        with torch.no_grad():
            one = Together().embedding(nets.module, batch, None)
            two = Together().harmonization(nets.module, batch, None)
        every.append({name: float(loss.mean()) for name, loss in {**one, **two}.items()})
    means = pd.DataFrame(every).mean().to_dict()
    means["step 1"] = 0.3 * means["reconstruction"] + params.coupling * means["coupling"]
    means["step 2"] = means["reconstruction"] + 4.0 * means["harmonization"]
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slabs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--modes", default="sites,hub")
    parser.add_argument("--effect", default="tissue")
    parser.add_argument("--train", default="{}")
    parser.add_argument("--params", default="{}")
    asked = parser.parse_args()
    asked.out = asked.out.resolve()
    modes = asked.modes.split(",")
    for seed in map(int, asked.seeds.split(",")):
        phantom = asked.out / f"phantom-{asked.effect}-{seed}"
        if not phantom.exists():
            words = ("--anatomy", asked.slabs, "--resolution", 2, "--people", 2, "--travelers", 12)
            words += ("--contrasts", CONTRAST, "--effect", asked.effect, "--sites", 4)
            motet("phantom", *words, "--seed", seed, "--out", phantom)
        out = asked.out / f"{asked.effect}-{seed}"
        out.mkdir(exist_ok=True, parents=True)
        for mode in modes:
            if not (out / mode).exists():
                took = trained(phantom, out, mode, asked, seed)
                print(f"{mode}: {took:.0f} s, {moved(out, mode) / 1e6:.1f} MB moved", flush=True)
        pairs, scans = judged(phantom, out, modes)
        pairs.to_csv(out / "pairs.csv", index=False)
        means = pairs.groupby("version").mean(numeric_only=True)
        means["dice"] = scans.groupby("version").mean(numeric_only=True)["dice"]
        if asked.params == asked.train == "{}":
            kinds = {"trained": TRAINED, "held out": HELD}
            found = {(m, k): losses(phantom, out, m, p) for m in modes for k, p in kinds.items()}
            print(f"\n{pd.DataFrame(found).T.to_string(float_format='{:.4g}'.format)}", flush=True)
        by_pair = pairs.pivot_table(index="pair", columns="version", values="ssim")
        print(f"\nseed {seed}\n{means.round(4).to_string()}\n\n{by_pair.round(4).to_string()}\n")


if __name__ == "__main__":
    main()
