"""The evaluation as phases: who takes part, what is received, and what happens to the lost."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases import Case, case
from conformance.federation import Alter, Federation
from conformance.hostile import arrays, on, with_entry
from motet.client.planned import Planned
from motet.config import Evaluation
from motet.errors import ReleaseRefusedError, SchemaError, StudyFileError
from motet.evaluation import steps
from motet.flower.records import decode
from motet.server import Outcome
from motet.server.command import submit
from motet.server.events import Kind
from motet.server.home import ServerHome

ASKED = {"metrics": "summed", "held_out": 0.3}
STUDY = replace(case(n=(20, 22, 18, 21), p=5), evaluation=ASKED)
BAD = "site-b2"
ROUNDS = ["evaluation_people", "evaluation_moments", "evaluation_probes", "evaluation_readings"]


def fit_bits(outcome: Outcome) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in sorted(outcome.shared.items())}


@cache
def unjudged() -> tuple[dict[str, bytes], bytes]:
    """The study without an evaluation: its model, and everybody's harmonized values."""
    federation = Federation(replace(STUDY, evaluation={"metrics": "none", "held_out": 0.3}))
    return fit_bits(federation.run()), federation.values.tobytes()


def only_in(phase: str, alter: Alter) -> Alter:
    """Misbehave in one phase only."""

    def altered(request: Any, answer: Any) -> Any:
        envelope, _ = decode(request.content)
        return alter(request, answer) if envelope.phase == phase else answer()

    return altered


def left_in_peace(federation: Federation, outcome: Outcome, code: str) -> None:
    """The site is out of the evaluation, named, and everything else is as without an evaluation."""
    assert outcome.unjudged == {BAD: code}
    assert outcome.missing == {}
    assert (fit_bits(outcome), federation.values.tobytes()) == unjudged()
    assert outcome.judgement is not None
    assert any(BAD in note and code in note for note in outcome.judgement.notes)
    assert [(e.site, e.code) for e in federation.events if e.kind is Kind.UNJUDGED] == [(BAD, code)]


@pytest.mark.parametrize("phase", ROUNDS)
def test_site_lost_in_the_evaluation(phase: str) -> None:
    """Catches a model made anew, or taken away, since somebody was not there to be judged; and
    figures that still hold what the lost site sent before."""
    liar = only_in(phase, on("train.phase", arrays(lambda honest: honest | {"x": np.zeros(2)})))
    federation = Federation(STUDY, alter={BAD: liar})
    outcome = federation.run()
    left_in_peace(federation, outcome, "invalid-reply")
    counts = {batch["site"]: batch["fit"] for batch in outcome.batches}
    assert counts[BAD] == 0
    assert all(count > 0 for site, count in counts.items() if site != BAD)
    n = sum(batch["held_out"] for batch in outcome.batches)
    assert outcome.judgement is not None
    assert outcome.judgement.n == n


def test_site_that_raises_in_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an exception at a site that ends the study when everybody has harmonized."""
    federation, honest = Federation(STUDY), Planned._judged

    def failing(planned: Planned, *asked: Any) -> Any:
        if planned.site.name == BAD:
            raise OSError
        return honest(planned, *asked)

    monkeypatch.setattr(Planned, "_judged", failing)
    left_in_peace(federation, federation.run(), "site-failed")


def test_nobody_left_to_judge() -> None:
    """Catches the sums of a single site taken for those of a federation."""
    liar = only_in("evaluation_moments", on("train.phase", arrays(lambda honest: {})))
    lost = dict.fromkeys(("site-b0", "site-b1", BAD), liar)
    outcome = Federation(STUDY, alter=lost).run()
    assert outcome.judgement is None
    assert set(outcome.unjudged) == set(lost)
    assert fit_bits(outcome) == unjudged()[0]
    assert {batch["fit"] for batch in outcome.batches} == {None}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("phase", "name", "value"),
    [
        ("evaluation_people", "sum_y", 1e119),
        ("evaluation_moments", "yy_within", 1e119),
        ("evaluation_moments", "xx", -1e119),
        ("evaluation_probes", "ff_within", 1e119),
        ("evaluation_probes", "tt", 1e119),
        ("evaluation_readings", "ee", 1e119),
    ],
)
def test_absurd_numbers_do_not_touch_the_study(phase: str, name: str, value: float) -> None:
    """Catches a finite lie in an evaluation that ends a study which is otherwise done."""
    liar = only_in(phase, on("train.phase", with_entry(name, value)))
    outcome = Federation(STUDY, alter={BAD: liar}).run()
    assert fit_bits(outcome) == unjudged()[0]
    assert outcome.missing == {}


def test_gate_refuses_what_the_evaluation_does_not_declare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches an evaluation that could send rows of people past the gate."""
    honest = steps.send_moments
    monkeypatch.setattr(
        steps, "send_moments", lambda *asked: {**honest(*asked), "rows": np.zeros((9, 5))}
    )
    federation = Federation(STUDY)
    outcome = federation.run()
    assert outcome.judgement is None
    refused = [error for _, error in federation.errors]
    assert len(refused) >= 2
    assert all(isinstance(error, ReleaseRefusedError) for error in refused)
    assert "rows" in str(refused[0])


