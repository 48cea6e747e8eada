"""What the study report says of a training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.brains import study_of
from motet.plan import build_plan
from motet.report import write_study_report
from motet.report.figures.losses import losses
from motet.report.leaving import leaving
from motet.report.methods_text import methods_text
from motet.report.read import read_study
from motet.report.summary import summary
from motet.report.training import every, owned, trainings
from motet.schema import Batch, Schema
from motet.store import load_model, save_model
from motet.training.log import LOG, write_log
from motet.training.options import TrainOptions
from report.made_up import SITES, SUMS_ALONE, write_study

ROWS = [
    {
        "phase": "cvae",
        "exchange": k,
        "step": min(20 * k + 20, 100),
        "steps": 100,
        **({"ae.kl": 0.2 / (k + 1), "ae.rec": 9.0 / (k + 1)} if k < 5 else {}),
        "validation": (9.0, 4.0, 3.25, 3.5, 3.75, 4.0)[k],
        "validated": 20 * k,
        "sites": {"ash": {"ae.kl": 7.654321}},
    }
    for k in range(6)
]


def made(folder: Path, *, leaves: str = "update", **train: Any) -> Path:
    """A finished study whose method was trained."""
    how = TrainOptions(validation=0.1, **train).model_dump()
    sent = {"phase": "cvae", "class": leaves, "dtype": "float32", "shape": [7], "bytes": 28}
    write_study(
        folder,
        metrics=SUMS_ALONE,
        plan={
            "method": "deepcombat",
            "params": {"covariates": {"age": "auto"}, "batch": "scanner", "train": how},
            "steps": [{"name": "cvae", "is": "Train"}],
            "trained": {"cvae": [{"name": "decoder", "meaning": "decoder: what it changed by"}]},
        },
        run={
            "method": "deepcombat",
            "versions": {"python": "3.11.9", "flwr": "1.41.0", "torch": "2.13.0"},
            "received": [{"site": s, "array": "decoder", "times": 5, **sent} for s in SITES],
        },
    )
    shared, document, _ = load_model(folder / "shared")
    used = np.ones(len(shared["alpha"]), dtype=bool)
    save_model(folder / "shared", {**shared, "used": used}, document)
    write_log(folder / LOG, ROWS)
    return folder


def test_section(tmp_path: Path) -> None:
    """Catches a training that the report keeps quiet about, and one hospital's losses in it."""
    page = write_study_report(made(tmp_path), site_pages="left out").read_text()
    section = page[page.index('<h2 id="training">') : page.index('<h2 id="left">')]
    for said in (
        "Losses of ae, over steps: kl from 0.2 to 0.04; rec from 9 to 1.8; validation from 9 to 4.",
        "each hospital took steps of its own; exchanged were all networks every 20\u00a0steps",
        "FedAvg",
        "100\u00a0steps in 6\u00a0exchanges",
        "at most 64\u00a0samples a step",
        "float32; sent as float32<",
        "those after 40\u00a0steps, with the smallest validation loss (3.25)",
        "140\u202fB",
    ):
        assert said in section, said
    assert "7.654" not in page


@pytest.mark.parametrize("last", [4.0, 400.0])
def test_a_training_that_got_worse_is_warned_of(last: float, tmp_path: Path) -> None:
    """Catches a report that shows networks of a diverged training like any others."""
    folder = made(tmp_path)
    write_log(folder / LOG, [*ROWS[:-1], {**ROWS[-1], "validation": last}])
    page = write_study_report(folder, site_pages="left out").read_text()
    said = "validation loss went from 9 to 400. Lower the learning rate"
    assert (said in page[page.index("<h3>Warnings</h3>") :]) == (last == 400.0)


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (1.0, "its own; exchanged"),
        (2.5, "2.5 times the learning rate (local_rate); exch"),
    ],
)
def test_a_local_rate_is_said(rate: float, said: str, tmp_path: Path) -> None:
    """Catches a training that took other rates than the report says."""
    (one,) = trainings(read_study(made(tmp_path, local_rate=rate)))
    assert said in dict(one.facts)["mode"]


