"""Reading a site: what comes in is exact, and every defect is named."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.bids.checks import Place, check_finite
from motet.bids.covariates import CovariateRequest, level
from motet.bids.read import fingerprint, from_arrays, read_site
from motet.bids.tsv import exact
from motet.errors import DataError, StudyFileError

PARTICIPANTS = "participant_id\tage\tsex\tscanner\nsub-01\t61.5\tF\tA\nsub-02\t70\tM\tB\n"
FEATURES = "participant_id\tlh\trh\nsub-02\t2.5\t2.25\nsub-01\t3.5\tn/a\n"
AGE_SEX = {"age": CovariateRequest(), "sex": CovariateRequest()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people, two scanners, two features, one missing cell."""
    (tmp_path / "participants.tsv").write_text(PARTICIPANTS)
    (tmp_path / "features.tsv").write_text(FEATURES)
    (tmp_path / "features.json").write_text('{"lh": {"Units": "mm"}}')
    return tmp_path


def as_npy(folder: Path, values: np.ndarray, document: object) -> Path:
    """Replace features.tsv by features.npy and its names."""
    (folder / "features.tsv").unlink(missing_ok=True)
    np.save(folder / "features.npy", values)
    (folder / "features.json").write_text(json.dumps(document))
    return folder


def failing(folder: Path, covariates=AGE_SEX, **options) -> DataError:
    """Return the error of reading, which always names the site."""
    with pytest.raises(DataError) as caught:
        read_site(folder, site="guys", covariates=covariates, **options)
    assert caught.value.where["site"] == "guys"
    assert str(caught.value).rstrip().endswith((".", "?", "}"))
    return caught.value


def test_rows_follow_features_tsv_and_covariates_are_joined_by_person(folder: Path) -> None:
    """Catches a join by position: the two files have the people in opposite order."""
    table = read_site(folder, site="guys", covariates=AGE_SEX)
    assert table.people.tolist() == ["sub-02", "sub-01"]
    np.testing.assert_array_equal(table.values, [[2.5, 2.25], [3.5, np.nan]])
    assert table.covariates["age"].tolist() == [70.0, 61.5]
    assert table.covariates["sex"].tolist() == ["M", "F"]
    assert table.batch.tolist() == ["B", "A"]
    assert table.units == ("mm", "")
    assert (table.form, table.source) == ("tsv", folder)
    assert table.participants["participant_id"].tolist() == ["sub-01", "sub-02"]


def test_described_holds_sorted_batches_and_levels_and_whether_it_varies(folder: Path) -> None:
    """Catches unsorted levels, and 'varies' computed over the site instead of within batches."""
    table = read_site(folder, site="guys", covariates=AGE_SEX)
    assert table.described.batches == ("A", "B")
    age, sex = table.described.covariates
    assert (age.kind, age.levels, age.varies) == ("continuous", (), False)
    assert (sex.kind, sex.levels, sex.varies) == ("categorical", ("F", "M"), False)
    (folder / "participants.tsv").write_text(PARTICIPANTS.replace("\tB\n", "\tA\n"))
    described = read_site(folder, site="guys", covariates=AGE_SEX).described
    assert all(covariate.varies for covariate in described.covariates)


def test_without_a_scanner_column_the_site_is_one_batch(folder: Path) -> None:
    """Catches a default that is not the site's name."""
    text = PARTICIPANTS.replace("\tscanner", "").replace("\tA\n", "\n").replace("\tB\n", "\n")
    (folder / "participants.tsv").write_text(text)
    assert read_site(folder, site="guys", covariates={}).batches == ("guys",)


def test_another_batch_column_has_to_be_there(folder: Path) -> None:
    """Catches a typing error in 'batch' that silently makes the site one batch."""
    assert "Did you mean 'scanner'?" in str(failing(folder, batch="scaner"))
    (folder / "participants.tsv").write_text(PARTICIPANTS.replace("scanner", "Scanner"))
    assert "Did you mean 'Scanner'?" in str(failing(folder))


def test_npy_is_mapped_not_read(folder: Path) -> None:
    """Catches a copy of a large table into memory, and rows in another order."""
    values = np.array([[1.0, 2.0], [3.0, np.nan]])
    as_npy(folder, values, {"features": ["lh", "rh"], "units": {"rh": "mm"}})
    table = read_site(folder, site="guys", covariates=AGE_SEX)
    assert isinstance(table.values, np.memmap)
    assert (table.form, table.units) == ("npy", ("", "mm"))
    assert table.people.tolist() == ["sub-01", "sub-02"]
    np.testing.assert_array_equal(table.values, values)


