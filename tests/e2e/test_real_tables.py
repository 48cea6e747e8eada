"""Real tables, as a user would take them: split, simulate, judge on held-out people, apply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from e2e.consortium import read_values, succeeded
from motet.evaluation.site_effect import site_effect

TABLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "tables"
pytestmark = pytest.mark.skipif(
    not TABLES.is_dir(), reason="shared/data/tables is not beside this checkout (licences)"
)


@dataclass(frozen=True, kw_only=True)
class Real:
    """A table, how to split it, and what is known of it."""

    file: str
    words: tuple[str, ...]
    sites: int
    people: int
    unseen: str


SAME = {
    "anova_share": "share_significant",
    "batch_eta2": "batch_eta2",
    "covariates_r2": "covariates_r2",
}
"""Metrics that are summed over sites, and what they are called where everybody is in one place."""

THICKNESS = ("--features", "*_thickness")
REAL = {
    "IXI, 3 scanners": Real(
        file="ixi_fs_desikan_thickness_3sites_n558.csv",
        words=("--by", "site", "--covariates", "age,sex", *THICKNESS),
        sites=3,
        people=558,
        unseen="HH",
    ),
    "9 sites": Real(
        file="neurocombat_cortical_9sites_n263.csv",
        words=("--by", "site", "--covariates", "age,sex"),
        sites=9,
        people=263,
        unseen="Site4",
    ),
    "ABIDE, 20 sites": Real(
        file="abide1_fs6_desikan_thickness_aseg_20sites_n1035.csv",
        words=(
            *("--by", "SITE_ID", "--id", "id"),
            *("--covariates", "DX_GROUP,AGE_AT_SCAN,SEX", "--drop", "SUB_ID,FIQ"),
        ),
        sites=20,
        people=1035,
        unseen="NYU",
    ),
    "fcon1000, 23 sites": Real(
        file="fcon1000_destrieux_ct_aseg_23sites_n1078.csv",
        words=("--by", "site", "--id", "sub_id", "--covariates", "age,sex", *THICKNESS),
        sites=23,
        people=1078,
        unseen="Oulu",
    ),
}
TABLE = pytest.mark.parametrize("name", REAL)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Split a table, once."""

    @cache
    def once(name: str) -> Path:
        real = REAL[name]
        out = tmp_path_factory.mktemp("real") / "data"
        printed = succeeded("split", TABLES / real.file, *real.words, "--out", out)
        assert printed.startswith(f"{real.sites} sites (")
        return out

    return once


def study_of(data: Path, path: Path, sites: Sequence[str], **changes: Any) -> Path:
    first = pd.read_csv(data / sites[0] / "participants.tsv", sep="\t", nrows=1)
    covariates = [c for c in ("age", "sex", "DX_GROUP", "AGE_AT_SCAN", "SEX") if c in first]
    document = {
        "study": "real",
        "method": "combat",
        "params": {"covariates": covariates},
        "sites": {site: str(data / site) for site in sites},
        "seed": 1,
        "evaluation": {"metrics": "none"},
        **changes,
    }
    path.write_text(yaml.safe_dump(document))
    return path


def sites_in(data: Path) -> list[str]:
    return sorted(path.name for path in data.iterdir())


@TABLE
def test_held_out_people(name: str, split: Any, tmp_path: Path) -> None:
    """Catches a harmonization that works on the people it was fitted on only, or that takes the
    effects of age and sex away with the scanner's; and sums that say another thing than rows."""
    data = split(name)
    sites = sites_in(data)
    asked = {"held_out": 0.2, "metrics": "summed"}
    study = study_of(data, tmp_path / "study.yaml", sites, evaluation=asked)
    assert f"{len(sites)} batches at {len(sites)} sites" in succeeded("plan", study)
    printed = succeeded("simulate", study, "--out", tmp_path / "out")
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    effect = metrics["site_effect"]
    raw, after = effect["raw"], effect["harmonized"]
    assert effect["people"] == "held out"
    assert abs(effect["n"] - 0.2 * REAL[name].people) < 0.05 * REAL[name].people
    judged = metrics["judgements"]["sums"]
    of_sums = {metric["name"]: metric["readings"] for metric in judged["metrics"]}
    for version, pooled in (("raw", raw), ("harmonized", after)):
        for mine, theirs in SAME.items():
            assert of_sums[mine][version]["value"] == pytest.approx(pooled[theirs], abs=1e-9)
    assert (judged["people"], judged["n"]) == (effect["people"], effect["n"])
    assert f"{after['share_significant']:.3f}" in printed
    # The 9-site table has little of a site effect: 15 % of features, where chance gives 5 %.
    assert after["share_significant"] < max(0.4 * raw["share_significant"], 0.1)
    assert after["batch_eta2"] < raw["batch_eta2"]
    assert after["covariates_r2"] > 0.8 * raw["covariates_r2"]
    assert metrics["missing"] == {}
    small = {entry["site"] for entry in metrics["warnings"]}
    assert small <= set(sites)
    for site in sites:
        raw_values = read_values(data / site)
        values = read_values(tmp_path / "out/sites" / site / "harmonized")
        assert list(values.index) == list(raw_values.index)
        assert list(values.columns) == list(raw_values.columns)
        np.testing.assert_array_equal(values.isna(), raw_values.isna())


