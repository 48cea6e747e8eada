"""A consortium of images with known truth, written as the BIDS folders of its sites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.tsv import exact, write_text
from motet.errors import MotetError, OutputFolderError, listed, nearest
from motet.images.volume import write_new
from motet.phantom.anatomy import Anatomy, person
from motet.phantom.scanner import MEANS, Effect, Scanner, scan, scanner, texture, truth
from motet.site import draw
from motet.store import atomic, write_json
from motet.version import __version__

NAMES = "ash birch cedar dogwood elm fir ginkgo hazel ivy juniper kauri larch".split()
UNITS = 5.0
"""Scanners store whole numbers: this many a unit of intensity."""

README = """\
A consortium with known truth, made by 'motet phantom' (Motet {version}).

<site>/                 what the hospital has: scans (int16), brain masks, participants.tsv
study.yaml              a study of these hospitals: motet simulate study.yaml --out DIR
truth/<site>/           every person under this site's scanner, without noise (float32, the units
                        of that site's scans): what harmonizing to this site should give
labels/                 tissues of every person: 0 outside, 1 CSF, 2 GM, 3 WM, 4 deep GM
travelers.tsv           who was scanned at every site
scanners.json           what each scanner does to each contrast

Effect: {effect}. Demographics: {demographics}. Seed: {seed}.
No person is real. The anatomy is that of {anatomy}, bent smoothly for each person.
"""

STUDY = """\
study: phantom
method: nyul                      # motet methods lists them
params: {{contrast: {contrast}}}
sites:
{sites}evaluation:
  held_out: 0.25
  biology: [age, sex]
  permutations: 20
  truth: truth/{target}          # how near images came to those of this site's scanner
