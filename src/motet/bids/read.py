"""Read a site's measures into a :class:`~motet.bids.table.Table`, from its folder or from memory.

A site's folder holds::

    participants.tsv   participant_id, covariates and, where the site has several, the batch column
    sub-*/sub-*_sessions.tsv   optional: session_id and the batch column, where a person's sessions
                       were on several scanners
    travelers.tsv      optional: traveler_id (a key that sites agreed on), participant_id, consent
    features.tsv       participant_id, optional session_id, then one column a feature
    features.json      optional BIDS sidecar: {"thickness_lh": {"Units": "mm"}, ...}

or, for large tables, instead of the last two::

    features.npy       (n, p) float64, rows in the order of participants.tsv; memory-mapped
    features.json      {"features": ["name of column 1", ...], "units": {"name": "mm", ...}}

A missing value is n/a, NaN, nan, NA, N/A or an empty cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from motet.bids.assemble import assembled
from motet.bids.checks import Place, check_labels, check_name, check_people
from motet.bids.covariates import CovariateRequest, Sort, level, resolve
from motet.bids.features import PERSON, read_measures
from motet.bids.memory import from_arrays
from motet.bids.sessions import Visits, batch_of, file_of, read_visits
from motet.bids.table import Table
from motet.bids.telling import refuse_identifier, refuse_telling
from motet.bids.travelers import Travelers, read_travelers
from motet.bids.tsv import TextTable, is_missing, read_text
from motet.errors import listed, nearest

__all__ = [
    "CovariateRequest",
    "SitePeople",
    "fingerprint",
    "from_arrays",
    "read_people",
    "read_site",
]

BATCH = "scanner"
INPUTS = ("participants.tsv", "features.tsv", "features.npy", "features.json", "travelers.tsv")
IMAGES = ("sub-*/*/*.nii*", "sub-*/ses-*/*/*.nii*", "sub-*/*_sessions.tsv")
MASKS = (
    "derivatives/*/sub-*/*/*_mask.nii*",
    "derivatives/*/sub-*/ses-*/*/*_mask.nii*",
    "masks/*.nii*",
)


def read_site(
    folder: Path, *, site: str, covariates: Mapping[str, CovariateRequest], batch: str = BATCH
) -> Table:
    """Read the measures of one site.

    Parameters
    ----------
    folder : Path
        See the module's description.
    site : str
        The site's name in the study.
    covariates : mapping of str to CovariateRequest
        Columns of participants.tsv, in the order of the study.
    batch : str
        Column of participants.tsv. Without a column ``scanner`` the site is one batch, named as
        the site; any other column has to be there.

    Returns
    -------
    Table
        Rows in the order of features.tsv, or of participants.tsv for features.npy. A person with
        several sessions has several rows. ``values`` is (n, p) float64, in native units.

    Raises
    ------
    DataError
        One or two sentences with site, file, column, person and feature. Infinite values of a
        features.npy are left to whoever reads it block by block.
    """
    folder = Path(folder)
    here = read_people(folder, site=site, covariates=covariates, batch=batch)
    measures = read_measures(folder, here.people, site=site)
    rows, batches = here.rows_of(measures.people, measures.sessions)
    return assembled(
        Table,
        place=measures.place,
        people=measures.people,
        sessions=measures.sessions,
        values=measures.values,
        features=measures.features,
        units=measures.units,
        kinds=here.kinds,
        source=folder,
        form=measures.form,
        participants=here.participants,
        travelers=here.travelers,
        covariates=rows,
        batch=batches,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class SitePeople:
    """participants.tsv of a site: who is there, with covariates and batch, one row a person.

    ``visits`` has the batches of sessions that were on other scanners.
    """

    site: str
    people: list[str]
    covariates: pd.DataFrame
    kinds: dict[str, Sort]
    batches: list[str]
    participants: pd.DataFrame
    travelers: Travelers
    visits: Visits

    def rows_of(
        self, people: Sequence[str], sessions: Sequence[str] | None = None
    ) -> tuple[pd.DataFrame, list[str]]:
        """Covariates and batch of these people, one after another; a person may come twice.

        Raises
        ------
        DataError
            When a person's sessions have batches, and one that is asked for has none.
        """
        row_of = {name: i for i, name in enumerate(self.people)}
        index = np.array([row_of[name] for name in people], dtype=np.intp)
        rows = self.covariates.iloc[index].reset_index(drop=True)
        return rows, [
            batch_of(self.visits, person, session, otherwise=self.batches[i], site=self.site)
            for person, session, i in zip(
                people, sessions or [""] * len(people), index.tolist(), strict=True
            )
        ]

    def batches_of(self, people: Collection[str]) -> set[str]:
        """All batches that these people were scanned in."""
        own = {b for p, b in zip(self.people, self.batches, strict=True) if p in people}
        return own.union(*(self.visits.get(person, {}).values() for person in people))


def read_people(
    folder: Path, *, site: str, covariates: Mapping[str, CovariateRequest], batch: str = BATCH
) -> SitePeople:
    """Read participants.tsv; the arguments and errors are those of :func:`read_site`."""
    check_name(site, "site", place=Place(site=site))
    if not folder.is_dir():
        raise Place(site=site, file=folder).error(
            "The folder does not exist." if not folder.exists() else "This is not a folder.",
            do="Name the folder that holds the site's participants.tsv.",
        )
    text, people = _participants(folder / "participants.tsv", site)
    frame, kinds = resolve(
        {name: pd.Series(text.column(name), dtype="str") for name in text.header},
        covariates,
        people=people,
        place=text.place,
    )
    participants = pd.DataFrame(text.rows, columns=list(text.header), dtype="str")
    participants[PERSON] = people
    visits = read_visits(folder, people, batch, site=site)
    return SitePeople(
        site=site,
        people=people,
        covariates=frame,
        kinds=kinds,
        batches=_batches(text, batch, people, visits),
        visits=visits,
        participants=participants,
        travelers=read_travelers(folder, people, site=site),
    )


def _participants(path: Path, site: str) -> tuple[TextTable, list[str]]:
    place = Place(site=site, file=path)
    if not path.exists():
        raise place.error(
            "The file is missing.",
            do="Every site's folder needs one, with a participant_id column.",
        )
    text = read_text(path, place=place)
    check_labels(text.header, "column", place=place)
    people = text.column(PERSON)
    check_people(["" if is_missing(name) else name for name in people], place=place)
    return text, people


def _batches(text: TextTable, column: str, people: Sequence[str], visits: Visits) -> list[str]:
    """Return the batch of every person of participants.tsv.

    Who has a scanner for every session needs none there: the first session's stands for it.
    """
    place = text.place
    refuse_identifier(column, "batch", place=place)
    if column not in text.header:
        similar = [name for name in text.header if name.lower() == column.lower()]
        if column == BATCH and not similar:
            return [place.site] * len(people)
        raise place.error(
            f"The batch column '{column}' is missing.",
            do=nearest(column, similar or text.header)
            or "Add it, or change 'batch' in the study "
            f"file; without a column '{BATCH}' a site is one batch.",
            column=column,
        )
    names = [level(cell) for cell in text.column(column)]
    for row, who in enumerate(people):
        if is_missing(names[row]) and who in visits:
            names[row] = next(iter(visits[who].values()), names[row])
    missing = [who for who, name in zip(people, names, strict=True) if is_missing(name)]
    if missing:
        raise place.error(
            f"The batch of {listed(missing)} is not known.",
            do="Fill it in, or take these people out of both files. Who was scanned on several "
            f"scanners has them in {file_of(missing[0])} (session_id, {column})"
            f"{_unsaid(place, missing[0], column)}.",
            column=column,
            person=missing[0],
        )
    refuse_telling(
        names,
        column,
        "batch",
        do="Give people of the same scanner and protocol one batch, or change 'batch' in the study "
        "file.",
        place=place,
    )
    return names


def _unsaid(place: Place, person: str, column: str) -> str:
    """Why a person's file of sessions says nothing."""
    there = place.file is not None and (place.file.parent / file_of(person)).is_file()
    return f", which has no column '{column}'" if there else ", which is not there"


def fingerprint(folder: Path) -> str:
    """SHA-256 over a site's input files: tables as they are, images by size and time.

    A resumed run compares it to see whether the site still has the data it started with. A table
    that was copied is the same one; to read all images takes as long as to harmonize them.
    """
    folder = Path(folder)
    digest = hashlib.sha256()
    others = {path for pattern in (*IMAGES, *MASKS) for path in folder.glob(pattern)}
    for path in [*(folder / name for name in INPUTS), *sorted(others)]:
        if path.is_file():
            seen, name = path.stat(), path.relative_to(folder).as_posix()
            said = str(seen.st_mtime_ns)
            if not path.name.endswith((".nii", ".nii.gz")):
                with path.open("rb") as file:
                    said = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{name}\x1f{seen.st_size}\x1f{said}\x1e".encode())
    return digest.hexdigest()
