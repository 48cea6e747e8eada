"""Reading back what a site harmonized: the measures, whatever stands beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2e.consortium import consortium, people_of, succeeded, write_site
from motet.bids.derivatives import DerivativeWriter
from motet.bids.read import read_site
from motet.client.site_result import reread
from motet.errors import DataError


@pytest.mark.parametrize("form", ["tsv", "npy"])
def test_rows_are_those_of_the_table(tmp_path: Path, form: str) -> None:
    """Catches values that are given to other people where a derivative lists them otherwise."""
    people, values = people_of("ash", 5)
    written = read_site(
        write_site(tmp_path / "raw", people, values, form=form), site="ash", covariates={}
    )
    with DerivativeWriter(tmp_path / "done", written, description={}) as writer:
        writer.write(slice(0, 5), written.values + 1)
    order = [3, 0, 4, 1, 2]
    turned = write_site(
        tmp_path / "turned", people.iloc[order].reset_index(drop=True), values[order], form=form
    )
    like = read_site(turned, site="ash", covariates={})
    np.testing.assert_array_equal(reread(tmp_path / "done", like), values[order] + 1)
    fewer = write_site(tmp_path / "fewer", people[:4], values[:4], form=form)
    with pytest.raises(DataError, match="not those of the study"):
        reread(tmp_path / "done", read_site(fewer, site="ash", covariates={}))


@pytest.mark.usefixtures("undrawn")
def test_a_scanner_that_is_not_known_does_not_matter(tmp_path: Path) -> None:
    """Catches a study with another batch column that ends in an error after harmonizing, and site
    reports that cannot be made again."""
    pytest.importorskip("matplotlib")
    params = {"covariates": ["age", "sex"], "batch": "protocol"}
    sites = ("ash", "birch")
    study = consortium(tmp_path, sites=sites, n=10, params=params)
    for site in sites:
        people, values = people_of(site, 10)
        people["protocol"], people["scanner"] = site, ["prisma"] * 9 + [None]
        write_site(tmp_path / "data" / site, people, values)
    succeeded("simulate", study, "--out", tmp_path / "out")
    succeeded("report", tmp_path / "out")
    assert (tmp_path / "out/sites/ash/report.html").is_file()