@TABLE
def test_unseen_site(name: str, split: Any, tmp_path: Path) -> None:
    """Catches an unseen site left with its scanner effect, or that changes the shared model."""
    data, unseen = split(name), REAL[name].unseen
    sites = [site for site in sites_in(data) if site != unseen]
    study = study_of(data, tmp_path / "study.yaml", sites)
    succeeded("simulate", study, "--out", tmp_path / "out")
    before = (tmp_path / "out/shared/manifest.json").read_bytes()
    words = ("participant", "--model", tmp_path / "out/shared")
    printed = succeeded("apply", data / unseen, tmp_path / "new", *words)
    assert unseen in printed
    assert (tmp_path / "out/shared/manifest.json").read_bytes() == before
    assert not (tmp_path / "out/sites" / unseen).exists()
    raw, new = read_values(data / unseen), read_values(tmp_path / "new")
    others = pd.concat([read_values(tmp_path / "out/sites" / s / "harmonized") for s in sites])
    sd = others.std().replace(0.0, np.nan)
    distance = {
        k: ((v.mean() - others.mean()) / sd).abs().median()
        for k, v in {"raw": raw, "new": new}.items()
    }
    # What is left is that these people's ages and sexes differ.
    assert distance["new"] < max(0.6 * distance["raw"], 0.12), distance


@pytest.mark.parametrize("people", [1, 3])
def test_site_of_very_few(people: int, split: Any, tmp_path: Path) -> None:
    """Catches a division by n - 1 = 0, and a site of one person harmonized without a word."""
    data = split("IXI, 3 scanners")
    for site in sites_in(data):
        (tmp_path / "data" / site).mkdir(parents=True)
        for table in ("participants.tsv", "features.tsv"):
            lines = (data / site / table).read_text().splitlines(keepends=True)
            kept = people if site == "IOP" else 60
            (tmp_path / "data" / site / table).write_text("".join(lines[: kept + 1]))
    study = study_of(tmp_path / "data", tmp_path / "study.yaml", ["Guys", "HH", "IOP"])
    assert f"IOP: {people} {'person' if people == 1 else 'people'}" in succeeded("plan", study)
    printed = succeeded("simulate", study, "--out", tmp_path / "out")
    values = read_values(tmp_path / "out/sites/IOP/harmonized")
    assert np.isfinite(values.to_numpy()).all()
    assert len(values) == people
    if people == 1:
        assert "warning: IOP: Batch 'IOP' has one person" in printed


def test_judged_as_by_hand(split: Any, tmp_path: Path) -> None:
    """Catches metrics.json telling of other people or values than those in the folders."""
    from motet.agreement import agree
    from motet.client.opening import open_site
    from motet.params import parse_params
    from motet.plan import build_plan
    from motet.simulation import as_study
    from motet.sites import open_sites

    data = split("IXI, 3 scanners")
    asked = {"held_out": 0.2, "metrics": "none"}
    path = study_of(data, tmp_path / "study.yaml", sites_in(data), evaluation=asked)
    succeeded("simulate", path, "--out", tmp_path / "out")
    study = as_study(path)
    tables = open_sites(study)
    plan = build_plan(study, agree([table.described for table in tables.values()]))
    values = {
        site: open_site(
            tmp_path / "out/sites" / site / "harmonized", site=site, params=parse_params(study)
        ).values
        for site in tables
    }
    by_hand = site_effect(tables, values, plan).to_json()
    assert json.loads((tmp_path / "out/metrics.json").read_text())["site_effect"] == by_hand
