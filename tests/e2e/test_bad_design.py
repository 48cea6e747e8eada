"""Covariates that nothing can tell apart: a sentence with the sites, and no output folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2e.consortium import consortium, files, motet, refused
from e2e.spoil import Spoil, column

ALL = "ash birch cedar"
AGES = {"ash": "30", "birch": "40", "cedar": "50"}

DESIGNS: dict[str, tuple[Spoil, tuple[str, ...], tuple[str, ...]]] = {
    "collinear": (
        column(ALL, "months", lambda frame: (frame["age"].astype(float) * 12).astype(str)),
        ("age", "sex", "months"),
        ("age", "months", "collinear"),
    ),
    "level at one site only": (
        lambda folder: [column(s, "dx", lambda f, s=s: s[:4])(folder) for s in ALL.split()],
        ("age", "dx"),
        ("dx", "ash", "birch", "cedar", "confounded"),
    ),
    "patients at one site only": (
        lambda folder: (
            column("ash birch", "dx", lambda frame: "control")(folder),
            column("cedar", "dx", lambda frame: "patient")(folder),
        ),
        ("age", "dx"),
        ("dx", "'control' only at ash, birch", "'patient' only at cedar", "confounded"),
    ),
    "number that is one at each site": (
        lambda folder: [column(s, "dose", lambda f, s=s: AGES[s])(folder) for s in ALL.split()],
        ("age", "dose"),
        ("dose", "ash, birch, cedar", "confounded"),
    ),
    "level of one site while others vary": (
        lambda folder: (
            column("ash birch", "dx", lambda f: np.where(np.arange(len(f)) % 2, "AD", "CN"))(
                folder
            ),
            column("cedar", "dx", lambda frame: "FTD")(folder),
        ),
        ("age", "dx"),
        ("dx", "'FTD'", "cedar", "confounded"),
    ),
}


@pytest.mark.parametrize("form", ["tsv", "npy"])
@pytest.mark.parametrize(("spoil", "names", "named"), DESIGNS.values(), ids=DESIGNS)
def test_covariates_that_cannot_be_told_apart(
    spoil: Spoil, names: tuple[str, ...], named: tuple[str, ...], form: str, tmp_path: Path
) -> None:
    """Catches arbitrary coefficients, a sentence without the sites, and half an output folder."""
    study = consortium(tmp_path, form=form, params={"covariates": list(names)})
    spoil(tmp_path)
    before = files(tmp_path)
    refused(motet("simulate", study, "--out", tmp_path / "out"), *named)
    assert files(tmp_path) == before
    assert not (tmp_path / "out").exists()