def test_payloads_do_not_depend_on_the_number_of_people() -> None:
    """Catches an array with a row a person; and conclusions sent to sites that need none."""
    sizes = []
    for n in (20, 60):
        study = replace(case(n=(n, n, n), p=5), evaluation=ASKED)
        federation = Federation(study)
        federation.run()
        sizes.append(
            sorted(
                (s.site, s.envelope.phase, name, array.shape, array.dtype.name)
                for s in federation.sent
                if s.action == "train.phase"
                for name, array in decode(s.reply.content)[1].arrays.items()
            )
        )
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) > 100


def test_private_conclusions_stay_at_the_coordinator() -> None:
    """Catches results of the evaluation broadcast to every hospital."""
    seen: list[str] = []

    def listening(request: Any, answer: Any) -> Any:
        seen.extend(decode(request.content)[1].arrays)
        return answer()

    Federation(STUDY, alter={BAD: listening}).run()
    assert "centre" in seen
    assert not [name for name in seen if name.startswith("judged/")]


def test_received_is_what_was_accepted() -> None:
    """Catches a list of releases that is copied from the plan instead of what came."""
    federation = Federation(STUDY)
    outcome = federation.run()
    came: dict[tuple[str, str, str], int] = {}
    for sent in federation.sent:
        if sent.action == "train.phase":
            for name, array in decode(sent.reply.content)[1].arrays.items():
                came[sent.site, sent.envelope.phase, name] = array.nbytes
    listed = {
        (entry["site"], entry["phase"], entry["array"]): entry["bytes"]
        for entry in outcome.received
        if entry["class"] != "schema"
    }
    assert listed == came
    assert all(entry["times"] == 1 for entry in outcome.received)
    described = [entry["site"] for entry in outcome.received if entry["class"] == "schema"]
    assert described == sorted(federation.tables)


# Unseen sites


def with_unseen(*names: str, **more: Any) -> Case:
    return replace(STUDY, evaluation={**ASKED, "unseen": names, **more})


def test_unseen_site_takes_no_part_in_the_fit() -> None:
    """Catches an unseen site whose people are in the sums, or whose levels and batches are in the
    agreement: the model must be that of the others, to the bit."""
    federation = Federation(with_unseen(BAD))
    outcome = federation.run()
    others = {site: t for site, t in STUDY.tables().items() if site != BAD}
    without = Federation(STUDY, others)
    assert fit_bits(outcome) == fit_bits(without.run())
    asked = federation.asked("train.phase")
    assert [phase for site, phase in asked if site == BAD] == ROUNDS
    assert BAD not in outcome.plan.schema.sites
    for site, table in others.items():
        here, there = (f.values[table.rows].tobytes() for f in (federation, without))
        assert here == there, site
    roles = {batch["site"]: batch["role"] for batch in outcome.batches}
    assert roles == {**dict.fromkeys(others, "fit"), BAD: "unseen"}
    count = next(batch for batch in outcome.batches if batch["site"] == BAD)
    assert (count["fit"], count["held_out"]) == (0, len(STUDY.tables()[BAD]))


