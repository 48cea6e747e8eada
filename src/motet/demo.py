"""A built-in study: hospitals that scan people of known anatomy on scanners with known effects.

Cortical thickness of the 68 Desikan-Killiany regions depends on age and sex; every scanner shifts
and scales it, differently by region. Since the values before the scanner are known, so is the
error of a harmonization. Hospitals differ in the ages they see, as real ones do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.bids.tsv import exact, write_text
from motet.errors import OutputFolderError
from motet.site import draw
from motet.store import atomic, write_json
from motet.version import __version__

REGIONS = (
    "bankssts caudalanteriorcingulate caudalmiddlefrontal cuneus entorhinal frontalpole fusiform "
    "inferiorparietal inferiortemporal insula isthmuscingulate lateraloccipital "
    "lateralorbitofrontal lingual medialorbitofrontal middletemporal paracentral parahippocampal "
    "parsopercularis parsorbitalis parstriangularis pericalcarine postcentral posteriorcingulate "
    "precentral precuneus rostralanteriorcingulate rostralmiddlefrontal superiorfrontal "
    "superiorparietal superiortemporal supramarginal temporalpole transversetemporal"
).split()
FEATURES = tuple(f"{side}_{region}_thickness" for side in ("lh", "rh") for region in REGIONS)


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """A hospital: its scanners (name -> people), and the ages it sees, years."""

    scanners: Mapping[str, int]
    age: tuple[float, float]


HOSPITALS = {
    "aalto": Hospital(scanners={"prisma": 60}, age=(20, 50)),
    "borel": Hospital(scanners={"ingenia": 45, "signa": 35}, age=(30, 70)),
    "curie": Hospital(scanners={"skyra": 80}, age=(45, 85)),
    "darwin": Hospital(scanners={"achieva": 50}, age=(20, 85)),
}
UNSEEN = {"erasmus": Hospital(scanners={"vida": 40}, age=(35, 75))}

STUDY = """\
study: motet-demo
method: combat
params: {covariates: [age, sex], batch: scanner}
sites: {aalto: sites/aalto, borel: sites/borel, curie: sites/curie, darwin: sites/darwin}
evaluation: {held_out: 0.2}
seed: 1
"""


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """The people of one hospital: participants, values as scanned, and values in truth (mm)."""

    participants: pd.DataFrame
    values: NDArray[np.float64]
    truth: NDArray[np.float64]


def scan(hospitals: Mapping[str, Hospital], *, seed: int) -> dict[str, Scanned]:
    """Scan the people of every hospital.

    Every draw depends on (seed, purpose, person or scanner) alone.

    Returns
    -------
    dict of str to Scanned
        Values are (n, 68) mm.
    """
    p = len(FEATURES)
    anatomy = draw(seed, "anatomy", "")
    mean = anatomy.uniform(1.9, 3.4, p)
    per_year = anatomy.uniform(-0.007, -0.001, p)
    of_sex = anatomy.normal(0.0, 0.03, p)
    found = {}
    for name, hospital in hospitals.items():
        people, values, truths = [], [], []
        number = 0
        for scanner, count in hospital.scanners.items():
            effect = draw(seed, "scanner", f"{name}/{scanner}")
            shift = effect.normal(effect.normal(0.0, 0.08), 0.08, p)
            scale = np.sqrt(effect.gamma(12.0, 1.0 / 12.0, p))
            for _ in range(count):
                number += 1
                person = f"sub-{name}{number:03d}"
                rng = draw(seed, "person", person)
                age = round(float(rng.uniform(*hospital.age)), 1)
                sex = str(rng.choice(["F", "M"]))
                noise = 0.12 * (0.5 * rng.standard_normal() + rng.standard_normal(p))
                expected = mean + per_year * (age - 50.0) + of_sex * (sex == "M")
                people.append((person, age, sex, scanner))
                truths.append(expected + noise)
                values.append(expected + shift + scale * noise)
        found[name] = Scanned(
            participants=pd.DataFrame(people, columns=["participant_id", "age", "sex", "scanner"]),
            values=np.array(values),
            truth=np.array(truths),
        )
    return found


def error_to_truth(
    scanned: Mapping[str, Scanned], values: Mapping[str, NDArray[np.float64]]
) -> dict[str, float]:
    """Mean absolute error of each hospital's values, mm, up to one shift a region.

    The shift is that of the hospitals of the study: harmonization brings them to their average,
    not to the truth of any of them.
    """
    errors = {site: values[site] - scanned[site].truth for site in values}
    shift = np.vstack([errors[site] for site in values if site in HOSPITALS]).mean(axis=0)
    return {site: float(np.abs(error - shift).mean()) for site, error in errors.items()}


def write_consortium(folder: Path, *, seed: int = 1) -> dict[str, Scanned]:
    """Write the hospitals' folders, the unseen one's, and the study file.

    Raises
    ------
    OutputFolderError
        When the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "study.yaml").is_file():
        raise OutputFolderError(
            "The folder is not empty and holds no demo.", do="Name a new one.", file=folder
        )
    scanned = scan({**HOSPITALS, **UNSEEN}, seed=seed)
    for name, site in scanned.items():
        home = folder / ("sites" if name in HOSPITALS else "unseen") / name
        _write_site(home, name, site)
    with atomic(folder / "study.yaml") as stream:
        stream.write(STUDY)
    return scanned


def _write_site(home: Path, name: str, site: Scanned) -> None:
    people = site.participants
    home.mkdir(parents=True, exist_ok=True)
    write_text(
        home / "participants.tsv",
        list(people.columns),
        [[exact(v) if isinstance(v, float) else str(v) for v in row] for row in people.to_numpy()],
    )
    write_text(
        home / "features.tsv",
        ["participant_id", *FEATURES],
        [
            [person, *(exact(value) for value in row)]
            for person, row in zip(people["participant_id"], site.values.tolist(), strict=True)
        ],
    )
    write_json(home / "features.json", {feature: {"Units": "mm"} for feature in FEATURES})
    write_json(
        home / "dataset_description.json",
        {
            "Name": f"{name} (made by motet demo)",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "motet demo", "Version": __version__}],
        },
    )
