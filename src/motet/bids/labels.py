"""Names of people, sessions and sites that can be part of a path."""

from __future__ import annotations

import re
from collections.abc import Sequence

from motet.bids.checks import Place
from motet.bids.covariates import level
from motet.bids.tsv import is_missing


def bids_labels(cells: Sequence[str], prefix: str, *, column: str, place: Place) -> list[str]:
    """Make BIDS labels: `prefix` and the letters and digits of each cell.

    '50002', '50002.0' and 'sub-50002' name the same person; two that only become equal by
    leaving out other signs are refused, naming both.
    """
    labels: list[str] = []
    original: dict[str, str] = {}
    for i, cell in enumerate(cells):
        name = level(level(cell).removeprefix(prefix))
        bare = re.sub("[^A-Za-z0-9]", "", name)
        if is_missing(name) or not bare:
            raise place.error(
                f"Row {i + 1} below the header has no label with letters or digits.",
                do="Fill it in, or remove the row.",
                column=column,
            )
        label = prefix + bare
        if original.setdefault(label, name) != name:
            raise place.error(
                f"'{original[label]}' and '{name}' would both become '{label}'.",
                do="Rename one of them: a label has letters and digits only.",
                column=column,
                person=label,
            )
        labels.append(label)
    return labels


def folder_names(sites: Sequence[str], *, column: str, place: Place) -> list[str]:
    """Make folder names of site names: letters, digits, '-', '_' and '.'.

    Two sites whose names only differ in other signs, or in case, are refused.
    """
    names: list[str] = []
    original: dict[str, str] = {}
    for site in sites:
        name = re.sub("[^A-Za-z0-9_.-]+", "-", site).strip("-.") or "site"
        # Some file systems do not tell upper from lower case.
        if original.setdefault(name.casefold(), site) != site:
            raise place.error(
                f"The sites '{original[name.casefold()]}' and '{site}' would share the folder "
                f"'{name}'.",
                do="Rename one of them, or write both the same way if they are one site.",
                column=column,
            )
        names.append(name)
    return names