@pytest.mark.parametrize("summed", [True, False])
def test_whose_heads_move_and_how_often_is_said(summed: bool, tmp_path: Path) -> None:
    """Catches heads that are called averaged, and exchanges that are left out."""
    study = read_study(made(tmp_path))
    groups = [
        {"name": "trunk", "keeper": "shared", "summed": False, "every": 0},
        {"name": "encoder", "keeper": "shared", "summed": False, "every": 20},
        {"name": "decoder", "keeper": "shared", "summed": False, "every": 0},
        {"name": "critic", "keeper": "shared", "summed": False, "every": 5},
        {"name": "heads", "keeper": "owned", "summed": summed, "every": 5},
        {"name": "stays", "keeper": "local", "summed": False, "every": 2},
    ]
    study = replace(study, plan={**study.plan, "groups": {"cvae": groups}})
    facts = dict(trainings(study)[0].facts)
    often = "critic and heads every 5\u00a0steps; all else every 20\u00a0steps"
    assert facts["mode"].endswith(f"exchanged were {often}")
    whose = "by the sum of what all hospitals changed" if summed else "by what its hospital alone"
    assert f"(heads) were moved {whose}" in facts["scanners' own parts"]
    text = methods_text(study, None).paragraph
    assert often in text
    assert f"(heads) were moved {whose}" in text


def test_plans_say_of_groups_what_reports_read(tmp_path: Path) -> None:
    """Catches a key that the plan calls otherwise than the report, whose sentences then vanish."""
    study = study_of("murd", {"adversary_steps": 3}).model_copy(
        update={"train": {"preset": "small", "mode": "local", "local_steps": 12}}
    )
    batches = (Batch("ash", "a"), Batch("birch", "b"))
    schema = Schema(features=(), units=(), covariates=(), batches=batches)
    groups = build_plan(study, schema).to_json()["groups"]["networks"]
    how = TrainOptions(local_steps=12).model_dump()
    said = every(how, groups)
    assert "critic_heads every 3\u00a0steps; all else every 12\u00a0steps" in said
    (whose,) = owned(how, groups)
    assert "style_heads, code_heads and critic_heads" in whose
    assert "the sum of what all hospitals" in whose
    (along,) = owned({**how, "server": "fedadam"}, groups)
    assert "along the sum" in along


def test_masked(tmp_path: Path) -> None:
    """Catches a type in which nothing was sent: masked numbers are integers."""
    study = read_study(made(tmp_path))
    (one,) = trainings(replace(study, plan={**study.plan, "secure_sum": True}))
    assert "behind masks" in dict(one.facts)["precision"]


@pytest.mark.parametrize(
    ("moments", "said"), [("kept", "kept its own"), ("forgotten", "begun anew after each")]
)
def test_what_became_of_moments(moments: str, said: str, tmp_path: Path) -> None:
    """Catches a word that says nothing to who did not read the documents, and another's."""
    (one,) = trainings(read_study(made(tmp_path, moments=moments)))
    assert said in dict(one.facts)["moments of the optimizer"]


def test_combat_beside_networks(tmp_path: Path) -> None:
    """Catches a version that is judged and not shown, or shown without saying what it is."""
    without = write_study_report(made(tmp_path / "a"), site_pages="left out").read_text()
    folder = made(tmp_path / "b")
    path = folder / "metrics.json"
    document = json.loads(path.read_text())
    for judged in document["judgements"].values():
        for metric in judged["metrics"]:
            if "pooled" in metric["readings"]:
                metric["readings"]["combat"] = metric["readings"]["pooled"]
    path.write_text(json.dumps(document))
    page = write_study_report(folder, site_pages="left out").read_text()
    said = "ComBat with the same scanners and covariates"
    assert said in page
    assert "var(--combat)" in page
    assert said not in without


def test_a_preset_for_tests_is_warned_of(tmp_path: Path) -> None:
    """Catches a report of networks that were hardly trained like any other."""
    said = "The preset &#39;tiny&#39; is for tests"
    for preset, shown in (("tiny", True), ("small", False)):
        page = write_study_report(made(tmp_path / preset, preset=preset), site_pages="left out")
        assert (said in page.read_text()) is shown


def test_how_far_means_were_lengthened(tmp_path: Path) -> None:
    """Catches the rule without what came of it, and factors drawn among the losses."""
    folder = made(tmp_path, extrapolate=True)
    sizes = (2.0, 1.0, 2.5, 1.5, 2.0)
    rows = [
        {**row, "step_size.decoder": size, "step_size.encoder": 1.25}
        for row, size in zip(ROWS, sizes, strict=False)
    ]
    write_log(folder / LOG, [*rows, ROWS[-1]])
    (one,) = trainings(read_study(folder))
    said = dict(one.facts)["extrapolation"]
    assert said.endswith("number of hospitals (as logged, decoder 1.00 to 2.50; encoder 1.25)")
    assert "step_size" not in write_study_report(folder, site_pages="left out").read_text()
    write_log(folder / LOG, ROWS)  # as of before factors were logged
    (one,) = trainings(read_study(folder))
    assert dict(one.facts)["extrapolation"].endswith("half the number of hospitals")


