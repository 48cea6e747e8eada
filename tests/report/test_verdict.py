"""What is called good, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from motet.evaluation.result import Judgement, Metric, Reading
from motet.report.summary import _outcome, _strongest
from motet.report.tiles import _chosen
from motet.report.verdict import verdict


def judged(name: str, better: str, aim: str, after: Reading, raw: float | None = None) -> str:
    readings = {"harmonized": after}
    if raw is not None:
        readings["raw"] = Reading(value=raw)
    metric = Metric(
        name=name,
        title=name,
        aim=aim,  # type: ignore[arg-type]
        better=better,  # type: ignore[arg-type]
        chance=0.11,
        readings=readings,
    )
    found = verdict(metric, "harmonized")
    return f"{found.mark}: {found.words}"


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.12, "good: at chance"), (0.32, "bad: above chance"), (0.04, "caution: below chance")],
)
def test_probe(value: float, said: str) -> None:
    """Catches the whole-sample artefact, accuracy below chance, told as success."""
    reading = Reading(value=value, band=(0.07, 0.16))
    assert judged("site_accuracy_lda", "chance", "site_effect", reading) == said


@pytest.mark.parametrize(
    ("raw", "value", "said"),
    [
        (0.12, 0.10, ", both within what chance gives"),
        (0.50, 0.10, ", within what chance gives"),
        (0.12, 0.30, ", still more than chance gives"),
        (None, 0.10, ", within what chance gives"),
    ],
)
def test_nothing_is_claimed_where_raw_values_tell_no_site(
    raw: float | None, value: float, said: str
) -> None:
    """Catches a site effect that is said to be gone, and never was there."""
    band = (0.07, 0.16)
    readings = {"harmonized": Reading(value=value, band=band)}
    if raw is not None:
        readings["raw"] = Reading(value=raw, band=band)
    metric = Metric(
        name="site_accuracy_lda",
        title="site",
        aim="site_effect",
        better="chance",
        chance=0.11,
        readings=readings,
    )
    assert _outcome(metric) == said


def test_without_band() -> None:
    """Catches a claim that nothing supports."""
    assert judged("anova_share", "chance", "site_effect", Reading(value=0.11)) == "none: "
    reading = Reading(value=0.2, interval=(0.15, 0.25))
    assert judged("anova_share", "chance", "site_effect", reading) == "bad: above chance"


@pytest.mark.parametrize(
    ("name", "better", "aim", "value", "raw", "said"),
    [
        ("batch_eta2", "lower", "site_effect", 0.1, 0.4, "good: better"),
        ("batch_eta2", "lower", "site_effect", 0.5, 0.4, "bad: not better"),
        ("r2_age", "higher", "biology", 0.39, 0.40, "good: kept"),
        ("r2_age", "higher", "biology", 0.10, 0.40, "bad: lost"),
        ("mae_age", "lower", "biology", 9.0, 8.0, "bad: lost"),
        ("mae_age", "lower", "biology", 7.0, 8.0, "good: kept"),
        ("covariates_r2", "raw", "biology", 0.20, 0.10, "caution: more than raw"),
        ("effect_kept_age", "higher", "biology", 0.97, 1.0, "good: kept"),
        ("effect_slope_age", "raw", "biology", 0.5, 1.0, "caution: weaker"),
        ("icc_travelers", "higher", "truth", 0.9, 0.6, "good: better"),
        ("mae_to_truth", "lower", "truth", 0.9, 0.6, "bad: not better"),
        ("manova_p", "chance", "site_effect", 0.4, 1e-9, "good: at chance"),
    ],
)
def test_against_raw(name: str, better: str, aim: str, value: float, raw: float, said: str) -> None:
    """Catches a metric read in the wrong direction."""
    assert judged(name, better, aim, Reading(value=value), raw) == said


def test_few_people() -> None:
    """Catches a verdict on a number that does not exist."""
    assert judged("r2_age", "higher", "biology", Reading(value=None), 0.4) == "none: too few people"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.015, "good: at chance"),
        (0.001, "caution: below chance"),
        (0.2, "caution: less than raw"),
        (0.5, "bad: not better"),
    ],
)
def test_size_with_band(value: float, said: str) -> None:
    """Catches a site effect called gone because it shrank, though chance gives less."""
    reading = Reading(value=value, band=(0.006, 0.023))
    assert judged("batch_eta2", "lower", "site_effect", reading, 0.4) == said


@pytest.mark.parametrize(
    ("alone", "band", "said"),
    [
        (0.3, (0.07, 0.16), "caution: as covariates"),
        (0.2, (0.07, 0.16), "bad: above chance"),
        (0.3, None, "bad: above chance"),
    ],
)
def test_sites_that_differ_in_age(
    alone: float, band: tuple[float, float] | None, said: str
) -> None:
    """Catches a remaining site effect called by what the covariates tell, or the other way."""
    metric = Metric(
        name="site_accuracy_lda",
        title="",
        aim="site_effect",
        better="chance",
        chance=0.11,
        readings={
            "harmonized": Reading(value=0.25, band=(0.07, 0.16)),
            "demographics": Reading(value=alone, band=band),
        },
    )
    found = verdict(metric, "harmonized")
    assert f"{found.mark}: {found.words}" == said


@pytest.mark.parametrize("name", ["tissue_dice", "tissue_dice_T2w"])
def test_tissues_before_and_after_have_no_verdict(name: str) -> None:
    """Catches a repaired contrast that counts as lost biology, in one of two contrasts."""
    reading = Reading(value=0.8, n=30)
    assert judged(name, "higher", "biology", reading, 1.0) == "none: "


def test_one_way_to_shuffle_says_nothing() -> None:
    """Catches 'at chance' where too few people were there for chance to give anything else."""
    reading = Reading(value=0.83, band=(0.83, 0.83))
    assert judged("site_accuracy_lda", "chance", "site_effect", reading).endswith("too few people")
    assert judged("tissue_distance_gm", "lower", "site_effect", reading, 0.9).endswith(
        "too few people"
    )


@pytest.mark.parametrize("kind", ["ssim", "ssim_in_plane"])
def test_a_headline_of_images_says_how_alike_images_are(kind: str) -> None:
    """Catches `better` of measures alone, at the top of a report of images that got worse."""
    names = [f"image_{kind}_to_truth", "icc_travelers", f"image_{kind}_travelers", "anova_share"]
    readings = {"raw": Reading(value=0.85, n=30), "harmonized": Reading(value=0.25, n=30)}
    metrics = tuple(
        Metric(name=n, title=n, aim="truth", better="higher", readings=readings) for n in names
    )
    judged = Judgement(source="simulation", people="held out", n=30, features=22, metrics=metrics)
    shown = list(_chosen(judged))
    assert [m.name for m in shown] == ["anova_share", f"image_{kind}_travelers", "icc_travelers"]
    assert verdict(shown[1], "harmonized").mark == "bad"
    both = tuple(replace(m, name=f"{m.name}_T2w") for m in metrics if m.name.startswith("image_"))
    shown = list(_chosen(replace(judged, metrics=(*metrics, *both))))
    headline = f"image_{kind}_travelers"
    assert [m.name for m in shown[1:3]] == [headline, f"{headline}_T2w"]


@pytest.mark.parametrize(
    ("name", "contrasts", "said"),
    [
        ("distributions", ("T1w",), "distributions of intensities, tells"),
        ("distributions", ("T1w", "T2w"), "distributions of intensities (T1w), tells"),
        ("slices_T2w", ("T1w", "T2w"), "on slices of the images (T2w), tells"),
    ],
)
def test_the_strongest_probe_is_named(name: str, contrasts: tuple[str, ...], said: str) -> None:
    """Catches a site that T2w still tells and nobody hears of, or not of which contrast."""
    weak, strong = (
        Metric(
            name=f"site_accuracy_{probe}",
            title=probe,
            aim="site_effect",
            better="chance",
            chance=0.5,
            readings={"harmonized": Reading(value=value, band=(0.4, 0.6), n=30)},
        )
        for probe, value in (("random_forest", 0.5), (name, 0.9))
    )
    judged = Judgement(
        source="simulation", people="held out", n=30, features=22, metrics=(weak, strong)
    )
    (sentence,) = _strongest(judged, weak, contrasts)
    assert said in sentence
