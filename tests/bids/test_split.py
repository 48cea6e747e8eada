"""Splitting a pooled table: the parts are the whole, to the bit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from motet.agreement import agree
from motet.bids.covariates import CovariateRequest
from motet.bids.read import read_site
from motet.bids.split import split_table
from motet.errors import DataError, OutputFolderError

TABLE = """id,site,age,sex,machine,note,lh_thickness,rh_thickness,volume
1_a,Guy's,61.50,F,A,x,2.9539999999999997,2.10,1000
2,Guy's,70,M,B,,2.5,NA,2000
3,HH,55,F,A,y,0.1,2.3,3000
"""
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "tables"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three people of two sites."""
    path = tmp_path / "pooled.csv"
    path.write_text(TABLE)
    return path


def split(table: Path, **options):
    """Split with the usual options."""
    usual = {"by": "site", "id": "id", "covariates": ["age", "sex"], "out": table.parent / "out"}
    return split_table(table, **usual | options)


def test_the_folders_hold_the_text_of_the_table(table: Path) -> None:
    """Catches reformatted numbers, changed ids without the original, and missing cells as NA."""
    summary = split(table, batch="machine")
    guys = table.parent / "out" / "Guy-s"
    assert (guys / "participants.tsv").read_text() == (
        "participant_id\tsource_id\tage\tsex\tscanner\tnote\n"
        "sub-1a\t1_a\t61.50\tF\tA\tx\nsub-2\t2\t70\tM\tB\tn/a\n"
    )
    assert (guys / "features.tsv").read_text() == (
        "participant_id\tlh_thickness\trh_thickness\tvolume\n"
        "sub-1a\t2.9539999999999997\t2.10\t1000\nsub-2\t2.5\tn/a\t2000\n"
    )
    assert summary.sites == {"Guy-s": 2, "HH": 1}
    assert (summary.n_features, summary.text_columns, summary.dropped) == (3, ("note",), ())
    assert summary.batch == "machine"
    assert set(json.loads((guys / "features.json").read_text())) == set(summary.features)
    assert json.loads((guys / "dataset_description.json").read_text())["BIDSVersion"]


def test_what_is_written_can_be_read(table: Path) -> None:
    """Catches a folder that read_site or the agreement between sites refuses."""
    split(table)
    requests = {"age": CovariateRequest(), "sex": CovariateRequest()}
    tables = [
        read_site(table.parent / "out" / name, site=name, covariates=requests)
        for name in ("Guy-s", "HH")
    ]
    np.testing.assert_array_equal(tables[0].values[1], [2.5, np.nan, 2000])
    assert agree([t.described for t in tables]).columns == ("age", "sex=M")


def test_features_sites_and_drop_choose(table: Path) -> None:
    """Catches options that are ignored, or columns that vanish without being listed."""
    summary = split(table, features=["*_thickness"], sites=["Guy's"], drop=["note"])
    assert summary.features == ("lh_thickness", "rh_thickness")
    assert summary.dropped == ("note", "volume")
    assert summary.text_columns == ("machine",)
    assert summary.sites == {"Guy-s": 2}


def test_other_forms_of_tables_are_read(table: Path) -> None:
    """Catches TSV, gzip, an index column without a name, and ids that pandas made 1.0."""
    gz = table.parent / "pooled.tsv.gz"
    lines = ["\tid\tsite\tage\tsex\tf", "0\t1.0\tA\t1\tF\t1", "1\t2.0\tB\t2\tM\t2"]
    gz.write_bytes(gzip.compress("\n".join(lines).encode()))
    summary = split(gz)
    assert summary.dropped == ("(without a name)",)
    assert "sub-1\t1.0\t1\tF" in (summary.out / "A" / "participants.tsv").read_text()


def test_a_scanner_column_is_the_batch_without_being_asked_for(table: Path) -> None:
    """Catches numbers in a column 'scanner' becoming a feature to harmonize."""
    table.write_text(TABLE.replace("machine", "scanner").replace(",A,", ",1,"))
    summary = split(table)
    assert summary.batch == "scanner"
    assert "scanner" not in summary.features


def test_sessions_make_rows_of_features_and_one_row_a_person(table: Path) -> None:
    """Catches a person twice in participants.tsv, and covariates of one session used for all."""
    text = "id,site,age,sex,visit,day,f\n1,A,60,F,v1,mon,1\n1,A,60,F,v2,tue,2\n2,A,50,M,v1,mon,3\n"
    table.write_text(text)
    summary = split(table, session="visit")
    features = (summary.out / "A" / "features.tsv").read_text().splitlines()
    assert features[:3] == ["participant_id\tsession_id\tf", "sub-1\tses-v1\t1", "sub-1\tses-v2\t2"]
    assert len((summary.out / "A" / "participants.tsv").read_text().splitlines()) == 3
    assert summary.dropped == ("day",)
    table.write_text(text.replace("1,A,60,F,v2", "1,A,61,F,v2"))
    with pytest.raises(DataError, match="'age' is '60' in one session and '61' in another"):
        split(table, session="visit", out=table.parent / "other")


