"""The site reports of a finished study, made again where the sites' data still lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from motet.bids.checks import Place
from motet.bids.description import SOURCE
from motet.bids.tsv import read_text
from motet.client.opening import open_site
from motet.client.site_result import write_report
from motet.config import checked
from motet.errors import DataError, MotetError
from motet.registry import methods
from motet.report import ABOUT
from motet.report.read import StudyFiles, read_study


def remake_site_reports(folder: Path) -> dict[str, str]:
    """Write ``sites/<site>/report.html`` of every site of a finished study.

    Parameters
    ----------
    folder : Path
        What ``motet simulate --out`` wrote. Each site's derivative says where its data are.

    Returns
    -------
    dict of str to str
        Sites whose report was not made, with the reason; one that was there stays.
    """
    study = read_study(folder)
    kept: dict[str, str] = {}
    for place in sorted((folder / "sites").glob("*")):
        try:
            _remake(place, study)
        except MotetError as error:
            kept[place.name] = str(error)
    return kept


def _remake(place: Path, study: StudyFiles) -> None:
    site = place.name
    schema = study.plan["schema"]
    method = methods().get(str(study.plan["method"]))
    params = checked(method.params_type, study.plan["params"], under="params", saved=True)
    biology = [str(column["name"]) for column in schema.get("biology", ())]
    raw = open_site(_source(place / "harmonized"), site=site, params=params, biology=biology)
    fit = _used(place / "cohort.tsv", site)
    write_report(
        place,
        raw,
        np.array([fit.get(person) == "fit" for person in raw.people.tolist()], dtype=bool),
        about={key: study.run[key] for key in ABOUT},
        warnings=[sentence for name, sentence in study.warnings if name == site],
    )


def _used(path: Path, site: str) -> dict[str, str]:
    """Person -> ``fit`` or ``held_out``; nobody where the site took no part in the fit."""
    if not path.is_file():
        return {}
    table = read_text(path, place=Place(site=site, file=path))
    return dict(zip(table.column("participant_id"), table.column("used"), strict=True))


def _source(harmonized: Path) -> Path:
    """The folder that a derivative was made from."""
    path = harmonized / "dataset_description.json"
    try:
        document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        url = urlsplit(document["DatasetLinks"][SOURCE])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("It does not say where its data are.", file=path) from error
    folder = Path(unquote(url.path))
    if url.scheme != "file" or not folder.is_dir():
        raise DataError("The data it was made from are not there any more.", file=folder)
    return folder