def test_unseen_site_is_harmonized_as_apply_does() -> None:
    """Catches an unseen site left raw, or adjusted in another way than a later newcomer."""
    from motet.client.apply import harmonized

    federation = Federation(with_unseen(BAD))
    outcome = federation.run()
    table = federation.tables[BAD]
    expected = np.empty((len(table), 5))
    for rows, block in harmonized(
        table,
        method=outcome.plan.harmonizer,
        params=outcome.plan.params,
        schema=outcome.plan.schema.of_the_fit,
        shared=outcome.shared,
        model=None,
    ):
        expected[rows] = block
    np.testing.assert_array_equal(federation.values[table.rows], expected)
    model = federation.workers[BAD].model
    assert model is not None
    assert model.batches == ("b2",)


def test_unseen_site_that_is_lost_changes_nothing() -> None:
    """Catches a quorum or a restart that counts on a site which only joins later."""
    federation = Federation(with_unseen(BAD))

    def failing(*asked: Any) -> Any:
        raise OSError

    federation.workers[BAD].finish = failing  # type: ignore[method-assign]
    outcome = federation.run(quorum=3)
    assert outcome.missing == {BAD: "site-failed"}
    assert outcome.judgement is not None
    assert fit_bits(outcome) == fit_bits(Federation(with_unseen(BAD)).run())


def test_unseen_site_that_is_not_there() -> None:
    """Catches a report that does not say who was to be judged and did not come."""
    outcome = Federation(with_unseen("site-b9")).run()
    assert outcome.missing == {"site-b9": "not-connected"}


def test_unseen_site_with_a_level_nobody_else_has() -> None:
    """Catches a person of an unknown level taken for the first level."""
    covariates = STUDY.covariates.copy()
    covariates.loc[np.flatnonzero(STUDY.batch == "b2")[0], "dx"] = "FTD"
    study = replace(with_unseen(BAD), covariates=covariates)
    with pytest.raises(SchemaError, match="FTD") as error:
        Federation(study).run()
    assert BAD in str(error.value)


def test_evaluation_goes_on_in_another_process(tmp_path: Path) -> None:
    """Catches a site whose process was replaced in the middle and that has nothing to judge."""
    whole = Federation(STUDY).run()
    federation = Federation(STUDY, folder=tmp_path)
    old = federation.workers[BAD]
    fresh = Federation(STUDY, folder=tmp_path).workers[BAD]
    honest = old.phase
    agreed = {"study": federation.study.public()}

    def taken_up(path: str, shared: Any, plan: str, **told: Any) -> Any:
        if path != "evaluation_probes":
            return honest(path, shared, plan, **told)
        run = old.planned(plan)
        prepared = {"schema": run.plan.schema.without_features(), "done": []}
        fresh.take_up(agreed, prepared, plan, path)
        federation.workers[BAD] = fresh
        return fresh.phase(path, shared, plan, **told)

    old.phase = taken_up  # type: ignore[method-assign]
    outcome = federation.run()
    assert not outcome.unjudged, federation.errors
    assert outcome.judgement is not None
    assert whole.judgement is not None
    assert outcome.judgement.to_json() == whole.judgement.to_json()
    assert not (tmp_path / BAD / ".shared.npz").exists()


def test_metrics_none_sends_nothing_more() -> None:
    """Catches an evaluation that runs although nobody asked for it."""
    study = replace(STUDY, evaluation={"metrics": "none"})
    federation = Federation(study)
    outcome = federation.run()
    assert outcome.judgement is None
    assert {phase for _, phase in federation.asked("train.phase")} == {"moments"}
    assert Evaluation().metrics == "full"


def test_a_deployed_study_refuses_what_a_simulation_alone_can_say(tmp_path: Path) -> None:
    """Catches a study that runs for days and is not judged."""
    file = tmp_path / "study.yaml"
    file.write_text("study: a\nmethod: combat\nevaluation: {metrics: uncontrolled}\n")
    with pytest.raises(StudyFileError, match="judges a simulation") as error:
        submit(ServerHome(tmp_path), file, out=tmp_path / "out", wait=1.0)
    assert error.value.where["file"] == str(file)