def test_no_section_where_nothing_was_trained(tmp_path: Path) -> None:
    """Catches an empty heading in every report of ComBat."""
    page = write_study_report(write_study(tmp_path, metrics=SUMS_ALONE), site_pages="left out")
    assert 'id="training"' not in page.read_text()


def test_an_array_is_one_row(tmp_path: Path) -> None:
    """Catches thousands of rows, and arrays of a training without a meaning."""
    (row,) = leaving(read_study(made(tmp_path))).arrays
    assert (row.array, row.times, row.sites) == ("decoder", 5, "all")
    assert row.meaning == "decoder: what it changed by"
    masked = dict(leaving(read_study(made(tmp_path / "m", leaves="masked"))).classes)["masked"]
    assert "changes of networks" in masked


@pytest.mark.parametrize(
    ("train", "said", "doi"),
    [
        ({}, "averaged by samples (FedAvg [", "10.48550/arXiv.1602.05629"),
        (
            {"local_rate": 2.0},
            "with 2 times the learning rate, and their changes",
            "arXiv.1602.05629",
        ),
        ({"server": "fedprox"}, "proximal term (mu = 0.01)", "10.48550/arXiv.1812.06127"),
        ({"server": "scaffold"}, "what all hospitals' gradients were", "10.48550/arXiv.1910.06378"),
        ({"server": "fedadam"}, "a step of Adam (learning rate 0.01)", "arXiv.2003.00295"),
        (
            {"extrapolate": True},
            "hospitals' mean squared change",
            "10.48550/arXiv.2301.09604",
        ),
        ({"mode": "exact"}, "gradients were summed and one step was taken", "arXiv.1912.01703"),
    ],
)
def test_methods_text(train: dict[str, Any], said: str, doi: str, tmp_path: Path) -> None:
    """Catches a paragraph from which nobody could train again, and a strategy without its paper."""
    text = methods_text(read_study(made(tmp_path, **train)), None)
    assert said in text.paragraph
    assert (
        "100\u00a0steps in 6\u00a0exchanges, batches of at most 64 over all hospitals"
        in text.paragraph
    )
    assert "kept: those after 40\u00a0steps" in text.paragraph
    assert "PyTorch 2.13.0 [" in text.paragraph
    assert doi in text.bibtex
    assert "train:" not in text.paragraph
    papers = ("mcmahan2017", "li2020federated", "reddi2021", "karimireddy2020")
    assert sum(f"{{{key}" in text.bibtex for key in papers) == ("exact" not in train.values())


def test_scales_of_the_figure() -> None:
    """Catches a loss below zero on a logarithmic axis, and a figure of nothing."""
    steps, none = np.arange(1.0, 5.0), (np.zeros(0), np.zeros(0))
    assert not losses({}, none, title="t", kept=None, name="n")
    for values in ([1.0, -1.0, 2.0, 0.0], [1e-3, 1.0, 10.0, 1e4], [2.0, 2.0, 2.0, 2.0]):
        found = losses({"a": (steps, np.array(values))}, none, title="t", kept=None, name="n")
        assert "nan" not in found.lower().replace("nance", "")


def test_a_deployed_study_of_before(tmp_path: Path) -> None:
    """Catches a report that fails where the log is not there, as after an upgrade."""
    (made(tmp_path) / LOG).unlink()
    study = read_study(tmp_path)
    assert trainings(study) == ()
    assert "PyTorch" in methods_text(study, None).paragraph


def test_the_first_sentence_says_that_changes_of_networks_left(tmp_path: Path) -> None:
    """Catches a report that promises sums and estimates where networks' changes left."""
    first, *_ = summary(read_study(made(tmp_path)), "DeepComBat")
    assert "what left are changes of networks, listed below" in first
    first, *_ = summary(read_study(made(tmp_path, leaves="masked")), "DeepComBat")
    assert "what left are changes of networks, listed below" in first
