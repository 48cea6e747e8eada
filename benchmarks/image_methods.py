"""Every image method and control on a consortium with known truth, in one table.

    python benchmarks/image_methods.py OUT [--people 8] [--resolution 3] [--methods nyul,mica]
    python benchmarks/image_methods.py OUT --anatomy SLABS.npz --resolution 2 --people 12
        --travelers 12 --effects tissue --seeds 1,2,3 [--methods calamiti,murd-local]
        [--train '{"steps": 20}'] [--params '{"embedding_epochs": 2}']

``motet phantom``: four sites, some of each site's people held out, and with many travelers some of
these. With ``--anatomy`` (labelled slabs) the trained methods run, too. Who is held out is the same
for every method and every seed, which is the phantom's: other scanners and people. Each method is
run as a user runs it (``motet simulate``), and the figures are those of ``metrics.json``, of
people whom the fit did not see:

* ``ssim`` (3-D; of slabs in plane), ``ms-ssim``, ``psnr``, ``mae``, ``dice``, ``wasserstein``
  (means over CSF, GM and WM): to the truth of the same person under the first site's scanner,
  after ONE line for all people that brings a method's units to the truth's.
* ``travelers``: SSIM between the scans of one person at two sites, of travelers whom no fit saw
  where there are two or more, else of all.
* ``slices``, ``distributions``, ``measures``: balanced accuracy of telling the site, by probes
  retrained on the harmonized images (chance 0.25).
* ``MB``, ``MB a site``: arrays that the coordinator received in the fit, from all sites and from
  the one that sent most; what sites get back is not counted, nor are scans that travelers'
  hospitals hand to a hub beforehand. ``seconds``: the processor's, of the fit, from the
  plan to the finished model, all sites one after another.
* ``a second scan``: people whom the first site scanned, held out, beside their truth: no method can
  be expected to come nearer.

What is finished in OUT is not run again and stands in the tables, asked for or not; what was
interrupted goes on. OUT has the tables (``.csv``) and each run's study, model, images and
``metrics.json``. For trials, in an OUT of their own: ``--train`` replaces what a row of
``TRAINED`` names itself, and ``--params`` sets options of the trained methods that have them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from calamiti_slabs import volume

from motet.cohort import in_fit
from motet.errors import MotetError
from motet.evaluation.images.compared import compare, data_range
from motet.registry import methods
from motet.server.events import Event, Kind
from motet.simulation import simulate

FITTED = "travelers of the fit"
"""Stands for their names: those who are not held out."""

METHODS: dict[str, dict[str, Any]] = {
    "n4 alone": {"method": "z_score", "n4": True},
    "white_stripe": {},
    "z_score": {},
    "nyul": {},
    "mica": {},
    "mica, travelers": {"to": "ash", "travelers": FITTED},
    "global_scaling": {"registered": True},
    "functional_normalization": {"registered": True, "coverage": 0.9, "control_share": 0.7},
    "ravel": {"registered": True, "coverage": 0.9, "control_share": 0.7},
    "voxelwise_combat": {"registered": True, "coverage": 0.9, "covariates": ["age", "sex"]},
    "histogram_matching": {},
    "blur": {},
}
CALAMITI = {"to": "ash", "second": "T2w", "planes": ["axial"], "pixels": 112}
MURD = {"to": "ash", "planes": ["axial"], "pixels": 112}
MISPEL = {"registered": True}
LOCAL = {"preset": "small", "mode": "local", "steps": 800, "local_steps": 20}
TRAINED: dict[str, dict[str, Any]] = {
    "calamiti, exact": {
        **CALAMITI,
        "train": {"preset": "small", "mode": "exact", "steps": 800},
    },
    "calamiti, local": {
        **CALAMITI,
        "train": {**LOCAL, "server": "fedavg"},
    },
    "murd, exact": {
        **MURD,
        "train": {"preset": "small", "mode": "exact", "steps": 800},
    },
    "murd, local": {
        **MURD,
        "train": LOCAL,
    },
    "mispel, hub": {**MISPEL, "mode": "hub", "hub": "hub", "train": {"preset": "small"}},
    "mispel, sites": {
        **MISPEL,
        "mode": "sites",
        "travelers": FITTED,
        "train": {"preset": "small"},
    },
}
SEED = 55
"""Of the studies: who is held out, and the networks' first weights."""

