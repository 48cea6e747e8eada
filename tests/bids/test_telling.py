"""A coordinator names the columns; a site tells categories of many people and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from motet.bids.covariates import CovariateRequest
from motet.bids.read import read_site
from motet.errors import DataError

Kind = Literal["auto", "continuous", "categorical"]


def written(folder: Path, column: str, cells: Sequence[object]) -> Path:
    """A site's folder with one column beside participant_id."""
    people = [f"sub-{i:03d}" for i in range(len(cells))]
    rows = [f"{who}\t{cell}" for who, cell in zip(people, cells, strict=True)]
    folder.mkdir(exist_ok=True)
    (folder / "participants.tsv").write_text("\n".join([f"participant_id\t{column}", *rows]))
    (folder / "features.tsv").write_text(
        "\n".join(["participant_id\tlh", *(f"{who}\t1" for who in people)])
    )
    return folder


AGES = [f"{30 + 1.37 * i:.2f}" for i in range(40)]
TELLING = {
    "exact ages": AGES,
    "notes of six": ["asked to stop", "moved", "left early", "well", "nurse of ward 3", "tired"],
    "a note on one in twenty": ["none"] * 190 + [f"note {i}" for i in range(10)],
    "years at a small site": [61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 61, 62, 63, 64],
}


@pytest.mark.parametrize("cells", TELLING.values(), ids=list(TELLING))
def test_levels_that_tell_of_single_people_are_refused(tmp_path: Path, cells: list[object]) -> None:
    """Catches notes or exact ages that become public as levels or batches, because the study says
    that the column is categorical, or names it as the batch."""
    folder = written(tmp_path, "said", cells)
    wanted = {"said": CovariateRequest(kind="categorical")}
    with pytest.raises(DataError, match="told to everybody") as caught:
        read_site(folder, site="s", covariates=wanted)
    assert caught.value.where["column"] == "said"
    assert str(cells[-1]) not in caught.value.what
    with pytest.raises(DataError, match="of a batch are told to everybody"):
        read_site(folder, site="s", covariates={}, batch="said")


def test_texts_whose_kind_nobody_said_are_refused(tmp_path: Path) -> None:
    """Catches ages with decimal commas that silently become levels, as a covariate or biology."""
    folder = written(tmp_path, "age", [age.replace(".", ",") for age in AGES])
    with pytest.raises(DataError, match="decimal points"):
        read_site(folder, site="s", covariates={"age": CovariateRequest()})


@pytest.mark.parametrize("column", ["participant_id", "session_id", "source_id"])
@pytest.mark.parametrize("kind", ["auto", "continuous", "categorical"])
def test_identifiers_are_neither_covariate_nor_batch(
    tmp_path: Path, column: str, kind: Kind
) -> None:
    """Catches names of people in the batches or levels of a small site."""
    folder = written(tmp_path, "sex", ["F", "M"])
    text = (folder / "participants.tsv").read_text().replace("\tsex", "\tsession_id")
    if column != "participant_id":
        (folder / "participants.tsv").write_text(text.replace("session_id", column))
    with pytest.raises(DataError, match="who somebody is: it cannot be a covariate"):
        read_site(folder, site="s", covariates={column: CovariateRequest(kind=kind)})
    with pytest.raises(DataError, match="who somebody is: it cannot be a batch"):
        read_site(folder, site="s", covariates={}, batch=column)


REAL = {
    "three people, three diagnoses": ["HC", "MCI", "AD"],
    "three rare scanners of eight people": ["A"] * 5 + ["B", "C", "D"],
    "six people, two scanners": ["A", "B"] * 3,
    "sixty scanners, twenty of one person": [f"s{i % 40}" for i in range(120)]
    + [f"t{i}" for i in range(20)],
    "ages in years of many": [20 + i % 50 for i in range(300)],
}


@pytest.mark.parametrize("cells", REAL.values(), ids=list(REAL))
def test_real_categories_are_read(tmp_path: Path, cells: list[object]) -> None:
    """Catches a small hospital that is refused for a rare scanner or diagnosis."""
    folder = written(tmp_path, "dx", cells)
    wanted = {"dx": CovariateRequest(kind="categorical")}
    assert read_site(folder, site="s", covariates=wanted).described.covariates[0].levels
    assert read_site(folder, site="s", covariates={}, batch="dx").batches


def test_a_list_of_levels_is_no_way_around(tmp_path: Path) -> None:
    """Catches a coordinator that lists all ages there are as levels: which of them a site has, it
    would say. A rare level among common ones may be told."""
    ages = [f"{40 + i / 4:g}" for i in range(12)]
    listed = {"age": CovariateRequest(levels=tuple(f"{40 + i / 4:g}" for i in range(100)))}
    with pytest.raises(DataError, match="more like identifiers, notes or numbers"):
        read_site(written(tmp_path / "a", "age", ages), site="s", covariates=listed)
    folder = written(tmp_path / "b", "dx", ["a", "a", "a", "b", "b", "c"])
    wanted = {"dx": CovariateRequest(levels=("a", "b", "c", "d"))}
    assert len(read_site(folder, site="s", covariates=wanted).described.covariates[0].levels) == 3
