"""References, numbers and figures by themselves."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from motet import registry
from motet.evaluation.result import Judgement, Metric, Reading
from motet.report.figures.distributions import estimate
from motet.report.figures.effects import effects
from motet.report.methods_text import methods_text, options
from motet.report.read import read_study
from motet.report.references import Citations, of_paper
from motet.report.site_figures import _effect
from motet.report.summary import summary
from motet.report.words import fixed, joined, number, percent, size
from motet.schema import Covariate, Schema
from motet.spline import Spline
from report.made_up import write_study


def test_papers_of_all_methods() -> None:
    """Catches a method whose references come out without authors, or with keys that clash."""
    for name in registry.methods().names():
        cited = Citations()
        papers = [of_paper(line) for line in registry.methods().get(name).card.papers]
        cited.cite(*papers)
        keys = [line for line in cited.bibtex.splitlines() if line.startswith("@")]
        assert len(set(keys)) == len(papers)
        if name == "combat":
            assert cited.bibtex.count("author = {") == 3
            assert "doi = {10.1016/j.neuroimage.2017.11.024}" in cited.bibtex


def test_unknown_paper() -> None:
    """Catches a paper that is not known here and gets lost."""
    paper = of_paper("Müller & Söhne 2031, J. of X 3:4, doi:10.1234/ab_c.5.")
    assert (paper.key, paper.doi) == ("müller2031", "10.1234/ab_c.5")
    assert "Müller \\& Söhne 2031" in paper.bibtex


def test_a_curve_is_in_the_methods_section(tmp_path: Path) -> None:
    """Catches knots that nobody could repeat a study with, and a basis without a reference."""
    curve = Covariate(name="age", kind="continuous", spline=Spline(knots=(40,), bounds=(20, 80)))
    study = read_study(write_study(tmp_path))
    kept = Schema(features=("f",), units=("",), covariates=(curve,), batches=()).to_json()
    schema = {**study.plan["schema"], "covariates": kept["covariates"]}
    study = replace(study, plan={**study.plan, "schema": schema})
    text = methods_text(study, None)
    said = "age (natural cubic spline, knots 40, linear below 20 and above 80)"
    assert said in text.paragraph
    assert "10.1007/978-0-387-84858-7" in text.bibtex


@pytest.mark.parametrize(
    ("people", "name", "why"),
    [
        (
            "all (fitted on them)",
            "site_accuracy_lda",
            "as happens when people are judged that the fit has",
        ),
        ("held out", "site_accuracy_lda", "as happens when a probe learns from people that the"),
        ("held out", "anova_share", "chance gives."),
    ],
)
def test_less_than_chance_is_explained_by_what_was_judged(
    tmp_path: Path, people: str, name: str, why: str
) -> None:
    """Catches people who were held out told to be of the fit."""
    low = Reading(value=0.01, band=(0.02, 0.2), n=54)
    metric = Metric(
        name=name,
        title="It",
        aim="site_effect",
        better="chance",
        chance=0.1,
        readings={"harmonized": low},
    )
    found = Judgement(source="sums", people=people, n=54, features=4, metrics=(metric,))
    study = read_study(write_study(tmp_path, metrics={"judgements": {"sums": found.to_json()}}))
    (sentence,) = (s for s in summary(study, "ComBat") if s.startswith("Below chance"))
    assert why in sentence


@pytest.mark.parametrize(
    ("method", "params", "read", "unread"),
    [
        ("murd", {"train": {"mode": "exact"}}, "planes: ", "adversary steps"),
        ("murd", {"train": {"mode": "local"}}, "adversary steps: 10", "covariates"),
        ("mispel", {"mode": "hub", "hub": "ash"}, "hub: ash", "stride"),
        ("mispel", {"mode": "sites", "travelers": ["T1"]}, "stride: 4", "hub"),
    ],
)
def test_options_without_an_effect_are_not_told(
    method: str, params: dict[str, Any], read: str, unread: str, tmp_path: Path
) -> None:
    """Catches Methods that tell of an interval of exchanges where every step is one."""
    study = read_study(write_study(tmp_path))
    params = registry.methods().get(method).params_type(**params).model_dump(mode="json")
    said = options(replace(study, plan={**study.plan, "method": method, "params": params}))
    assert read in said
    assert unread not in said


def test_numbers() -> None:
    """Catches a minus that is a hyphen, a lost decimal, and e-notation."""
    assert [number(v) for v in (0, -0.01234, 1.5e-9)] == ["0", "−0.0123", "1.5·10⁻⁹"]
    assert [fixed(v) for v in (-0.001, -1.5)] == ["0.00", "−1.50"]
    assert [percent(v) for v in (0.3162, 0.056, 0.05, 1.0)] == [
        "32\u202f%",
        "5.6\u202f%",
        "5\u202f%",
        "100\u202f%",
    ]
    assert [size(n) for n in (12, 2740, 5_000_000)] == ["12\u202fB", "2.7\u202fkB", "5.0\u202fMB"]
    assert joined(["a", "b", "c"]) == "a, b and c"


def test_effects_beside_a_latent_space_are_called_what_is_left() -> None:
    """Catches residual shifts of a network's batches read as the whole effect of a scanner."""
    own = {"gamma_star": np.ones((2, 4))}
    latent = {"latent.gamma_star": np.ones((2, 3))}
    titles = [str(_effect("s", "gamma_star", model, ("x", "y"))) for model in (own, own | latent)]
    assert ["of what networks leave" in title for title in titles] == [False, True]