def test_several_sessions_of_a_person_are_several_rows(folder: Path) -> None:
    """Catches a person's second session being refused, lost, or without covariates."""
    (folder / "features.tsv").write_text(
        "participant_id\tsession_id\tlh\nsub-01\tses-1\t1\nsub-02\tses-1\t2\nsub-01\tses-2\t3\n"
    )
    table = read_site(folder, site="guys", covariates=AGE_SEX)
    assert table.covariates["age"].tolist() == [61.5, 70.0, 61.5]
    assert table.who(2) == "sub-01 (ses-2)"


BITS = st.floats(allow_infinity=False, allow_nan=True, width=64)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(BITS, BITS), min_size=1, max_size=8))
def test_numbers_read_back_bit_by_bit(tmp_path_factory: pytest.TempPathFactory, rows) -> None:
    """Catches a parser or writer that loses the last bit, the sign of zero, or a subnormal."""
    folder = tmp_path_factory.mktemp("exact")
    people = [f"sub-{i}" for i in range(len(rows))]
    (folder / "participants.tsv").write_text("\n".join(["participant_id", *people]) + "\n")
    lines = ["\t".join([who, *map(exact, row)]) for who, row in zip(people, rows, strict=True)]
    (folder / "features.tsv").write_text("\n".join(["participant_id\ta\tb", *lines]) + "\n")
    read = read_site(folder, site="s", covariates={}).values
    written = np.array(rows)
    same = read.view(np.int64) == written.view(np.int64)
    assert (same | (np.isnan(read) & np.isnan(written))).all()


def test_a_byte_order_mark_windows_line_ends_and_quotes_are_fine(folder: Path) -> None:
    """Catches files saved by a spreadsheet being refused, or the first column not found."""
    (folder / "participants.tsv").write_bytes(
        b"\xef\xbb\xbf" + PARTICIPANTS.replace("\n", "\r\n").encode()
    )
    quoted = FEATURES.replace("sub-02", '"sub-02"').replace("\n", "\r\n")
    (folder / "features.tsv").write_bytes(b"\xef\xbb\xbf" + quoted.encode())
    table = read_site(folder, site="guys", covariates=AGE_SEX)
    assert table.people.tolist() == ["sub-02", "sub-01"]
    assert table.batches == ("A", "B")


@pytest.mark.parametrize("missing", ["n/a", "NaN", "nan", "", "NA"])
def test_missing_cells_are_nan_in_features_and_refused_in_covariates(
    folder: Path, missing: str
) -> None:
    """Catches a missing age becoming NaN, or a level called 'n/a'."""
    (folder / "features.tsv").write_text(FEATURES.replace("n/a", missing))
    assert np.isnan(read_site(folder, site="guys", covariates=AGE_SEX).values[1, 1])
    for cell, column in (("61.5", "age"), ("F", "sex"), ("\tA\n", "scanner")):
        new = f"\t{missing}\n" if column == "scanner" else missing
        (folder / "participants.tsv").write_text(PARTICIPANTS.replace(cell, new))
        error = failing(folder)
        assert (error.where["column"], error.where["person"]) == (column, "sub-01")
        assert error.where["file"].endswith("participants.tsv")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("3.5", "thick", "person sub-01, feature lh: 'thick' is not a number"),
        ("3.5", "3,5", "decimal point"),
        ("3.5", "inf", "person sub-01, feature lh: The value is infinite"),
        ("3.5", "1e999", "infinite"),
        ("sub-01\t3.5\tn/a\n", "", "sub-01 in participants.tsv but not in features.tsv"),
        ("sub-01", "sub-03", "sub-03 in features.tsv but not in participants.tsv"),
        ("sub-0", "0", "differ only by 'sub-'"),
        ("sub-01", "sub-02", "sub-02 occur(s) in more than one row"),
        ("\trh", "\tlh", "The feature(s) lh occur more than once"),
        ("\t2.25", "", "Line 2 has 2 cell(s), the header has 3"),
        ("2.25", "2.25\t1", "Line 2 has 4 cell(s), the header has 3"),
        ("sub-02", "", "Row 1 below the header has no participant_id"),
        ("participant_id", "participant", "Did you mean 'participant'?"),
        ("\tlh\trh\n", "\n", "cell(s), the header has 1"),
    ],
)
def test_defects_of_features_tsv_are_named(folder: Path, old: str, new: str, said: str) -> None:
    """Catches a defect that is read silently, or an error that does not say which cell."""
    (folder / "features.tsv").write_text(FEATURES.replace(old, new))
    assert said in str(failing(folder))


