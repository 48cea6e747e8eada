"""CALAMITI on labelled T1 slabs with known truth: every site to every other, beside histograms.

    python benchmarks/calamiti_slabs.py SLABS.npz OUT [--seeds 1,2,3] [--effect tissue]
                                        [--train '{"batch": 4}'] [--params '{"augment": 0.1}']
                                        [--controls]

Four sites of 13 people and 8 travelers at 2 mm (``motet phantom``), T1w and T2w. Everything is
fitted to the people of the sites; figures are of travelers, whom no fit saw, each brought from
every site to every other. Networks are trained with ``motet simulate`` and used with ``motet apply
--to``, as a user does.

* ``raw``; ``preparation``: times the ratio of white matter at both sites, and nothing else;
  ``blur``: the same, destroyed.
* ``histogram matching``: 1,001 quantiles to the mean of the target's people.
* ``nyul``: the same with 11 landmarks.
* ``by place``: a curve for each of 10 x 10 places, from the site's people to the target's
  (``by_place.py``).
* ``rescan``: the traveler's own scan at the target: no method is nearer to the truth than noise.

PSNR and SSIM (in plane) within the brain, of the range of the target's truth. By tissue: ``bias``,
root mean square over pairs of sites of the relative error of a tissue's mean; ``within``, mean
correlation with the truth within the tissue. ``dice``: of CSF, GM and WM by the one segmenter, with
the truth's. ``site``: how often probes that are trained anew on six of the travelers, all brought
to one target, tell where scans of the other two came from (balanced accuracy, chance 0.25): a
linear SVM on slices, a random forest on distributions. ``--controls`` trains nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import by_place
import nibabel as nib
import numpy as np
import pandas as pd
import yaml

from motet.evaluation.battery.probes import prepare, site_probes
from motet.evaluation.battery.splits import Split
from motet.evaluation.images.look import Look, look
from motet.harmonizers._images.white_stripe import white_matter_mode
from motet.harmonizers.blur.method import BlurParams, blurred
from motet.images.fidelity import fidelity
from motet.images.find import Found, Name
from motet.images.images import Image, Scan, read_image

SITES = ("ash", "birch", "cedar", "dogwood")
CONTRASTS = ("T1w", "T2w")
TISSUES = {"CSF": 1, "GM": 2, "WM": 3, "deep GM": 4}
CONTROLS = ("raw", "preparation", "blur", "histogram matching", "nyul", "by place")
ORDER = (*CONTROLS, "calamiti", "rescan")
GRIDS = {
    "histogram matching": np.linspace(0, 1, 1001),
    "nyul": np.array([0.01, *np.arange(0.1, 0.95, 0.1), 0.99]),
}


def motet(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "motet", *map(str, words)], check=True)


def file_of(root: Path, person: str, contrast: str) -> Path:
    return root / person / "anat" / f"{person}_{contrast}.nii.gz"


def scan(phantom: Path, site: str, person: str, contrast: str) -> Image:
    file = file_of(phantom / site, person, contrast)
    mask = file.with_name(f"{person}_desc-brain_mask.nii.gz")
    found = Found(person=person, session="", file=file, name=Name.of(file))
    return read_image(Scan(found=found, mask=mask), site=site, person=person)


def volume(file: Path) -> np.ndarray:
    return np.asarray(nib.as_closest_canonical(nib.load(file)).dataobj, dtype=np.float64)


def people(phantom: Path, site: str, *, travelers: bool) -> list[str]:
    rows = pd.read_csv(phantom / site / "participants.tsv", sep="\t").participant_id
    return [person for person in rows if ("traveler" in person) == travelers]


def linked(phantom: Path, site: str, some: Sequence[str], home: Path) -> str:
    """A folder of some of a site's people: links."""
    home.mkdir(parents=True)
    rows = pd.read_csv(phantom / site / "participants.tsv", sep="\t")
    rows[rows.participant_id.isin(some)].to_csv(home / "participants.tsv", sep="\t", index=False)
    for name in [*some, "dataset_description.json"]:
        (home / name).symlink_to((phantom / site / name).resolve())
    return str(home)


def without_travelers(phantom: Path, out: Path) -> dict[str, str]:
    """Folders of the sites' own people."""
    return {
        site: linked(phantom, site, people(phantom, site, travelers=False), out / site)
        for site in SITES
    }


def made_phantom(slabs: Path, phantom: Path, *, seed: int, effect: str = "tissue") -> None:
    """Four sites of 13 people and 8 travelers, once."""
    if phantom.exists():
        return
    words = ("--anatomy", slabs, "--resolution", 2, "--people", 13, "--travelers", 8)
    words += ("--contrasts", ",".join(CONTRASTS), "--effect", effect)
    motet("phantom", *words, "--sites", 4, "--seed", seed, "--out", phantom)