def test_figures_leave_matplotlib_alone() -> None:
    """Catches global settings that change under a user's own figures, and threads that clash."""
    before = dict(mpl.rcParams)
    rng = np.random.default_rng(0)
    found: dict[int, str] = {}

    def draw(k: int) -> None:
        values = np.random.default_rng(k).normal(size=50)
        found[k] = str(estimate(values, title="t", label="mm", name=f"f{k}"))

    threads = [threading.Thread(target=draw, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(mpl.rcParams) == before
    for k in range(4):
        values = np.random.default_rng(k).normal(size=50)
        assert found[k] == str(estimate(values, title="t", label="mm", name=f"f{k}"))
    many = effects(rng.normal(size=5000), rng.normal(size=5000), column="age", name="e")
    assert len(many) < 40_000
    assert "data:image/png" in many


@pytest.mark.parametrize("values", [np.full(5, np.nan), np.zeros(5), np.array([1e-6, 1.0, 1e6])])
def test_odd_values(values: np.ndarray) -> None:
    """Catches a figure of nothing, of one value, or across decades."""
    drawn = estimate(values, title="t", label="", name="odd")
    assert bool(drawn) == bool(np.isfinite(values).any())


def test_a_feature_whose_site_effect_grew_is_named(tmp_path: Path) -> None:
    """Catches medians that fall, and a feature among them that no longer can be compared."""
    study = read_study(write_study(tmp_path))
    assert not [s for s in summary(study, "DeepComBat") if "clearly larger than before" in s]
    for judged in study.judgements.values():
        judged.arrays["raw/eta2"][[2, 5, 7, 9]] = 0.05, 0.10, 0.10, 0.50
        judged.arrays["harmonized/eta2"][[2, 5, 7, 9]] = 0.57, 0.60, 0.25, 0.65
        # The last two are no more than what two samples of so many people differ by.
    (said,) = (s for s in summary(study, "DeepComBat") if "clearly larger than before" in s)
    assert "of 2\xa0features" in said
    assert f"most of all of {study.features[2]} (partial η² 0.05 before, 0.57 after)" in said
    for judged in study.judgements.values():
        judged.arrays["harmonized/eta2"][[2, 5]] = 0.25
    assert not [s for s in summary(study, "DeepComBat") if "clearly larger than before" in s]
