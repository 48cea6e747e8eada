"""A person whose sessions were on several scanners."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.bids.derivatives import DerivativeWriter
from motet.bids.read import fingerprint, read_site
from motet.errors import DataError


def site(folder: Path, sessions: str, participants: str = "n/a") -> Path:
    (folder / "sub-T1").mkdir(parents=True)
    (folder / "participants.tsv").write_text(
        f"participant_id\tscanner\nsub-T1\t{participants}\nsub-2\tprisma\nsub-3\tprisma\n"
    )
    (folder / "features.tsv").write_text(
        "participant_id\tsession_id\tf\nsub-T1\tses-a\t1.5\nsub-T1\tses-b\t2.5\n"
        "sub-2\tses-a\t3\nsub-3\tses-a\t4\n"
    )
    if sessions:
        (folder / "sub-T1" / "sub-T1_sessions.tsv").write_text(sessions)
    return folder


def test_every_session_has_its_scanner(tmp_path: Path) -> None:
    """Catches a traveler's scans that are all taken for those of one scanner."""
    home = site(tmp_path, "session_id\tscanner\nses-a\tprisma\nses-b\ttrio\n")
    table = read_site(home, site="hub", covariates={})
    assert table.batch.tolist() == ["prisma", "trio", "prisma", "prisma"]
    assert table.batches == ("prisma", "trio")


def test_without_the_column_it_is_the_persons(tmp_path: Path) -> None:
    """Catches a file of sessions, which BIDS has for other things, that changes a batch."""
    home = site(tmp_path, "session_id\tacq_time\nses-a\t2020\n", participants="trio")
    table = read_site(home, site="hub", covariates={})
    assert table.batch.tolist() == ["trio", "trio", "prisma", "prisma"]


@pytest.mark.parametrize(
    ("sessions", "words"),
    [
        ("session_id\tscanner\nses-a\tprisma\nses-b\tn/a\n", "session b is not known"),
        ("session_id\tscanner\nses-a\tprisma\nses-a\ttrio\n", "session a is listed twice"),
        ("", r"of sub-T1 is not known.*sub-T1_sessions.tsv \(session_id, scanner\), which is not"),
        ("session_id\tscaner\nses-a\tprisma\n", "which has no column 'scanner'"),
        ("session_id\tscanner\nses-a\tprisma\n", "batch of session b is not listed"),
    ],
)
def test_refused(sessions: str, words: str, tmp_path: Path) -> None:
    """Catches a session that is taken for one of another session's scanner, without a word."""
    with pytest.raises(DataError, match=words):
        read_site(site(tmp_path, sessions), site="hub", covariates={})


def test_another_scanner_is_other_data(tmp_path: Path) -> None:
    """Catches a run that goes on from what it kept of another scanner's scans."""
    home = site(tmp_path, "session_id\tscanner\nses-a\tprisma\nses-b\ttrio\n")
    before = fingerprint(home)
    file = home / "sub-T1" / "sub-T1_sessions.tsv"
    file.write_text(file.read_text().replace("trio", "skyra"))
    assert fingerprint(home) != before


def test_dates_of_sessions_are_no_batches(tmp_path: Path) -> None:
    """Catches what participants.tsv would be refused for, told to everybody by way of sessions."""
    visits = "".join(f"ses-{k}\t2020-01-{k:02d}\n" for k in range(1, 13))
    with pytest.raises(DataError, match="more like identifiers, notes or numbers"):
        read_site(site(tmp_path, f"session_id\tscanner\n{visits}"), site="hub", covariates={})


def test_what_comes_out_is_read_as_what_went_in(tmp_path: Path) -> None:
    """Catches a harmonized dataset in which nobody knows any more what was scanned where."""
    home = site(tmp_path / "in", "session_id\tscanner\nses-a\tprisma\nses-b\ttrio\n")
    table = read_site(home, site="hub", covariates={})
    with DerivativeWriter(tmp_path / "out", table, description={}) as writer:
        writer.write(slice(0, len(table)), table.block(slice(None)))
    again = read_site(tmp_path / "out", site="hub", covariates={})
    assert again.batch.tolist() == table.batch.tolist()