HELD_OUT, HELD_OUT_OF_SLABS = 0.35, 0.4
"""With eight people a site three of each are held out, and neither of two travelers; with twelve
five, four, four and five, and four of twelve travelers."""

TISSUES = ("csf", "gm", "wm")
TO_TRUTH = {
    "ms-ssim": ("ms_ssim",),
    "psnr": ("psnr",),
    "mae": ("mae",),
    "dice": tuple(f"dice_{t}" for t in TISSUES),
    "wasserstein": tuple(f"wasserstein_{t}" for t in TISSUES),
}
SITE = {
    "slices": "site_accuracy_slices",
    "distributions": "site_accuracy_distributions",
    "measures": "site_accuracy_random_forest",
}
Row = dict[str, float]


class Clock:
    """Processor seconds of a fit, those of runs that were interrupted included.

    Parameters
    ----------
    file : Path
        Where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._before = json.loads(file.read_text()) if file.exists() else 0.0
        self._began, self._over = -1.0, False

    def __call__(self, event: Event) -> None:
        now = time.process_time()
        if self._began < 0:
            self._began = now
        if not self._over:
            self._file.write_text(json.dumps(self._before + now - self._began))
        self._over |= event.kind is Kind.HARMONIZING


def slug(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


def make_phantom(folder: Path, effect: str, seed: int, asked: argparse.Namespace) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    words = ["phantom", "--out", part, "--effect", effect, "--sites", 4, "--seed", seed]
    words += ["--people", asked.people, "--travelers", asked.travelers]
    words += ["--resolution", asked.resolution, "--bend", asked.bend]
    if asked.anatomy:
        words += ["--anatomy", asked.anatomy, "--contrasts", "T1w,T2w"]
    command = [sys.executable, "-m", "motet", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    part.rename(folder)


def travelers_of_fit(phantom: Path, held_out: float) -> list[str]:
    rows = pd.read_csv(phantom / "travelers.tsv", sep="\t")["traveler_id"].astype(str)
    names = np.array(sorted(set(rows)))
    return [str(name) for name in names[in_fit(names, held_out=held_out, seed=SEED)]]


def hub_of(phantom: Path, people: Sequence[str], sites: Sequence[str], truth: Path) -> Path:
    """A site that holds travelers' scans of all others: links, a session a scanner."""
    home = phantom / "hub"
    if (home / "travelers.tsv").exists():
        return home
    for person in people:
        for site in sites:
            for kind in ("T1w", "desc-brain_mask"):
                source = phantom / site / person / "anat" / f"{person}_{kind}.nii.gz"
                link(home, source, person, site, kind)
            true = truth / person / "anat" / f"{person}_T1w.nii.gz"
            link(truth, true, person, site, "T1w")
        rows = "".join(f"ses-{site}\t{site}\n" for site in sites)
        (home / person / f"{person}_sessions.tsv").write_text(f"session_id\tscanner\n{rows}")
    for table, column in (("participants.tsv", "participant_id"), ("travelers.tsv", "traveler_id")):
        known = pd.read_csv(phantom / sites[0] / table, sep="\t", dtype=str)
        known = known[known[column].isin(people)]
        if table == "participants.tsv":
            known = known.assign(scanner="n/a")
        known.to_csv(home / table, sep="\t", index=False)
    return home


def link(root: Path, source: Path, person: str, session: str, kind: str) -> None:
    anat = root / person / f"ses-{session}" / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    made = anat / f"{person}_ses-{session}_{kind}.nii.gz"
    if not made.is_symlink():
        made.symlink_to(source.resolve())


def options_of(name: str) -> set[str]:
    """Options of a row's method."""
    return set(methods().get(name.split(",")[0]).params_type.model_fields)