@pytest.mark.parametrize(
    ("old", "new", "options", "said"),
    [
        ("", "", {"by": "sit"}, "Did you mean 'site'?"),
        ("", "", {"covariates": ["Age"]}, "Did you mean 'age'?"),
        ("", "", {"drop": ["volum"]}, "Did you mean 'volume'?"),
        ("", "", {"features": ["*_area"]}, "No column matches the feature pattern '*_area'"),
        ("", "", {"features": ["note"]}, "'x' is not a number"),
        ("", "", {"sites": ["hh"]}, "Did you mean 'HH'?"),
        ("", "", {"features": ["age"]}, "No column matches"),
        ("", "", {"covariates": ["age", "age"]}, "listed twice"),
        ("2,Guy's", "1_a,Guy's", {}, "--session"),
        ("2,Guy's", "1-a,Guy's", {}, "'1_a' and '1-a' would both become 'sub-1a'"),
        ("2,Guy's", "2,Guy_s", {}, ""),
        ("2,Guy's", "2,Guy-s", {}, "'Guy's' and 'Guy-s' would share the folder"),
        ("3,HH", "3,", {}, "no site"),
        ("3,HH", "--,HH", {}, "no label"),
        ("3000", "inf", {}, "infinite"),
        ("volume", "participant_id", {}, "--drop participant_id"),
        ("volume", "age", {}, "more than once"),
        (",3000", "", {}, "Line 4 has 8 cell(s), the header has 9"),
    ],
)
def test_defects_are_named_and_nothing_is_written(
    table: Path, old: str, new: str, options: dict[str, object], said: str
) -> None:
    """Catches a wrong table being split without a word, or half an output folder."""
    table.write_text(TABLE.replace(old, new) if old else TABLE)
    if not said:
        split(table, **options)
        return
    with pytest.raises(DataError) as caught:
        split(table, **options)
    assert said in str(caught.value)
    assert [path.name for path in table.parent.iterdir()] == ["pooled.csv"]


def test_a_folder_with_something_in_it_is_left_alone(table: Path) -> None:
    """Catches a second split mixing its sites with those of the first."""
    split(table)
    with pytest.raises(OutputFolderError):
        split(table)


@pytest.mark.parametrize(
    ("name", "by", "id", "covariates", "missing"),
    [
        ("ixi_fs_desikan_thickness_3sites_n558.csv", "site", "participant_id", "age sex", 0),
        ("abide1_fs6_desikan_thickness_aseg_20sites_n1035.csv", "SITE_ID", "id", "SEX", 0),
        ("fcon1000_destrieux_ct_aseg_23sites_n1078.csv", "site", "sub_id", "age sex", 0),
        ("neurocombat_cortical_9sites_n263.csv", "site", "participant_id", "age sex", 102),
    ],
)
def test_real_tables_come_back_bit_by_bit(
    tmp_path: Path, name: str, by: str, id: str, covariates: str, missing: int
) -> None:
    """Catches what made-up tables do not have: '&' in names, 23 sites, missing cells."""
    if not REAL.is_dir():
        pytest.skip(f"the real tables are not here: {REAL}")
    summary = split_table(
        REAL / name,
        by=by,
        id=id,
        covariates=covariates.split(),
        out=tmp_path / "out",
        drop=["FIQ"] if "abide" in name else [],  # of some -9999, which a site refuses
    )
    pooled = pd.read_csv(REAL / name)
    gaps = 0
    for site in summary.sites:
        table = read_site(tmp_path / "out" / site, site=site, covariates={})
        expected = pooled.loc[pooled[by] == site, list(table.features)].to_numpy(dtype=np.float64)
        np.testing.assert_array_equal(table.values, expected)
        gaps += int(np.isnan(table.values).sum())
    assert sum(summary.sites.values()) == len(pooled)
    assert gaps == missing


def test_persons_with_two_rows_are_named(tmp_path: Path) -> None:
    """Catches one of two scans of a person being lost; the OpenNeuro table has 28 such people."""
    if not REAL.is_dir():
        pytest.skip(f"the real tables are not here: {REAL}")
    table = REAL / "openneuro_transfer_destrieux_6sites_n546.csv"
    with pytest.raises(DataError, match=r"and 22 more.*--session"):
        split_table(table, by="site", id="sub_id", covariates=["age"], out=tmp_path / "out")


def test_columns_that_are_no_measures_are_told_of(tmp_path: Path) -> None:
    """Catches the site's number, or a diagnosis, that is harmonized as a feature of the brain."""
    rng = np.random.default_rng(0)
    n = 24
    frame = pd.DataFrame({"id": [f"p{i}" for i in range(n)], "site": np.repeat(["a", "b"], n // 2)})
    frame["sitenum"] = np.repeat([4, 7], n // 2)
    frame["dx"] = rng.permutation(np.repeat([1, 2], n // 2))
    frame["number"] = np.arange(n)
    frame["lh"] = rng.normal(size=n)
    frame["same"] = 1
    frame.to_csv(tmp_path / "t.csv", index=False)
    made = split(tmp_path / "t.csv", covariates=[])
    assert made.of_the_site == ("sitenum",)
    assert made.codes == ("dx",)
    assert made.identifiers == ("number",)
    frame.loc[0, "sitenum"] = 7
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert split(tmp_path / "t.csv", covariates=[], out=tmp_path / "again").of_the_site == ()


def test_the_site_is_told_of_beside_a_site_of_one(tmp_path: Path) -> None:
    """Catches a site's number that one person somewhere makes a measure."""
    sites = list("a" * 12 + "b" * 12 + "c")
    frame = pd.DataFrame({"id": [f"p{i}" for i in range(25)], "site": sites})
    frame["sitenum"] = [4] * 12 + [7] * 12 + [9]
    frame["lh"] = np.random.default_rng(0).normal(size=25)
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert split(tmp_path / "t.csv", covariates=[]).of_the_site == ("sitenum",)