def trained(
    phantom: Path,
    out: Path,
    *,
    sites: Sequence[str] = SITES,
    params: Mapping[str, Any],
    train: Mapping[str, Any],
    seed: int,
) -> Path:
    """A finished study of some sites, every one of them a target; of one site: of its halves."""
    model = out / "model"
    if model.exists():
        return model
    out.mkdir(parents=True, exist_ok=True)
    if len(sites) > 1:
        own = without_travelers(phantom, out / "fit")
    else:
        # A study has two sites or more; in exact mode it does not matter who is at which.
        (site,), whose = sites, people(phantom, sites[0], travelers=False)
        halves = {site: whose[::2], f"{site}2": whose[1::2]}
        own = {
            name: linked(phantom, site, some, out / "fit" / name) for name, some in halves.items()
        }
        sites = tuple(halves)
    study = {
        "study": f"slabs-{seed}",
        "method": "calamiti",
        "params": {
            "second": "T2w",
            "targets": list(sites),
            "planes": ["axial"],
            # Slabs without a head do not look like a head's T1w.
            "unusual_contrast": True,
            **params,
        },
        "train": {"preset": "small", **train},
        "sites": {site: own[site] for site in sites},
        "evaluation": {"metrics": "none"},
        # Masked sums are these (tests/conformance/test_secure_sums.py), and take longer.
        "privacy": {"secure_sum": False},
        "seed": seed,
    }
    file = out / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    motet("simulate", file, "--out", model, "--reports", "later")
    return model


def restyled(phantom: Path, model: Path, site: str, target: str, *, to: str = "") -> Path:
    """Travelers of a site, brought to a target: what is named in `to`, or its published style."""
    made = model.parent / f"{site}-to-{target}"
    if not made.exists():
        who = people(phantom, site, travelers=True)
        labels = [word for person in who for word in ("--participant-label", person)]
        words = ("--model", model, "--site", site, "--to", to or target, *labels)
        motet("apply", phantom / site, made, "participant", *words)
    return made


def by_histogram(phantom: Path) -> dict[tuple[str, str, str], np.ndarray]:
    """Mean quantiles of every site's own people."""
    found = {}
    for site in SITES:
        for contrast in CONTRASTS:
            own = people(phantom, site, travelers=False)
            images = [scan(phantom, site, p, contrast) for p in own]
            for name, grid in GRIDS.items():
                each = [np.quantile(i.data[i.mask], grid) for i in images]
                found[name, site, contrast] = np.mean(each, axis=0)
            found["by place", site, contrast] = by_place.quantiles(images)
            levels = [white_matter_mode(i, contrast) for i in images]
            found["preparation", site, contrast] = np.asarray(np.mean(levels))
    return found


def versions(
    out: Path,
    phantom: Path,
    known: dict,
    image: Image,
    site: str,
    target: str,
    person: str,
    contrast: str,
) -> Iterator[tuple[str, np.ndarray]]:
    """A traveler's image at a site as every way brings it to the target."""
    yield "raw", image.data
    ratio = float(known["preparation", target, contrast] / white_matter_mode(image, contrast))
    yield "preparation", image.data * ratio
    yield "blur", blurred(image, BlurParams().fwhm) * ratio
    for name, grid in GRIDS.items():
        own = np.quantile(image.data[image.mask], grid)
        made = np.zeros_like(image.data)
        values, to = image.data[image.mask], known[name, target, contrast]
        # Beyond the first and the last landmark: their line goes on.
        ends = np.polynomial.polynomial.polyfit
        low, high = (ends(own[k], to[k], 1) for k in (slice(0, 2), slice(-2, None)))
        mapped = np.interp(values, own, to)
        if name == "nyul":
            mapped = np.where(values < own[0], low[0] + low[1] * values, mapped)
            mapped = np.where(values > own[-1], high[0] + high[1] * values, mapped)
        made[image.mask] = mapped
        yield name, made
    own, to = (known["by place", one, contrast] for one in (site, target))
    yield "by place", by_place.matched(image, own, to)
    if (out / "model").exists():
        folder = restyled(phantom, out / "model", site, target)
        (file,) = folder.rglob(f"{person}_*{contrast}.nii.gz")
        yield "calamiti", volume(file)