seed: 1
"""


def contrasts_of(text: str) -> tuple[str, ...]:
    """Contrasts as a user types them: ``"T1w,T2w"``.

    Raises
    ------
    MotetError
        Names one that is not known, or is given twice.
    """
    found = tuple(word.strip() for word in text.split(","))
    for contrast in found:
        if contrast not in MEANS:
            raise MotetError(
                f"'{contrast}' is no contrast of the phantom.",
                do=nearest(contrast, MEANS) or f"There are {listed(list(MEANS))}.",
            )
    if len(set(found)) < len(found):
        raise MotetError(f"A contrast is named twice in '{text}'.")
    return found


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who is scanned."""

    name: str
    age: float
    sex: str
    sites: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Consortium:
    """What to make.

    Parameters
    ----------
    anatomies : sequence of Anatomy
        Dealt out to the people in turn, each bent anew.
    source : str
        Where they are from, for the README.
    sites, people, travelers : int
        Hospitals, people of each, and people who are scanned at all of them besides.
    contrasts : sequence of str
        Of ``T1w``, ``T2w``, ``PDw``, ``FLAIR``.
    effect : {"monotone", "tissue"}
        See :func:`motet.phantom.scanner.scanner`.
    confounded : bool
        Whether hospitals see people of different age and sex.
    bend : float
        How far anatomies differ between people: standard deviation of the displacement, mm.
        Below a voxel, images are as after registration to a template.
    seed : int
    """

    anatomies: Sequence[Anatomy] = field(repr=False)
    source: str
    sites: int = 4
    people: int = 12
    travelers: int = 3
    contrasts: Sequence[str] = ("T1w",)
    effect: Effect = "tissue"
    confounded: bool = False
    bend: float = 4.0
    seed: int = 1
    _scanners: dict[Any, Scanner] = field(default_factory=dict, repr=False, init=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sites."""
        return tuple(NAMES[: self.sites])

    def everybody(self) -> Iterator[Person]:
        """The people of every site, then the travelers."""
        for k, site in enumerate(self.names):
            for i in range(self.people):
                yield self._person(f"sub-{site}{i + 1:02d}", k, (site,))
        for i in range(self.travelers):
            yield self._person(f"sub-traveler{i + 1:02d}", -1, self.names)

    def _person(self, name: str, site: int, sites: tuple[str, ...]) -> Person:
        rng = draw(self.seed, "person", name)
        low, high, men = 20.0, 80.0, 0.5
        if self.confounded and site >= 0:
            middle = 30.0 + 40.0 * site / max(1, self.sites - 1)
            low, high, men = middle - 10.0, middle + 10.0, 0.3 + 0.4 * (site % 2)
        age = round(float(rng.uniform(low, high)), 1)
        return Person(name=name, age=age, sex="M" if rng.random() < men else "F", sites=sites)

    def scanner(self, site: str, contrast: str, shape: tuple[int, ...]) -> Scanner:
        """A site's scanner for a contrast; the same for all of its people."""
        key = (site, contrast, shape)
        if key not in self._scanners:
            made = scanner(site, contrast, self.effect, seed=self.seed, shape=shape)
            self._scanners[key] = made
        return self._scanners[key]

    def write(self, folder: Path) -> None:
        """Write everything.

        Raises
        ------
        OutputFolderError
            When the folder is not empty.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputFolderError("The folder is not empty.", do="Name a new one.", file=folder)
        everybody = list(self.everybody())
        for number, who in enumerate(everybody):
            self._write_person(folder, who, self.anatomies[number % len(self.anatomies)])
        for site in self.names:
            self._write_site(folder / site, site, [p for p in everybody if site in p.sites])
        self._write_about(folder, [p for p in everybody if len(p.sites) > 1])

    def _write_person(self, folder: Path, who: Person, anatomy: Anatomy) -> None:
        own = person(anatomy, seed=self.seed, name=who.name, age=who.age, bend=self.bend)
        variation = texture(own, seed=self.seed, name=who.name)
        write_new(folder / "labels" / f"{who.name}_dseg.nii.gz", own.labels, own.affine)
        mask = own.inside.astype(np.uint8)
        for site in who.sites:
            anat = folder / site / who.name / "anat"
            write_new(anat / f"{who.name}_desc-brain_mask.nii.gz", mask, own.affine)
        for contrast in self.contrasts:
            for site in self.names:
                by = self.scanner(site, contrast, own.inside.shape)
                true = truth(own, variation, by, contrast=contrast) * np.float32(UNITS)
                home = folder / "truth" / site / who.name / "anat"
                write_new(home / f"{who.name}_{contrast}.nii.gz", true, own.affine)
                if site in who.sites:
                    visit = who.sites.index(site)
                    self._write_scan(folder / site, who, contrast, true, by, own.affine, visit)

    def _write_scan(
        self,
        home: Path,
        who: Person,
        contrast: str,
        true: NDArray[np.float32],
        by: Scanner,
        affine: NDArray[np.float64],
        visit: int,
    ) -> None:
        image = scan(
            true / np.float32(UNITS),
            by,
            seed=self.seed,
            name=who.name,
            contrast=contrast,
            visit=visit,
        )
        stored = np.rint(image * UNITS).clip(0, np.iinfo(np.int16).max).astype(np.int16)
        anat = home / who.name / "anat"
        write_new(anat / f"{who.name}_{contrast}.nii.gz", stored, affine)
        about = {"Manufacturer": "Motet phantom", "ManufacturersModelName": home.name}
        write_json(anat / f"{who.name}_{contrast}.json", about)

    def _write_site(self, home: Path, site: str, people: Sequence[Person]) -> None:
        rows = [[p.name, exact(p.age), p.sex] for p in people]
        write_text(home / "participants.tsv", ["participant_id", "age", "sex"], rows)
        known = [[p.name, p.name, "yes"] for p in people if len(p.sites) > 1]
        if known:
            write_text(home / "travelers.tsv", ["traveler_id", "participant_id", "consent"], known)
        with atomic(home / ".bidsignore") as stream:
            stream.write("**/*_desc-brain_mask.nii.gz\ntravelers.tsv\n")
        write_json(
            home / "dataset_description.json",
            {"Name": f"{site}, a phantom", "BIDSVersion": "1.10.0", "DatasetType": "raw"},
        )

    def _write_about(self, folder: Path, travelers: Sequence[Person]) -> None:
        rows = [[p.name, site, p.name] for p in travelers for site in p.sites]
        write_text(folder / "travelers.tsv", ["traveler_id", "site", "participant_id"], rows)
        shape = self.anatomies[0].inside.shape
        about = {
            site: {c: _said(self.scanner(site, c, shape)) for c in self.contrasts}
            for site in self.names
        }
        write_json(folder / "scanners.json", about)
        with atomic(folder / "study.yaml") as stream:
            stream.write(
                STUDY.format(
                    contrast=self.contrasts[0],
                    target=self.names[0],
                    sites="".join(f"  {site}: {site}\n" for site in self.names),
                )
            )
        with atomic(folder / "README") as stream:
            stream.write(
                README.format(
                    version=__version__,
                    effect=self.effect,
                    demographics="confounded with the site" if self.confounded else "balanced",
                    seed=self.seed,
                    anatomy=self.source,
                )
            )


def _said(by: Scanner) -> dict[str, object]:
    return {
        "tissue_means": [round(float(mean), 3) for mean in by.means],
        "curve": round(by.curve, 4),
        "gain": round(by.gain, 4),
        "blur_mm": round(by.blur, 3),
        "noise_of_wm": by.noise,
        "bias_sd": round(float(by.bias.std()), 4),
    }
