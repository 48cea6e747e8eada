"""The sites of a study file: their folders, opened and checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motet.agreement import agree
from motet.bids.table import Table
from motet.bids.travelers import FILE
from motet.client.opening import open_site
from motet.cohort import seen_by_fit
from motet.config import Study
from motet.errors import DataError, StudyFileError, listed, nearest
from motet.evaluation.images.true_images import TrueImages
from motet.params import parse_params
from motet.plan import Plan, biology
from motet.schema import Schema


def open_sites(
    study: Study, say: Callable[[str, str], None] = lambda site, sentence: None
) -> dict[str, Table]:
    """Read the folders of all sites of a study file; `say` is told what a site should know."""
    params = parse_params(study)
    if not study.sites:
        raise StudyFileError(
            "A simulation needs the sites' folders.",
            do="Add 'sites: {hospital_a: path/to/a, hospital_b: path/to/b}'.",
            key="sites",
        )
    if len(study.sites) < 2:
        raise StudyFileError(
            f"There is one site only ({next(iter(study.sites))}): a federation needs two or more.",
            do="Add a site, or harmonize the scanners of one site with motet.harmonize.",
            key="sites",
        )
    if study.evaluation.truth is not None:
        TrueImages(study.evaluation.truth).check_study(params)
    fitting = _fitting(study)
    if (study.federation.quorum or 2) > len(fitting):
        raise StudyFileError(
            f"A quorum of {study.federation.quorum} cannot be reached with {len(fitting)} sites.",
            key="federation.quorum",
        )
    _check_folders(study)
    tables = {
        site: open_site(
            folder,
            site=site,
            params=params,
            biology=biology(study),
            say=partial(say, site),
        )
        for site, folder in sorted(study.sites.items())
    }
    if params.everywhere:
        for site in fitting:
            _check_keyed(tables[site], params.keyed)
    if params.holder in tables:
        _check_keyed(tables[params.holder], params.needed, consent=False)
    return tables


def _check_keyed(table: Table, keyed: Sequence[str], *, consent: bool = True) -> None:
    """Refuse a site that lacks a traveler whom it has to have; here it can say why."""
    file = (table.source or Path()) / FILE
    where, other = (
        ("at every site", ", or leave the site out") if consent else (f"at '{table.site}'", "")
    )
    for key in keyed:
        person, why = table.travelers.get(key, ""), ""
        do = f"add a row{', with the date of consent' if consent else ''}"
        if not file.is_file():
            why = "and the file is missing"
            third = ", participant_id and consent" if consent else " and participant_id"
            do = f"write it, with columns traveler_id{third}"
        elif not person:
            why = "whom the file does not list"
        elif consent and key not in table.consented:
            why = "of whom the file has no consent"
            do = "with the person's consent, write its date into the column 'consent'"
        if why:
            raise DataError(
                f"The study learns from the traveler '{key}' {where}, {why}.",
                do=f"{do[0].upper()}{do[1:]}; or take the key out of params.travelers{other}.",
                site=table.site,
                file=file,
                person=person,
            )


def _fitting(study: Study) -> list[str]:
    """The sites of the fit: those that are not unseen."""
    for site in study.evaluation.unseen:
        if site not in study.sites:
            raise StudyFileError(
                f"The unseen site '{site}' is not among the sites.",
                do=nearest(site, study.sites) or f"They are: {listed(sorted(study.sites))}.",
                key="evaluation.unseen",
            )
    fitting = sorted(set(study.sites) - set(study.evaluation.unseen))
    if len(fitting) < 2:
        raise StudyFileError(
            f"Without the unseen sites {listed(fitting) or 'nobody'} is left for the fit: a "
            "federation needs two sites or more.",
            do="Take a site out of evaluation.unseen.",
            key="evaluation.unseen",
        )
    return fitting


def agreed(study: Study, tables: Mapping[str, Table]) -> Schema:
    """The schema that the sites of these tables agree on."""
    keyed = parse_params(study).keyed
    return agree(
        [replace(table.described, holds=table.holds(keyed)) for table in tables.values()],
        biology=biology(study),
        unseen=study.evaluation.unseen,
    )


def masks(tables: Mapping[str, Table], plan: Plan) -> dict[str, NDArray[np.bool_]]:
    """Who was in the fit, site by site: nobody at an unseen site."""
    return {
        site: np.zeros(len(table), dtype=bool)
        if site in plan.unseen
        else seen_by_fit(table, held_out=plan.held_out, seed=plan.seed, params=plan.params)
        for site, table in tables.items()
    }


def _check_folders(study: Study) -> None:
    """Refuse one folder under two names: its people would count twice."""
    seen: dict[Path, str] = {}
    for site, folder in sorted(study.sites.items()):
        place = folder.resolve()
        if place in seen:
            raise StudyFileError(
                f"'{seen[place]}' and '{site}' are one folder ({folder}): its people would count "
                "twice.",
                key=f"sites.{site}",
            )
        seen[place] = site
