"""Split a pooled table into one folder per site, as hospitals would hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from motet.bids.checks import Place, repeated
from motet.bids.description import write_description
from motet.bids.features import PERSON, SESSION
from motet.bids.folder import check_target, complete_folder
from motet.bids.labels import bids_labels
from motet.bids.pooled import (
    BATCH,
    ORIGINAL,
    Roles,
    identifiers,
    no_measures,
    of_sites,
    read_pooled,
    sorted_columns,
    varying,
)
from motet.bids.tsv import is_missing, write_text
from motet.errors import listed
from motet.store import write_json


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """What :func:`split_table` wrote.

    Attributes
    ----------
    out : Path
    sites : mapping of str to int
        Folder name -> number of people, sorted by name.
    features : tuple of str
    text_columns : tuple of str
        Columns of text that went into participants.tsv.
    dropped : tuple of str
        Columns that were left out: asked for, not matched by `features`, empty, without a name,
        or differing between the sessions of a person.
    batch : str or None
        The column written as ``scanner``.
    identifiers : tuple of str
        Features that look like identifiers: whole numbers that differ for everybody.
    of_the_site : tuple of str
        Features that are one number at every site, and differ among sites.
    codes : tuple of str
        Features of a few whole numbers.
    """

    out: Path
    sites: Mapping[str, int]
    features: tuple[str, ...]
    text_columns: tuple[str, ...]
    dropped: tuple[str, ...]
    batch: str | None = None
    identifiers: tuple[str, ...] = ()
    of_the_site: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.features)


def split_table(
    table_csv: Path,
    *,
    by: str,
    id: str,
    covariates: Sequence[str],
    out: Path,
    session: str | None = None,
    batch: str | None = None,
    drop: Sequence[str] = (),
    features: Sequence[str] = (),
    sites: Sequence[str] = (),
) -> SplitSummary:
    """Write ``out/<site>/`` with participants.tsv, features.tsv and features.json for every site.

    The text of every number is kept, so values read back exactly; a missing cell becomes n/a.
    Ids become BIDS labels (``sub-`` and letters and digits); where that changes one, the original
    is kept in a column ``source_id``.

    Parameters
    ----------
    table_csv : Path
        CSV or TSV, may be gzipped; one row a person (and session).
    by, id : str
        Columns with the site and the person.
    covariates : sequence of str
        Columns for participants.tsv, in this order.
    out : Path
        A folder that does not exist or is empty.
    session : str, optional
        Column with the session, for persons with several rows.
    batch : str, optional
        Column written as ``scanner``; default: the column ``scanner`` where there is one.
    drop : sequence of str
        Columns to leave out.
    features : sequence of str
        Glob patterns, e.g. ``"*_thickness"``; default: every other column of numbers.
    sites : sequence of str
        Only these sites; default: all.

    Returns
    -------
    SplitSummary

    Raises
    ------
    DataError
        Names the column (with the nearest name), the person, and the value.
    OutputFolderError
        `out` holds something.
    """
    check_target(Path(out))
    text = read_pooled(Path(table_csv))
    if batch is None and BATCH in text.header and BATCH not in (by, id, session, *drop):
        batch = BATCH
    roles = Roles(
        by=by, id=id, covariates=tuple(covariates), session=session, batch=batch, drop=tuple(drop)
    )
    roles.check(text)
    text, names = of_sites(text, roles, sites)
    originals = text.column(id)
    people = bids_labels(originals, "sub-", column=id, place=text.place)
    times: dict[str, list[str]] = {}
    if session is not None:
        labels = bids_labels(text.column(session), "ses-", column=session, place=text.place)
        times[SESSION] = labels
    _check_rows(names, people, times.get(SESSION), text.place)
    chosen, words, dropped = sorted_columns(text, roles, features, people)
    told = {ORIGINAL: originals} if originals != people else {}
    told |= {name: text.column(name) for name in covariates}
    told |= {BATCH: text.column(batch)} if batch is not None else {}
    told |= {name: text.column(name) for name in words}
    differ = varying(told, list(zip(names, people, strict=True)), text.place, may_vary=words)
    columns = {name: cells for name, cells in told.items() if name not in differ}
    measures = {PERSON: people} | times | {name: text.column(name) for name in chosen}
    counts = {}
    with complete_folder(Path(out)) as folder:
        for site in sorted(set(names)):
            rows = [i for i, name in enumerate(names) if name == site]
            counts[site] = len({people[i] for i in rows})
            _write_site(folder / site, {PERSON: people} | columns, measures, rows, Path(table_csv))
    of_the_site, codes = no_measures(text, chosen, names)
    return SplitSummary(
        out=Path(out),
        sites=counts,
        features=tuple(chosen),
        text_columns=tuple(name for name in words if name not in differ),
        dropped=(*dropped, *differ),
        batch=batch,
        identifiers=identifiers(text, chosen),
        of_the_site=of_the_site,
        codes=codes,
    )


def _check_rows(
    names: Sequence[str], people: Sequence[str], sessions: Sequence[str] | None, place: Place
) -> None:
    """Refuse two rows of one person (and session) at one site."""
    keys = list(zip(names, people, sessions or [""] * len(people), strict=True))
    twice = repeated(keys)
    if not twice:
        return
    who = listed(" ".join(filter(None, (person, when))) for _, person, when in twice)
    do = (
        "Keep one row for each person and session."
        if sessions is not None
        else "Name the column that tells the rows apart with --session, or keep one row a person."
    )
    raise Place(site=twice[0][0], file=place.file).error(
        f"{who} occur(s) in more than one row.", do=do, person=twice[0][1]
    )


def _write_site(
    folder: Path,
    columns: Mapping[str, Sequence[str]],
    measures: Mapping[str, Sequence[str]],
    rows: Sequence[int],
    table: Path,
) -> None:
    folder.mkdir()
    people = columns[PERSON]
    first = list({people[i]: i for i in reversed(rows)}.values())[::-1]
    for name, content, index in (
        ("participants.tsv", columns, first),
        ("features.tsv", measures, rows),
    ):
        cells = list(content.values())
        write_text(
            folder / name,
            list(content),
            (["n/a" if is_missing(column[i]) else column[i] for column in cells] for i in index),
        )
    described = {
        name: {"Description": f"Column '{name}' of {table.name}"}
        for name in measures
        if name not in (PERSON, SESSION)
    }
    write_json(folder / "features.json", described)
    write_description(
        folder,
        name=f"{folder.name}, from {table.name}",
        by="motet split",
        description=f"The rows of one site of {table.name}; no value was changed.",
    )
    title = f"Measures of {folder.name}"
    (folder / "README").write_text(
        f"{title}\n{'=' * len(title)}\nThe rows of this site in {table.name}, by 'motet split'.\n",
        encoding="utf-8",
    )