def test_true_is_text_and_not_one(folder: Path) -> None:
    """Catches pandas reading a column of True and False as 1 and 0."""
    text = FEATURES.replace("n/a", "True").replace("2.25", "False")
    (folder / "features.tsv").write_text(text)
    assert "'False' is not a number" in str(failing(folder))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sub-02", "sub-01", "sub-01 occur(s) in more than one row"),
        ("participant_id", "id", "no column 'participant_id'"),
        ("\tage", "\tAge", "column age: The covariate 'age' is not a column. Did you mean 'Age'?"),
        ("\tage", "\tsex", "sex occur more than once"),
        ("\tA\n", "\ta/b\n", "batch name 'a/b' holds a slash"),
        ("61.5", "inf", "column age, person sub-01: The value is infinite"),
        ("\tA\n", "\n", "Line 2 has 3 cell(s), the header has 4"),
        (PARTICIPANTS.split("\n", 1)[1], "", "There are no people"),
        (PARTICIPANTS, "", "The file is empty"),
    ],
)
def test_defects_of_participants_tsv_are_named(folder: Path, old: str, new: str, said: str) -> None:
    """Catches a defect that is read silently, or an error that does not say where."""
    (folder / "participants.tsv").write_text(PARTICIPANTS.replace(old, new))
    assert said in str(failing(folder))


def test_missing_and_surplus_files_are_named(folder: Path) -> None:
    """Catches a bare FileNotFoundError, and a silent choice between two features files."""
    assert "does not exist" in str(failing(folder / "nowhere"))
    np.save(folder / "features.npy", np.zeros((2, 2)))
    assert "both a features.tsv and a features.npy" in str(failing(folder))
    (folder / "features.npy").unlink()
    (folder / "features.tsv").unlink()
    assert "neither a features.tsv nor a features.npy" in str(failing(folder))
    (folder / "participants.tsv").unlink()
    assert "participants.tsv: The file is missing" in str(failing(folder))


@pytest.mark.parametrize("name", ["participants.tsv", "features.tsv"])
def test_commas_in_a_tsv_are_said(folder: Path, name: str) -> None:
    """Catches a table of one column whose name is the whole header, quoted in the error."""
    file = folder / name
    file.write_text(file.read_text().replace("\t", ","))
    said = str(failing(folder))
    assert name in said
    assert "one cell with commas in it" in said
    assert len(said) < 400


def test_a_file_that_is_not_utf8_is_a_sentence(folder: Path) -> None:
    """Catches a UnicodeDecodeError reaching the hospital."""
    (folder / "participants.tsv").write_bytes(PARTICIPANTS.replace("F", "é").encode("latin-1"))
    assert "not UTF-8" in str(failing(folder))


@pytest.mark.parametrize(
    ("values", "document", "said"),
    [
        (np.zeros((2, 2), np.float32), {"features": ["a", "b"]}, "dtype float32"),
        (np.zeros((2, 2), ">f8"), {"features": ["a", "b"]}, "dtype >f8"),
        (np.zeros(2), {"features": ["a", "b"]}, "1 dimension(s)"),
        (np.zeros((3, 2)), {"features": ["a", "b"]}, "3 rows and participants.tsv 2 people"),
        (np.zeros((2, 3)), {"features": ["a", "b"]}, "3 columns and features.json names 2"),
        (np.zeros((2, 2)), {"features": ["a", "a"]}, "feature(s) a occur more than once"),
        (np.zeros((2, 2)), {"lh": {"Units": "mm"}}, "'features' is not a list"),
        (np.zeros((2, 2)), ["a", "b"], "not a JSON object"),
        (np.zeros((2, 2)), {"features": ["a", "b"], "units": {"c": "mm"}}, "'units' names c"),
        (np.zeros((2, 0)), {"features": []}, "no features"),
        (np.array([[{}, 1], [2, 3]]), {"features": ["a", "b"]}, "cannot be read"),
    ],
)
def test_defects_of_npy_are_named(folder: Path, values, document, said: str) -> None:
    """Catches a wrong array being used, or unpickled: code from a file would run."""
    as_npy(folder, values, document)
    assert said in str(failing(folder))


def test_names_that_cannot_be_paths_are_refused(folder: Path) -> None:
    """Catches a site called '../x' from writing outside its folder."""
    for name in ("a/b", "..", "a\nb", " "):
        with pytest.raises(DataError):
            read_site(folder, site=name, covariates={})


def test_levels_are_the_same_however_a_number_is_written() -> None:
    """Catches '1' at one site and '1.0' at another becoming two levels; codes stay as they are."""
    assert {level(value) for value in ("1", "1.0", 1, 1.0, np.float64(1), "+1.", " 1 ")} == {"1"}
    assert [level(v) for v in ("01", "1e5", "1.50", "-0.0", "F")] == ["01", "1e5", "1.5", "0", "F"]
    assert CovariateRequest(kind="categorical", levels=(1, 2.0)).levels == ("1", "2")


