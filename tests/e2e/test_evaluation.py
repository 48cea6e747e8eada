"""A simulated study's evaluation, as files and as printed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import motet
from conformance.ledgers import released
from conftest import leave_undrawn
from e2e.consortium import (
    FEATURES,
    SITES,
    consortium,
    files,
    people_of,
    refused,
    succeeded,
    write_site,
)
from e2e.consortium import motet as run
from motet.evaluation.files import read_judgements

SUMMED = {"held_out": 0.3, "metrics": "summed"}


def metrics_of(out: Path) -> dict:
    return json.loads((out / "metrics.json").read_text())


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study with everything, one site of it unseen, and its pages."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("full")
    asked = {"held_out": 0.3, "metrics": "full", "unseen": ["dune"], "permutations": 20}
    asked["by_batch"] = True
    path = consortium(
        folder,
        sites=(*SITES, "dune"),
        n=40,
        scanners={"birch": ("prisma", "vida")},
        evaluation=asked,
    )
    with pytest.MonkeyPatch.context() as small:
        small.setattr("motet.evaluation.battery.probes.TREES", 20)
        small.setattr("motet.evaluation.battery.batch_effect.NOISE", 400)
        leave_undrawn(small)
        return folder, succeeded("simulate", path, "--out", folder / "out", "--reports", "now")


def test_files_of_a_judged_study(full: tuple[Path, str]) -> None:
    """Catches a file that the reports read and nobody writes, or that tells of other figures."""
    folder, printed = full
    out = folder / "out"
    document = metrics_of(out)
    assert set(document["judgements"]) == {"sums", "simulation"}
    assert document["site_effect"]["people"] == "held out"
    judged = read_judgements(out, document)
    for source, judgement in judged.items():
        assert judgement.source == source
        assert judgement.arrays["harmonized/eta2"].shape == (len(FEATURES),)
    assert judged["sums"].n == judged["simulation"].n
    for name in ("anova_share", "batch_eta2", "covariates_r2", "effect_slope_age"):
        for version in ("raw", "local_only", "harmonized"):
            values = [j.metric(name).readings[version].value for j in judged.values()]
            assert values[0] == pytest.approx(values[1], rel=1e-7), name
    pooled = judged["simulation"].metric("batch_eta2").readings
    assert pooled["pooled"].value == pytest.approx(pooled["harmonized"].value, rel=1e-7)
    assert judged["simulation"].has("invented_effect_share_age")
    shown = judged["simulation"].metric("site_accuracy_random_forest").readings["raw"].value
    assert f"{shown:.3f}" in printed
    for site in (*SITES, "dune"):
        assert (out / "sites" / site / "report.html").is_file()
    assert (out / "report.html").is_file()


def test_run_json(full: tuple[Path, str]) -> None:
    """Catches a record that says another thing than the files beside it."""
    out = full[0] / "out"
    document = json.loads((out / "run.json").read_text())
    plan = json.loads((out / "plan.json").read_text())
    manifest = json.loads((out / "shared/manifest.json").read_text())
    assert document["plan"] == plan["hash"]
    assert document["model"] == manifest["sha256"]
    assert (document["mode"], document["method"], document["seed"]) == ("simulation", "combat", 1)
    assert set(document["versions"]) == {"python", "numpy", "flwr"}
    roles = {(b["site"], b["batch"]): b["role"] for b in document["batches"]}
    assert roles["dune", "dune"] == "unseen"
    assert roles["birch", "vida"] == "fit"
    assert sum(b["fit"] + b["held_out"] for b in document["batches"]) == 160
    assert document["people"] == sum(b["fit"] for b in document["batches"])
    for site in (*SITES, "dune"):
        left = {
            (entry["phase"], array["name"], array["bytes"])
            for entry in released(out / "sites" / site)
            for array in entry.get("arrays", ())
        }
        came = {
            (entry["phase"], entry["array"], entry["bytes"])
            for entry in document["received"]
            if entry["site"] == site and entry["class"] != "schema"
        }
        assert came == left
    assert {e["phase"] for e in document["received"] if e["site"] == "dune"} == {
        "schema",
        *(phase["name"] for phase in plan["evaluation"]),
    }


def test_unseen_site_is_as_apply_makes_it(full: tuple[Path, str], tmp_path: Path) -> None:
    """Catches an unseen site in the model, or one that 'motet apply' would treat otherwise."""
    folder = full[0]
    site = folder / "out/sites/dune"
    model = ("participant", "--model", folder / "out/shared")
    succeeded("apply", folder / "data/dune", tmp_path / "new", *model)
    for name in ("features.tsv", "participants.tsv"):
        assert (tmp_path / "new" / name).read_bytes() == (site / "harmonized" / name).read_bytes()
    assert {
        line.split("\t")[1] for line in (site / "cohort.tsv").read_text().split("\n")[1:-1]
    } == {"unseen"}
    known = ("participant", "--model", folder / "out", "--site", "dune")
    assert "from 40 people" not in succeeded("apply", folder / "data/dune", tmp_path / "k", *known)
    assert (tmp_path / "k/features.tsv").read_bytes() == (
        site / "harmonized/features.tsv"
    ).read_bytes()


def test_plan_prints_the_evaluation(full: tuple[Path, str]) -> None:
    """Catches releases of an evaluation that nobody is shown before."""
    printed = succeeded("plan", full[0] / "study.yaml")
    for name in ("evaluation_people", "evaluation_moments", "evaluation_probes", "confusion"):
        assert name in printed
    assert "a batch's row is one site's" in " ".join(printed.split())


def test_model_does_not_depend_on_the_judgement(tmp_path: Path) -> None:
    """Catches evaluation results, or their schema, in the shared model."""
    made = []
    for name, asked in (
        ("plain", {"held_out": 0.3}),
        ("judged", {**SUMMED, "unseen": ["dune"], "biology": ["site_age"]}),
    ):
        folder = tmp_path / name
        path = consortium(folder, sites=(*SITES, "dune"), evaluation=asked)
        for site in (*SITES, "dune"):
            file = folder / "data" / site / "participants.tsv"
            head, *rows = file.read_text().splitlines()
            lines = [f"{head}\tsite_age", *(f"{r}\t{i % 7}" for i, r in enumerate(rows))]
            file.write_text("\n".join(lines) + "\n")
        if name == "plain":
            path.write_text(path.read_text().replace("  dune: data/dune\n", ""))
        made.append(motet.simulate(path))
    plain, judged = made
    for array in plain.shared:
        assert plain.shared[array].tobytes() == judged.shared[array].tobytes()
    for site in SITES:
        assert plain.values[site].tobytes() == judged.values[site].tobytes()
    assert judged.judgements["sums"].has("r2_site_age")
    assert judged.judgements["sums"].has("effect_kept_site_age")
    assert judged.schema.columns == ("age", "sex=M")


BAD = {
    "not a site": ({"unseen": ["brich"]}, ("evaluation.unseen", "brich", "Did you mean 'birch'?")),
    "too few left": ({"unseen": ["ash", "birch"]}, ("evaluation.unseen", "cedar")),
    "no such column": ({"biology": ["diagnosis"]}, ("diagnosis", "not a column")),
    "one level": ({"biology": ["language"]}, ("language", "evaluation.biology")),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_evaluation(what: str, tmp_path: Path) -> None:
    """Catches a slip in the evaluation section that is found late, or not said in a sentence."""
    asked, named = BAD[what]
    path = consortium(tmp_path, evaluation=asked)
    for site in SITES:
        people, values = people_of(site, 16)
        write_site(tmp_path / "data" / site, people.assign(language="latin"), values)
    before = files(tmp_path)
    refused(run("simulate", path, "--out", tmp_path / "out"), *named)
    refused(run("plan", path), *named)
    assert files(tmp_path) == before


def test_folder_of_the_study_with_another_unseen_site(tmp_path: Path) -> None:
    """Catches results of a site that took part left beside those of a run without it."""
    sites = (*SITES, "dune")
    path = consortium(tmp_path, sites=sites, evaluation=SUMMED)
    succeeded("simulate", path, "--out", tmp_path / "out")
    consortium(tmp_path, sites=sites, evaluation={**SUMMED, "unseen": ["dune"]})
    refused(run("simulate", path, "--out", tmp_path / "out"), "other sites")


@pytest.mark.parametrize("module", ["sklearn", "jinja2"])
def test_without_an_extra(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a study that fails at its end since a package of an extra is not there."""
    honest = __import__("importlib.util").util.find_spec

    def without(name: str, *more: object) -> object:
        return None if name.split(".")[0] == module else honest(name, *more)

    for place in ("motet.evaluation.battery.needs", "motet.report.needs"):
        monkeypatch.setattr(f"{place}.find_spec", without)
    asked = {"metrics": "full" if module == "sklearn" else "none"}
    path = consortium(tmp_path, evaluation=asked)
    when = "later" if module == "sklearn" else "now"
    printed = succeeded("simulate", path, "--out", tmp_path / "out", "--reports", when)
    assert printed.count("pip install 'motet[report]'") == 1
    document = metrics_of(tmp_path / "out")
    assert set(document["judgements"]) == ({"sums"} if module == "sklearn" else set())
    assert not (tmp_path / "out/report.html").exists()
    assert np.isfinite(document["site_effect"]["raw"]["batch_eta2"])