def refuse_unused(asked: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse what would change no row."""
    rows = TRAINED if asked.anatomy else {}
    every = {**METHODS, **rows}
    names = {word for name in every for word in (slug(name), name.split(",")[0])}
    if unknown := sorted(set(filter(None, asked.methods.split(","))) - names):
        parser.error(f"--methods: no row is called {unknown[0]}")
    known = {
        "params": set[str]().union(*map(options_of, rows)),
        "train": set[str]().union(*(options["train"] for options in rows.values())),
    }
    for word, names in known.items():
        if unused := sorted(set(getattr(asked, word)) - names):
            parser.error(f"--{word}: no method that is trained here takes {unused[0]}")


def study_of(
    phantom: Path, name: str, options: Mapping[str, Any], asked: argparse.Namespace
) -> Any:
    """The study of a row, as a user writes it."""
    study = yaml.safe_load((phantom / "study.yaml").read_text())
    held_out = HELD_OUT_OF_SLABS if asked.anatomy else HELD_OUT
    params = {"contrast": "T1w", **options}
    # Slabs without a head do not look like a head's T1w.
    params |= {"unusual_contrast": True} if asked.anatomy else {}
    sites = {site: str(phantom / folder) for site, folder in study["sites"].items()}
    truth = phantom / study["evaluation"]["truth"]
    people = travelers_of_fit(phantom, held_out)
    if params.get("travelers") == FITTED:
        params["travelers"] = people
    if params.get("hub"):
        sites[params["hub"]] = str(hub_of(phantom, people, sorted(sites), truth))
    if name in TRAINED:
        params |= {key: value for key, value in asked.params.items() if key in options_of(name)}
        train = params["train"]
        study["train"] = {**train, **{k: v for k, v in asked.train.items() if k in train}}
    study["study"] = slug(name)
    study["method"] = params.pop("method", name.split(",")[0])
    params.pop("train", None)
    study |= {"params": params, "sites": sites, "seed": SEED}
    # Controls fit a method again, five times over with four sites.
    study["evaluation"] |= {"held_out": held_out, "truth": str(truth), "metrics": "uncontrolled"}
    study["evaluation"]["biology"] = [] if "covariates" in params else ["age", "sex"]
    return study


def run(study: Mapping[str, Any], out: Path) -> None:
    """Run a study once, where it is not finished."""
    file, text = out.with_suffix(".yaml"), yaml.safe_dump(dict(study))
    if file.exists() and file.read_text() != text:
        raise SystemExit(f"{out} has another study than is asked for: name another OUT.")
    file.write_text(text)
    if not (out / "metrics.json").exists():
        found = simulate(study, out=out, observe=Clock(seconds_of(out)), reports="later")
        for site, said in found.warnings:
            print(f"  {site}: {said}" if site else f"  {said}", flush=True)


def seconds_of(out: Path) -> Path:
    return out.with_suffix(".seconds.json")


def row(out: Path, version: str) -> Row:
    """What the table says of one version of a finished run."""
    judged = json.loads((out / "metrics.json").read_text())["judgements"].get("simulation")
    if judged is None:
        raise MotetError(f"{out} was not judged; its metrics.json has warnings that say why.")
    metrics = {metric["name"]: metric["readings"] for metric in judged["metrics"]}

    def value(name: str) -> float:
        found = metrics.get(name, {}).get(version, {}).get("value")
        return np.nan if found is None else float(found)

    kind = "ssim" if "image_ssim_to_truth" in metrics else "ssim_in_plane"
    found = {"ssim": value(f"image_{kind}_to_truth")}
    for column, names in TO_TRUTH.items():
        found[column] = float(np.mean([value(f"image_{name}_to_truth") for name in names]))
    found["travelers"] = value(f"image_{kind}_travelers")
    found |= {column: value(name) for column, name in SITE.items()}
    return found | (moved(out) if version == "harmonized" else {})


def moved(out: Path) -> Row:
    sent: dict[str, int] = {}
    for entry in json.loads((out / "run.json").read_text())["received"]:
        if entry["class"] != "schema":
            site = entry["site"]
            sent[site] = sent.get(site, 0) + entry["bytes"] * entry["times"]
    return {
        "MB": sum(sent.values()) / 1e6,
        "MB a site": max(sent.values(), default=0) / 1e6,
        "seconds": json.loads(seconds_of(out).read_text()),
    }


def second_scan(phantom: Path, held_out: float) -> Row:
    """Scans of the first site beside their truth."""
    site = phantom / yaml.safe_load((phantom / "study.yaml").read_text())["sites"]["ash"]
    names = pd.read_csv(site / "participants.tsv", sep="\t")["participant_id"].to_numpy(str)
    scans = []
    for name in names[~in_fit(names, held_out=held_out, seed=SEED)]:
        anat = Path(str(name), "anat")
        files = (site / anat / f"{name}_desc-brain_mask.nii.gz",)
        files += tuple(f / anat / f"{name}_T1w.nii.gz" for f in (site, phantom / "truth" / "ash"))
        mask, scan, truth = (volume(file) for file in files)
        scans.append((scan, truth, mask > 0))
    span = data_range(np.concatenate([truth[mask] for _, truth, mask in scans]))[1]
    figures = pd.DataFrame([compare(*scan, span=span, contrast="T1w") for scan in scans]).mean()
    found = {"ssim": figures.get("ssim", figures["ssim_in_plane"])}
    return found | {c: float(np.mean([figures[n] for n in names])) for c, names in TO_TRUTH.items()}


def table_of(effect: str, seed: int, asked: argparse.Namespace) -> pd.DataFrame:
    """All rows of one phantom."""
    phantom, home = asked.out / f"phantom-{effect}-{seed}", asked.out / f"{effect}-{seed}"
    if not phantom.exists():
        make_phantom(phantom, effect, seed, asked)
    home.mkdir(exist_ok=True)
    rows: dict[str, Row] = {}
    chosen = set(asked.methods.split(","))
    for name, options in ({**METHODS, **TRAINED} if asked.anatomy else METHODS).items():
        out = home / slug(name)
        wanted = not asked.methods or {slug(name), name.split(",")[0]} & chosen
        if not wanted and not (out / "metrics.json").exists():
            continue
        try:
            if wanted:
                run(study_of(phantom, name, options, asked), out)
            rows[name] = row(out, "raw" if name == "n4 alone" else "harmonized")
            # N4 changes what is raw, and a hub is one more site.
            if "raw" not in rows and name != "n4 alone" and not options.get("hub"):
                rows["raw"] = row(out, "raw")
        except MotetError as error:
            print(f"{effect} {seed} {name}: failed. {error}", flush=True)
            rows[name] = {}  # it was tried, and stands empty
            continue
        print(effect, seed, name, {k: round(v, 3) for k, v in rows[name].items()}, flush=True)
    rows["a second scan"] = second_scan(phantom, HELD_OUT_OF_SLABS if asked.anatomy else HELD_OUT)
    found = pd.DataFrame(rows).T.rename_axis("method")
    found = found.loc[sorted(found.index, key=lambda name: name != "raw")]
    found.to_csv(asked.out / f"{effect}-{seed}.csv")
    print(f"\n{effect}, phantom {seed}\n{found.round(3).to_string()}\n", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--anatomy", type=Path, help="labelled slabs; default: the template")
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--travelers", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=3)
    parser.add_argument("--bend", type=float, default=4.0, help="mm; 0.5: as registered")
    parser.add_argument("--effects", default="monotone,tissue")
    parser.add_argument("--seeds", default="1", help="of phantoms, with commas")
    parser.add_argument("--methods", default="", help="nyul,calamiti,murd-local; default: all")
    parser.add_argument("--train", type=json.loads, default={})
    parser.add_argument("--params", type=json.loads, default={})
    asked = parser.parse_args()
    refuse_unused(asked, parser)
    asked.out = asked.out.resolve()
    asked.out.mkdir(parents=True, exist_ok=True)
    seeds = [int(word) for word in asked.seeds.split(",")]
    for effect in asked.effects.split(","):
        tables = {seed: table_of(effect, seed, asked) for seed in seeds}
        whole = pd.concat(tables, names=["seed"])
        whole.to_csv(asked.out / f"{effect}.csv")
        if len(seeds) > 1:
            mean = whole.groupby(level="method", sort=False).mean()
            each = (
                whole.round(3)
                .groupby(level="method", sort=False)
                .agg(lambda values: " ".join(f"{value:g}" for value in values))
            )
            print(f"{effect}, mean of {len(seeds)}\n{mean.round(3).to_string()}\n")
            print(f"{effect}, seeds {asked.seeds}\n{each.to_string()}\n", flush=True)


if __name__ == "__main__":
    main()
