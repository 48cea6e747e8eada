"""Writing a harmonized folder: the form of the input, exact, all or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from motet.bids.covariates import CovariateRequest
from motet.bids.derivatives import DerivativeWriter
from motet.bids.read import from_arrays, read_site
from motet.bids.table import Table
from motet.errors import DataError, OutputFolderError

ABOUT = {"method": "combat", "study": "ixi", "plan_hash": "p", "model_hash": "m"}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two people, one of them twice, three features."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "participants.tsv").write_text(
        "participant_id\tage\thand\nsub-01\t61.50\tL\nsub-02\t70\t\n"
    )
    (folder / "features.tsv").write_text(
        "participant_id\tsession_id\ta\tb\tc\nsub-02\tses-1\t0.1\t2\tn/a\n"
        "sub-01\tses-1\t1\t2\t3\nsub-02\tses-2\t4\t5\t6\n"
    )
    (folder / "features.json").write_text('{"a": {"Units": "mm"}}')
    (folder / "participants.json").write_text('{"age": {"Units": "year"}}')
    return folder


def table_of(folder: Path) -> Table:
    """Read with age as covariate."""
    return read_site(folder, site="guys", covariates={"age": CovariateRequest()})


def write(folder: Path, table: Table, values: np.ndarray, step: int = 2) -> None:
    """Write in blocks of `step` people."""
    with DerivativeWriter(folder, table, description=ABOUT) as writer:
        for start in range(0, len(values), step):
            rows = slice(start, min(start + step, len(values)))
            writer.write(rows, values[rows])


def test_tsv_comes_back_exactly_with_sessions_and_missing_cells(raw: Path) -> None:
    """Catches rounding, lost sessions, changed row order, and NaN written as text."""
    table = table_of(raw)
    values = np.random.default_rng(0).normal(size=(3, 3)) / 3
    values[0, 2] = np.nan
    out = raw.parent / "out"
    write(out, table, values)
    again = table_of(out)
    np.testing.assert_array_equal(again.values, values)
    assert again.people.tolist() == table.people.tolist()
    assert again.sessions.tolist() == ["ses-1", "ses-1", "ses-2"]
    assert again.units == ("mm", "", "")
    assert "n/a" in (out / "features.tsv").read_text()


def test_npy_in_npy_out(raw: Path) -> None:
    """Catches a large table being turned into text, or written in another order."""
    (raw / "features.tsv").unlink()
    np.save(raw / "features.npy", np.zeros((2, 3)))
    (raw / "features.json").write_text('{"features": ["a", "b", "c"], "units": {"b": "mm"}}')
    values = np.random.default_rng(0).normal(size=(2, 3))
    out = raw.parent / "out"
    write(out, table_of(raw), values)
    again = table_of(out)
    np.testing.assert_array_equal(again.values, values)
    assert (again.form, again.units) == ("npy", ("", "mm", ""))
    sidecar = json.loads((out / "features.json").read_text())
    assert sidecar["method"] == "combat"


def test_it_is_a_bids_derivative_that_says_where_it_comes_from(raw: Path) -> None:
    """Catches a missing required file or key of BIDS 1.10, and a sidecar without provenance."""
    out = raw.parent / "out"
    write(out, table_of(raw), np.zeros((3, 3)))
    described = json.loads((out / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["BIDSVersion"] == "1.10.0"
    assert described["Name"]
    assert described["GeneratedBy"][0]["Name"] == "Motet"
    assert described["GeneratedBy"][0]["Version"]
    assert described["SourceDatasets"] == [{"URL": raw.resolve().as_uri()}]
    assert (out / ".bidsignore").read_text() == "features.*\n"
    assert (out / "README").read_text().startswith("Harmonized measures of guys\n====")
    sidecar = json.loads((out / "features.json").read_text())
    assert ABOUT.items() <= sidecar.items()
    assert sidecar["Sources"][0] == "bids:source:features.tsv"
    assert sidecar["a"] == {"Units": "mm"}
    assert (out / "participants.json").read_bytes() == (raw / "participants.json").read_bytes()


def test_participants_are_as_read_and_only_those_written(raw: Path) -> None:
    """Catches people of a held-out half being listed, and reformatted ages."""
    table = table_of(raw)
    out = raw.parent / "out"
    write(out, table, np.zeros((3, 3)))
    assert (out / "participants.tsv").read_bytes() == (raw / "participants.tsv").read_bytes()
    half = table.where(table.people == "sub-01")
    write(out, half, np.zeros((1, 3)))
    lines = (out / "participants.tsv").read_text().splitlines()
    assert lines == ["participant_id\tage\thand", "sub-01\t61.50\tL"]


def test_a_table_from_memory_is_written_as_tsv(tmp_path: Path) -> None:
    """Catches a table without a source that cannot be written or read back."""
    covariates = pd.DataFrame({"age": [0.1, 0.2], "sex": ["F", "M"]})
    table = from_arrays(np.ones((2, 2)), site="s", covariates=covariates, batch=["A", "B"])
    write(tmp_path / "out", table, np.full((2, 2), 0.1))
    requests = {"age": CovariateRequest(), "sex": CovariateRequest()}
    again = read_site(tmp_path / "out", site="s", covariates=requests)
    assert again.covariates["age"].tolist() == [0.1, 0.2]
    assert again.batch.tolist() == ["A", "B"]
    described = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert "SourceDatasets" not in described


def test_a_failure_leaves_the_old_folder_and_no_trace(raw: Path) -> None:
    """Catches a half-written folder under the final name, and temporary folders left behind."""
    table, out = table_of(raw), raw.parent / "out"
    write(out, table, np.zeros((3, 3)))
    before = sorted(path.name for path in raw.parent.iterdir())
    with (
        pytest.raises(RuntimeError, match="power cut"),
        DerivativeWriter(out, table, description={}) as writer,
    ):
        writer.write(slice(0, 3), np.ones((3, 3)))
        assert (table_of(out).values == 0).all()
        raise RuntimeError("power cut")
    with (
        pytest.raises(ValueError, match="not written: sub-01"),
        DerivativeWriter(out, table, description={}) as writer,
    ):
        writer.write(slice(0, 1), np.ones((1, 3)))
    assert (table_of(out).values == 0).all()
    assert sorted(path.name for path in raw.parent.iterdir()) == before


def test_a_crash_between_the_two_renames_is_mended(raw: Path) -> None:
    """Catches the old derivative being lost when the machine stops in the middle of the swap."""
    table, out = table_of(raw), raw.parent / "out"
    write(out, table, np.full((3, 3), 7.0))
    out.rename(raw.parent / ".out.previous")
    with pytest.raises(RuntimeError), DerivativeWriter(out, table, description={}):
        raise RuntimeError
    assert (table_of(out).values == 7).all()


def test_foreign_folders_are_not_touched(raw: Path) -> None:
    """Catches overwriting raw data, another tool's derivative, a file, or the input itself."""
    table, out = table_of(raw), raw.parent / "out"
    out.mkdir()
    write(out, table, np.zeros((3, 3)))
    description = json.loads((out / "dataset_description.json").read_text())
    description["GeneratedBy"] = [{"Name": "fMRIPrep"}]
    (out / "dataset_description.json").write_text(json.dumps(description))
    a_file = raw.parent / "file"
    a_file.write_text("x")
    for target in (out, a_file, raw, raw.parent):
        with pytest.raises(OutputFolderError), DerivativeWriter(target, table, description={}):
            pass
    assert (raw / "features.tsv").exists()


def test_the_input_is_not_replaced_even_when_motet_wrote_it(raw: Path) -> None:
    """Catches harmonizing harmonized data in place: the output would delete its own input."""
    out = raw.parent / "out"
    write(out, table_of(raw), np.zeros((3, 3)))
    with (
        pytest.raises(OutputFolderError, match="input"),
        DerivativeWriter(out, table_of(out), description={}),
    ):
        pass


def test_blocks_of_a_wrong_shape_or_infinite_are_refused(raw: Path) -> None:
    """Catches broadcasting one row over all people, and a derivative that cannot be read."""
    table, out = table_of(raw), raw.parent / "out"
    with (
        pytest.raises(ValueError, match="shape"),
        DerivativeWriter(out, table, description={}) as writer,
    ):
        writer.write(slice(0, 3), np.zeros((3, 1)))
    with (
        pytest.raises(DataError, match=r"feature b"),
        DerivativeWriter(out, table, description={}) as writer,
    ):
        writer.write(slice(1, 3), np.array([[0, 0, 0], [0, np.inf, 0]]))
    assert not out.exists()
