"""One finished study for all tests that apply a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from e2e.consortium import consortium, people_of, succeeded, write_site


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study and the folder of an unseen site; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    covariates = {"covariates": {"age": "continuous", "sex": "categorical"}}
    succeeded("simulate", consortium(folder, params=covariates), "--out", folder / "out")
    write_site(folder / "dune", *people_of("dune", 12))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
