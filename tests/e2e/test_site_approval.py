"""A data manager's commands: what is asked, what would leave, the word for it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from e2e.consortium import SITES, consortium, motet, refused, succeeded
from motet.client.home import open_home
from motet.config import load_study, parse_study
from motet.plan import Plan, build_plan
from motet.sites import agreed, open_sites


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """The folder of a site that was asked for a study, and the plan."""
    folder = tmp_path_factory.mktemp("approval")
    kept = {"age": {"knots": [40, 55], "bounds": [20, 80]}, "sex": "categorical"}
    file = consortium(
        folder,
        evaluation={"held_out": 0.2, "metrics": "summed"},
        n=24,
        params={"covariates": kept},
    )
    succeeded("server", "init", folder / "coordinator")
    home = folder / "site"
    succeeded(
        *("site", "init", home, "--name", SITES[0], "--data", folder / "data" / SITES[0]),
        *("--coordinator", folder / "coordinator/coordinator.yaml"),
    )
    study = load_study(file)
    plan = build_plan(study, agreed(study, open_sites(study)))
    open_home(home).pending.keep(plan, study.public())
    return home, plan


def test_from_the_question_to_the_word(asked: tuple[Path, Plan]) -> None:
    """Catches a command that does not find what the one before it printed, counts that are not
    those of the site, and a word that is not on record."""
    home, plan = asked
    assert "not approved" in succeeded("site", "studies", home)
    shown = succeeded("site", "preview", home, plan.hash[:12])
    curve = ("age (natural cubic spline, knots 40, 55,", "age above 40: ", " in effect, ")
    for words in ("sum_y", "evaluation_moments", " people", "leverage", *curve):
        assert words in shown
    assert "The policy would refuse" in shown  # few people are held out
    assert "held out, fewer than 10" in shown
    assert "The plan is not approved" in shown
    refused(
        motet("site", "approve", home, plan.study, "--purpose", "x"), "This purpose is too short"
    )
    approving = ("site", "approve", home, plan.study, "--purpose", "research", "--until")
    refused(motet(*approving, "soon"), "is no day")
    refused(motet(*approving, "2001-01-01"), "is past")
    refused(motet("site", "approve", home, "another", "--purpose", "research"), "no plan")
    said = succeeded("site", "approve", home, plan.study, "--purpose", "cortical thickness")
    assert plan.hash[:12] in said
    assert "approved" in succeeded("site", "studies", home).replace("not approved", "")
    succeeded("site", "override", home, plan.study, "--reason", "a pilot, ethics 12/2027")
    succeeded("site", "revoke", home, plan.hash[:8], "--reason", "consent withdrawn")
    assert "revoked" in succeeded("site", "studies", home)
    ledger = succeeded("site", "ledger", "show", home)
    for words in ("approval", "override", "revocation"):
        assert words in ledger
    assert "is whole" in succeeded("site", "ledger", "verify", home)


def test_who_approves_is_told_of_far_ages(asked: tuple[Path, Plan]) -> None:
    """Catches a mistyped age that bends everybody's slopes, and a preview that keeps it quiet."""
    home, plan = asked
    assert "far from everybody's" not in succeeded("site", "preview", home, plan.study)
    file = open_home(home).settings.data / "participants.tsv"
    before = file.read_text()
    people = pd.read_csv(file, sep="\t")
    people.loc[3, "age"] = 950.0
    people.to_csv(file, sep="\t", index=False)
    shown = succeeded("site", "preview", home, plan.study)
    file.write_text(before)
    who = people.participant_id[3]
    assert f"note: 'age' of {who} (950) is far from everybody's" in shown


