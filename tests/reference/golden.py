"""The golden outputs of ComBat, the real tables, and neuroCombat run on them, for the tests.

All of it is read from ``shared/data`` beside the repository, whose licences forbid copies; where
that folder is absent the tests are skipped.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import threadpoolctl

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
GOLDEN = DATA / "combat_golden"
NAME = re.compile(
    r"testdata_combat_(?P<prior>parametric|nonparametric)_(?P<covariates>adjusted|unadjusted)"
    r"(?P<options>(?:_(?:noeb|meanonly?|batchref))*)"  # one file says 'meanonl'
    r"_(?P<tool>python|r|matlab)"
)
# The two nonparametric Matlab files are as exact as the rest; the parametric ones stop at 1e-3.
MATLAB_PARAMETRIC_TOLERANCE = 1e-3
TOLERANCE = 1e-10
BATCH = np.array(["1"] * 5 + ["2"] * 5)
GROUP = np.array(["1", "2"] * 5)

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")


@dataclass(frozen=True)
class Golden:
    """One golden file and the options that made it."""

    name: str
    tool: str
    prior: str
    adjust: str
    covariates: bool
    reference: str | None

    @property
    def tolerance(self) -> float:
        loose = self.tool == "matlab" and self.prior == "parametric"
        return MATLAB_PARAMETRIC_TOLERANCE if loose else TOLERANCE

    @property
    def options(self) -> dict[str, Any]:
        return {"prior": self.prior, "adjust": self.adjust, "reference": self.reference}

    def expected(self) -> np.ndarray:
        """The harmonized data, people in rows."""
        return read(self.name)


def read(name: str) -> np.ndarray:
    """A file of the folder as (10 people, 200 features)."""
    path = GOLDEN / f"{name}.csv"
    with path.open() as lines:
        header = int(next(lines).lstrip('"').startswith("V1"))
    return np.loadtxt(path, delimiter=",", skiprows=header).T


def parse(name: str) -> Golden:
    """The options that a golden file's name states."""
    match = NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"no golden file of ComBat: {name}")
    options = match["options"].split("_")
    return Golden(
        name=name,
        tool=match["tool"],
        prior="none" if "noeb" in options else match["prior"],
        adjust="location" if {"meanonly", "meanonl"} & set(options) else "location_scale",
        covariates=match["covariates"] == "adjusted",
        reference="1" if "batchref" in options else None,
    )


def goldens() -> list[Golden]:
    """Every golden file of ComBat in the folder (none where the folder is absent)."""
    return [parse(path.stem) for path in sorted(GOLDEN.glob("testdata_combat*.csv"))]


def golden_params() -> list[Any]:
    """The same, to parametrize a test with: a skip that gives its reason where they are absent."""
    absent = pytest.param(None, id="absent", marks=pytest.mark.skip(reason=f"no data at {GOLDEN}"))
    return [pytest.param(golden, id=golden.name) for golden in goldens()] or [absent]


@dataclass(frozen=True, eq=False)
class Table:
    """A real table: people in rows."""

    Y: np.ndarray
    features: tuple[str, ...]
    batch: np.ndarray
    covariates: pd.DataFrame
    reference: str

    @property
    def sd(self) -> np.ndarray:
        return np.nanstd(self.Y, axis=0)

    @property
    def W(self) -> np.ndarray:
        """Design columns of the covariates: age, and sex without its first level."""
        sex = self.covariates["sex"].to_numpy(str)
        age = self.covariates["age"].to_numpy(np.float64)
        return np.column_stack([age, (sex != np.unique(sex)[0]).astype(np.float64)])

    def regular(self) -> Table:
        """Restricted to the features complete in the table and constant within no site."""
        sites = [self.Y[self.batch == site] for site in np.unique(self.batch)]
        good = ~np.isnan(self.Y).any(axis=0)
        for rows in sites:
            good &= rows.max(axis=0) != rows.min(axis=0)
        names = tuple(np.array(self.features)[good])
        return Table(self.Y[:, good], names, self.batch, self.covariates, self.reference)


NOT_FEATURES = r"i?id|sub_id|participant_id|site|SITE_ID|age|AGE_AT_SCAN|sex|SEX|Gender"
NOT_FEATURES += "|DX_GROUP|FIQ|HANDEDNESS_CATEGORY"
# File, columns of site, age and sex, features, and the tests' reference (never the first site).
TABLES = {
    "9-site": ("neurocombat_cortical_9sites_n263", "site", "age", "sex", ".*", "Site9"),
    "3-site": ("ixi_fs_desikan_thickness_3sites_n558", "site", "age", "sex", ".*_thickness", "HH"),
    "20-site": (
        "abide1_fs6_desikan_thickness_aseg_20sites_n1035", "SITE_ID", "AGE_AT_SCAN", "SEX", ".*",
        "NYU",
    ),
    "23-site": (
        "fcon1000_destrieux_ct_aseg_23sites_n1078", "site", "age", "sex", ".*", "Cambridge_Buckner",
    ),
}  # fmt: skip


@cache
def table(name: str) -> Table:
    """A real table by its number of sites; ages rounded to float32, as neuroCombat rounds them."""
    file, site, age, sex, wanted, reference = TABLES[name]
    frame = pd.read_csv(DATA / "tables" / f"{file}.csv")
    features = [
        column
        for column in frame.columns
        if re.fullmatch(wanted, column) and not re.fullmatch(NOT_FEATURES, column)
    ]
    covariates = pd.DataFrame(
        {
            "age": frame[age].to_numpy(np.float32).astype(np.float64),
            "sex": [f"sex-{value}" for value in frame[sex]],
        }
    )
    Y = frame[features].to_numpy(np.float64)
    return Table(Y, tuple(features), frame[site].to_numpy(str), covariates, reference)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread: thousands of small products on busy cores wait for threads otherwise,
    which makes these tests three times slower."""
    with threadpoolctl.threadpool_limits(1):
        yield


def neurocombat(data: Table, *, prior: str, adjust: str, reference: str | None) -> np.ndarray:
    """The witness's harmonized data, people in rows; silenced, and given the numpy it expects.

    Its non-parametric kernel underflows: whole batches of a feature may come out as NaN.
    """
    module = pytest.importorskip("neuroCombat.neuroCombat")
    covars = data.covariates.assign(batch=data.batch)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()),
        np.errstate(all="ignore"),
    ):
        patch.setattr(np, "int", int, raising=False)
        return module.neuroCombat(
            dat=data.Y.T.copy(),
            covars=covars,
            batch_col="batch",
            categorical_cols=["sex"],
            continuous_cols=["age"],
            eb=prior != "none",
            parametric=prior == "parametric",
            mean_only=adjust == "location",
            ref_batch=reference,
        )["data"].T