def test_requests_decide_the_kind_and_the_levels(folder: Path) -> None:
    """Catches an ignored kind, and a value outside the levels getting a design column."""
    table = read_site(folder, site="s", covariates={"age": CovariateRequest(kind="categorical")})
    assert table.covariates["age"].tolist() == ["70", "61.5"]
    assert "'F' is not a number" in str(
        failing(folder, {"sex": CovariateRequest(kind="continuous")})
    )
    text = str(failing(folder, {"sex": CovariateRequest(levels=("Fem", "M"))}))
    assert "column sex, person sub-01: 'F' is not one of the levels Fem, M" in text
    assert "Did you mean 'Fem'?" in text
    with pytest.raises(StudyFileError):
        CovariateRequest(kind="continuous", levels=("a",))
    with pytest.raises(StudyFileError, match="categorical"):
        CovariateRequest(kind="categoric")  # type: ignore[arg-type]


def test_one_typing_error_does_not_make_age_categorical() -> None:
    """Catches an age of '5o' turning a column of numbers into as many levels."""
    ages = pd.DataFrame({"age": [str(i) for i in range(40)] + ["5o", "39"]})
    with pytest.raises(DataError, match=r"'5o' is not a number\. The other 41 values"):
        from_arrays(np.zeros((42, 1)), site="s", covariates=ages)


def test_arrays_in_memory_are_shared_not_copied() -> None:
    """Catches a copy for every site of one big array, and rows taken from another site."""
    values = np.random.default_rng(0).normal(size=(400, 5000))
    frame = pd.DataFrame({"age": np.arange(200.0), "sex": ["F", "M"] * 100})
    tracemalloc.start()
    table = from_arrays(
        values, site="s", rows=np.arange(200, 400), covariates=frame, batch=[1, 2.0] * 100
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.shares_memory(table.values, values)
    assert peak < 4e6  # 5000 names and the small columns; the array has 16 MB
    assert table.form == "memory"
    assert table.batches == ("1", "2")
    assert table.people[0] == "sub-201"
    np.testing.assert_array_equal(table.block(slice(0, 2)), values[200:, :2])


@pytest.mark.parametrize("order", ["C", "F"])
def test_infinite_values_are_found_block_by_block(
    tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a wrong name at a block's edge, and a look at other sites' rows."""
    monkeypatch.setattr("motet.bids.checks.CELLS_AT_ONCE", 12)
    np.save(tmp_path / "a.npy", np.zeros((7, 5), order=order))
    values = np.load(tmp_path / "a.npy", mmap_mode="r+")
    names, place = list("abcde"), Place(site="s")
    check_finite(values, None, who=str, features=names, place=place)
    values[0, 0], values[3, 4] = np.nan, -np.inf
    for rows, who in ((None, "3"), (np.array([6, 5, 3]), "2")):
        with pytest.raises(DataError) as caught:
            check_finite(values, rows, who=str, features=names, place=place)
        assert caught.value.where == {"site": "s", "person": who, "feature": "e"}
    check_finite(values, np.array([0, 1, 2, 4]), who=str, features=names, place=place)


def test_arrays_in_memory_pass_the_same_checks() -> None:
    """Catches wrong lengths, text, repeated names and unknown batches in memory."""
    values = np.zeros((2, 2))
    for options, said in (
        ({"batch": ["a"]}, "'batch' has 1 entries for 2 rows"),
        ({"batch": ["a", None]}, "The batch of sub-2 is not known"),
        ({"features": ["a", "a"]}, "more than once"),
        ({"features": ["a"]}, "1 feature names for 2 columns"),
        ({"people": ["x", "x"]}, "x occur"),
        ({"rows": [0, 2]}, "there are 2 rows"),
        ({"units": ["mm"]}, "1 units for 2 features"),
        ({"covariates": pd.DataFrame({"age": [1.0, np.nan]})}, "no value for sub-2"),
        ({"requests": {"age": CovariateRequest()}}, "'age' is not a column"),
    ):
        with pytest.raises(DataError) as caught:
            from_arrays(values, site="s", **options)
        assert said in str(caught.value)
    with pytest.raises(DataError, match="not all numbers"):
        from_arrays(pd.DataFrame({"a": ["x"]}), site="s")
    frame = pd.DataFrame({"a": [1.0], "b": [2.0]})
    assert from_arrays(frame, site="s", units={"b": "mm"}).units == ("", "mm")
    assert from_arrays(frame, site="s").features == ("a", "b")


def test_fingerprint_changes_with_the_data_only(folder: Path) -> None:
    """Catches a resumed run on other data, and a refused resume on the same."""
    before = fingerprint(folder)
    (folder / "notes.txt").write_text("x")
    assert fingerprint(folder) == before
    os.utime(folder / "features.tsv", ns=(1, 1))
    assert fingerprint(folder) == before, "a copy is the same data"
    (folder / "features.tsv").write_text(FEATURES.replace("2.25", "2.26"))
    assert fingerprint(folder) != before