def test_who_approves_is_told_of_exchanges_of_few(asked: tuple[Path, Plan]) -> None:
    """Catches a training that all approve, and that a policy stops after its first sums."""
    home, plan = asked
    pending = open_home(home).pending
    train = {"preset": "tiny", "local_steps": 3}
    for batch, said in ((8, True), (200, False)):
        study = parse_study({**pending.find(plan.study).document["study"], "method": "deepcombat"})
        study = study.model_copy(
            update={"study": f"of {batch}", "train": {**train, "batch": batch}}
        )
        trained = build_plan(study, plan.schema)
        pending.keep(trained, study.public())
        shown = " ".join(succeeded("site", "preview", home, trained.study).split())
        words = "If each had 18: about 7.71 samples are trained on in an exchange of 'cvae'"
        assert (words in shown) is said


def test_one_page_for_the_ethics_board(asked: tuple[Path, Plan], tmp_path: Path) -> None:
    """Catches a page without what leaves, who reads it, or what is not promised; longer than one;
    and a file that is overwritten."""
    home, plan = asked
    file = tmp_path / "statement.md"
    succeeded("site", "statement", home, plan.study, "--out", file)
    text = file.read_text()
    for words in (
        "Johnson, Li, Rabinovic 2007",
        "- sum: sums over people of this hospital",
        "- moments: the coordinator reads the sum over sites, and no site's own",
        "Sums are masked",
        "- evaluation_probes: ",
        "fewer than 10 people",
        "that fewer than 5 people, in effect, make up",
        "age (natural cubic spline, knots 40, 55,",
        "Not promised",
        plan.hash,
    ):
        assert words in text
    assert len(text.splitlines()) < 60
    assert all(name not in text for name in ("sub-", SITES[1]))
    refused(motet("site", "statement", home, plan.study, "--out", file), "a file of this name")


def test_keys_are_compared(asked: tuple[Path, Plan]) -> None:
    """Catches a fingerprint that is taken though nobody can have read it, or for nobody."""
    home, _ = asked
    name, own = succeeded("site", "peers", home).splitlines()[0].split()
    assert (name, len(own)) == (SITES[0], 64)
    for words, expected in (
        (("--accept", "guys"), "go together"),
        (("--accept", "guys", "--fingerprint", "as he said"), "no fingerprint"),
        (("--accept", SITES[0], "--fingerprint", own), "no other site"),
    ):
        refused(motet("site", "peers", home, *words), expected)
    read_out = f"{own[:4].upper()} {own[4:8]} {own[8:12]} {own[12:16]}"
    succeeded("site", "peers", home, "--accept", "guys", "--fingerprint", read_out)
    (row,) = [line for line in succeeded("site", "peers", home).splitlines() if "guys" in line]
    assert own[:16] in row
    assert f"key of guys: {own[:16]}" in " ".join(succeeded("site", "ledger", "show", home).split())


def test_settings_that_cannot_be(asked: tuple[Path, Plan]) -> None:
    """Catches a policy with a slip of the pen that is taken for the default."""
    home, _ = asked
    file = home / "site.yaml"
    before = file.read_text()
    try:
        for section, words in (
            ({"policy": {"smalest_n": 3}}, "Did you mean 'smallest_n'?"),
            ({"policy": {"leverage": 2}}, "leverage"),
            ({"approve_automatically": [{"purpose": "all"}]}, "until"),
        ):
            file.write_text(yaml.safe_dump(yaml.safe_load(before) | section))
            refused(motet("site", "studies", home), words)
    finally:
        file.write_text(before)


def test_nothing_asked(tmp_path: Path, asked: tuple[Path, Plan]) -> None:
    """Catches a traceback where no study came yet."""
    coordinator = asked[0].parent / "coordinator/coordinator.yaml"
    data = asked[0].parent / "data" / SITES[0]
    home = tmp_path / "new"
    words = ("--name", "new", "--data", data, "--coordinator", coordinator)
    succeeded("site", "init", home, *words)
    assert "Nothing was asked for yet" in succeeded("site", "studies", home)
    refused(motet("site", "preview", home, "x"), "Nothing was asked for yet")