def site_told(seen: Sequence[tuple[str, str, Look]], seed: int) -> dict[str, float]:
    """How often probes tell where scans came from that were all brought to one target.

    Parameters
    ----------
    seen : sequence of (person, site, Look)
        Two travelers at a time are read, and nobody of them is trained on.
    """
    who, where = np.array([p for p, _, _ in seen]), np.array([s for _, s, _ in seen])
    people, classes = np.unique(who), np.unique(where, return_inverse=True)[1]
    probes, found = site_probes(seed), {}
    for name, probe, features in (
        ("site slices", "linear_svm", [one.slices for *_, one in seen]),
        ("site distributions", "random_forest", [one.distribution for *_, one in seen]),
    ):
        predicted = np.zeros(len(seen), dtype=np.intp)
        for first in range(0, len(people), 2):
            test = np.isin(who, people[first : first + 2])
            split = Split(train=np.flatnonzero(~test), test=np.flatnonzero(test))
            own = classes[split.train]
            ready = prepare(np.stack(features), split)
            predicted[split.test] = probes[probe][1](ready, np.arange(len(own)), own)
        found[name] = float(np.mean([(predicted == k)[classes == k].mean() for k in range(4)]))
    return found


def judged(phantom: Path, out: Path, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a version, contrast, pair of sites and traveler; and of probes one a target."""
    known, rows, told = by_histogram(phantom), [], []
    for target in SITES:
        for contrast in CONTRASTS:
            who = people(phantom, target, travelers=True)
            masks = {p: scan(phantom, target, p, contrast).mask for p in who}
            truths = {p: volume(file_of(phantom / "truth" / target, p, contrast)) for p in who}
            wide = float(np.mean([np.ptp(truths[p][masks[p]]) for p in who]))
            looks: dict[str, list[tuple[str, str, Look]]] = defaultdict(list)
            for site in SITES:
                for p in who:
                    image = scan(phantom, site, p, contrast)
                    labels = volume(phantom / "labels" / f"{p}_dseg.nii.gz")
                    ways = versions(out, phantom, known, image, site, target, p, contrast)
                    for way, made in ways:
                        looks[way].append((p, site, look(image, made, contrast=contrast)))
                        if site == target and way != "raw":
                            continue
                        name = "rescan" if site == target else way
                        f = fidelity(made, truths[p], masks[p], data_range=wide, contrast=contrast)
                        row = {"version": name, "contrast": contrast, "from": site, "to": target}
                        row |= {"psnr": f.psnr, "ssim": f.ssim_in_plane, "mae": f.mae}
                        row["dice"] = float(np.mean(list(f.dice.values())))
                        for tissue, number in TISSUES.items():
                            at = (labels == number) & masks[p]
                            one, other = made[at], truths[p][at]
                            row[f"bias {tissue}"] = one.mean() / other.mean() - 1.0
                            row[f"within {tissue}"] = np.corrcoef(one, other)[0, 1]
                        rows.append(row)
            for name, seen in looks.items():
                told.append({"version": name, "contrast": contrast, **site_told(seen, seed)})
    return pd.DataFrame(rows), pd.DataFrame(told)


def summary(rows: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """Means over travelers, then over pairs of sites; of probes over targets."""
    pairs = rows.groupby(["contrast", "version", "from", "to"]).mean(numeric_only=True)
    found = defaultdict(dict)
    for key, group in pairs.groupby(level=["contrast", "version"]):
        for column in group:
            values = group[column].to_numpy()
            squared = column.startswith("bias")
            found[key][column] = np.sqrt(np.mean(values**2)) if squared else values.mean()
    probed = told.groupby(["contrast", "version"]).mean()
    table = pd.DataFrame(found).T.rename_axis(["contrast", "version"])
    there = [(c, v) for c in CONTRASTS for v in ORDER if (c, v) in table.index]
    # A rescan came from nowhere else: there is nothing to tell.
    return table.join(probed).loc[there]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slabs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--effect", default="tissue")
    parser.add_argument("--train", default="{}")
    parser.add_argument("--params", default="{}")
    parser.add_argument("--controls", action="store_true")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    tables = []
    for seed in map(int, asked.seeds.split(",")):
        phantom = asked.out / f"phantom-{asked.effect}-{seed}"
        made_phantom(asked.slabs, phantom, seed=seed, effect=asked.effect)
        out = asked.out / f"{asked.effect}-{seed}"
        out.mkdir(exist_ok=True)
        if not asked.controls:
            params, train = json.loads(asked.params), json.loads(asked.train)
            trained(phantom, out, params=params, train=train, seed=seed)
        rows, told = judged(phantom, out, seed)
        rows.to_csv(out / "rows.csv", index=False)
        told.to_csv(out / "probes.csv", index=False)
        tables.append(summary(rows, told))
        print(f"\nseed {seed}\n{tables[-1].round(3).to_string()}\n", flush=True)
    every = np.stack([table.to_numpy() for table in tables])
    index, columns = tables[0].index, tables[0].columns
    for name, values in (("mean", every.mean(axis=0)), ("sd of seeds", every.std(axis=0))):
        print(f"\n{name}\n{pd.DataFrame(values, index, columns).round(3).to_string()}")


if __name__ == "__main__":
    main()
