"""What a cell of the column ``consent`` says, in a person's name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from motet.bids.travelers import FILE, read_travelers
from motet.errors import DataError


def consented(folder: Path, cell: str) -> bool:
    rows = ["traveler_id\tparticipant_id\tconsent", "T1\tsub-1\tyes", f"T2\tsub-2\t{cell}"]
    (folder / FILE).write_text("\n".join(rows) + "\n")
    found = read_travelers(folder, {"sub-1", "sub-2"}, site="ash").consented
    assert "T1" in found
    return "T2" in found


@pytest.mark.parametrize("cell", ["2026-05-12", "yes", "Yes", "TRUE", "1"])
def test_a_date_or_yes_is_consent(tmp_path: Path, cell: str) -> None:
    assert consented(tmp_path, cell)


@pytest.mark.parametrize("cell", ["", "n/a", "no", "No", "false", "0", "none"])
def test_no_or_nothing_is_none(tmp_path: Path, cell: str) -> None:
    assert not consented(tmp_path, cell)


@pytest.mark.parametrize("cell", ["withdrawn", "pending", "nein", "12.5.2026", "2026-13-01", "?"])
def test_all_else_is_asked_about(tmp_path: Path, cell: str) -> None:
    """Catches anatomy that leaves in the name of somebody who withdrew."""
    with pytest.raises(DataError, match=re.escape(f"'{cell}' says neither")) as caught:
        consented(tmp_path, cell)
    assert "sub-2" in str(caught.value)
    assert "YYYY-MM-DD" in str(caught.value)
