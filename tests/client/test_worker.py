"""A site does what its own plan says, whatever the coordinator asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases import Case, case
from conformance.direct import Direct, direct
from conformance.federation import Federation
from conformance.ledgers import released
from conformance.toy import register_toy
from motet.client.worker import SiteWorker
from motet.config import Evaluation
from motet.errors import MotetError, PlanError, ProtocolError, ReleaseRefusedError
from motet.harmonizers._linear.fit import Fit
from motet.plan import build_plan

STUDY = case(options={"reference": "b1"}, p=4, missing=0.1)


def asked(study: Case) -> dict[str, Any]:
    return {"study": study.study.public()}


def prepared(
    study: Case, folder: Path | None = None, at: str = "site-b0"
) -> tuple[SiteWorker, Any]:
    """A worker that has agreed and prepared, and the direct call of the same study."""
    fit = direct(study, study.tables())
    worker = Federation(study, folder=folder).workers["site-b0"]
    worker.agree(asked(study))
    worker.prepare(plan_of(fit), fit.plan.hash)
    return worker, fit


def plan_of(fit: Direct, done: Sequence[str] = ()) -> dict[str, Any]:
    """What the coordinator sends before the first phase, or to go on after some."""
    return {"schema": fit.plan.schema.to_json(), "done": list(done)}


HONEST = Fit.send_moments


def send_too_much(self: Fit, site: Any, shared: Any) -> Any:
    """A method's function that returns a row a person beside what it declares."""
    return {**HONEST(self, site, shared), "rows": np.zeros((9, 4))}


def test_plan_of_another_hash_is_refused() -> None:
    """Catches a coordinator whose package makes another plan of the study."""
    fit = direct(STUDY, STUDY.tables())
    worker = Federation(STUDY).workers["site-b0"]
    worker.agree(asked(STUDY))
    with pytest.raises(PlanError, match="plan"):
        worker.prepare(plan_of(fit), "0" * 64)
    with pytest.raises(ProtocolError):
        worker.phase("moments", {}, "0" * 64)


def test_other_options_than_the_site_agreed_to_give_another_plan() -> None:
    """Catches a study that is changed between the description and the plan."""
    other = replace(STUDY, options={"reference": "b1", "prior": "none"})
    fit = direct(other, other.tables())
    worker = Federation(STUDY).workers["site-b0"]
    worker.agree(asked(STUDY))
    with pytest.raises(PlanError):
        worker.prepare(plan_of(fit), fit.plan.hash)


@pytest.mark.parametrize("document", [None, {}, [], "study", {"study": None}, {"study": {"a": 1}}])
def test_request_for_a_description_without_a_study(document: Any) -> None:
    """Catches a traceback at the site for a message that is not one of ours."""
    with pytest.raises(MotetError):
        Federation(STUDY).workers["site-b0"].agree(document)


@pytest.mark.parametrize("document", [None, {}, [], {"schema": None}, {"schema": {"units": 3}}])
def test_plan_without_a_schema(document: Any) -> None:
    """Catches a traceback at the site for a plan that says nothing."""
    worker = Federation(STUDY).workers["site-b0"]
    worker.agree(asked(STUDY))
    with pytest.raises(MotetError):
        worker.prepare(document, "0" * 64)


def test_messages_out_of_order_are_refused() -> None:
    """Catches a phase before the plan, and a plan before the study."""
    worker = Federation(STUDY).workers["site-b0"]
    with pytest.raises(ProtocolError):
        worker.prepare({}, "0" * 64)
    with pytest.raises(ProtocolError):
        worker.phase("moments", {}, "0" * 64)
    with pytest.raises(ProtocolError):
        worker.finish({}, "0" * 64)
    worker, fit = prepared(STUDY)
    worker.agree(asked(STUDY))
    with pytest.raises(ProtocolError):
        worker.phase("moments", {}, fit.plan.hash)


@pytest.mark.parametrize("path", ["", "rows", "schema", "moments[0]", "a/b/moments", "moments/"])
def test_phase_that_the_plan_does_not_have(path: str) -> None:
    """Catches a path that is matched by its last word, and a plan's agreement run as a phase."""
    worker, fit = prepared(STUDY)
    with pytest.raises(PlanError):
        worker.phase(path, {}, fit.plan.hash)


def test_phase_for_another_site_is_refused() -> None:
    """Catches a coordinator that asks every site for what only the reference publishes."""
    worker, fit = prepared(STUDY)
    with pytest.raises(PlanError, match="not for this site"):
        worker.phase("reference", dict(fit.shared), fit.plan.hash)


@pytest.mark.parametrize(
    "path",
    [
        "outer[2]/inner[0]/pull",
        "outer[0]/inner[2]/pull",
        "pull",
        "outer/inner/pull",
        "outer[-1]/inner[0]/pull",
    ],
)
def test_turn_that_consent_does_not_cover(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a coordinator that repeats a release more often than the plan says (at_most)."""
    register_toy(monkeypatch)
    study = case("toy", {"turns": 2, "inner": 2}, n=(5, 6), p=3, covariates=())
    worker, fit = prepared(study)
    assert worker.phase("outer[1]/inner[1]/pull", {}, fit.plan.hash)
    with pytest.raises(PlanError):
        worker.phase(path, {}, fit.plan.hash)


def test_phase_that_sends_too_much_is_stopped_at_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a method whose function returns more than it declares, gate or no gate."""
    monkeypatch.setattr(Fit, "send_moments", send_too_much)
    worker, fit = prepared(STUDY, tmp_path)
    with pytest.raises(ReleaseRefusedError, match="rows"):
        worker.phase("moments", {}, fit.plan.hash)
    assert [entry["class"] for entry in released(tmp_path / "site-b0")] == ["schema"]


def test_description_is_the_declared_keys(tmp_path: Path) -> None:
    """Catches counts or values in what a site says of its data."""
    described = Federation(STUDY).workers["site-b0"].agree(asked(STUDY))
    assert sorted(described) == ["batches", "covariates", "features", "units"]
    assert described["batches"] == ["b0"]
    text = json.dumps(described)
    assert str(len(STUDY.tables()["site-b0"])) not in text
    assert "sub-" not in text


def again(folder: Path, fit: Direct, done: Sequence[str], fingerprint: str = "") -> Any:
    """What another process of the site says when it is asked to go on after some phases."""
    sites = Federation(STUDY, folder=folder, fingerprints={"site-b0": fingerprint})
    worker = sites.workers["site-b0"]
    worker.agree(asked(STUDY))
    return worker.prepare(plan_of(fit, done), fit.plan.hash)


def test_site_goes_on_after_what_it_has_done_and_not_after_anything_else(tmp_path: Path) -> None:
    """Catches a site that forgets, that remembers what belongs to other data, or that says yes
    to phases it has not done."""
    worker, fit = prepared(STUDY, tmp_path)
    worker.phase("moments", {}, fit.plan.hash)
    both = ["moments", "moments_of_incomplete"]
    assert again(tmp_path, fit, both[:1]) == {"resumed": True}
    assert again(tmp_path, fit, both) == {"resumed": False}
    assert again(tmp_path, fit, both[:1], fingerprint="edited") == {"resumed": False}
    # The reference phase is another site's: it is not asked of this one.
    assert again(tmp_path, fit, [both[0], "reference"]) == {"resumed": True}
    assert again(tmp_path, fit, []) == {"resumed": True}
    assert again(tmp_path, fit, both[:1]) == {"resumed": False}


@pytest.mark.parametrize("done", [None, 3, "moments", ["nonsense"], [["moments"]], [None]])
def test_impossible_progress_is_refused(done: Any) -> None:
    """Catches a traceback at the site, or a word taken for a list of its letters."""
    worker, fit = prepared(STUDY)
    with pytest.raises(MotetError):
        worker.prepare({"schema": fit.plan.schema.to_json(), "done": done}, fit.plan.hash)


def test_kept_arrays_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    """Catches a batch's own moments open to everybody who has an account on the machine."""
    worker, fit = prepared(STUDY, tmp_path)
    worker.phase("moments", {}, fit.plan.hash)
    mode = (tmp_path / "site-b0" / ".keep.npz").stat().st_mode & 0o777
    assert mode & 0o077 == 0, oct(mode)


def test_held_out_people_are_in_no_release(tmp_path: Path) -> None:
    """Catches an evaluation that is judged on people the fit has seen."""
    study = STUDY.study.model_copy(update={"evaluation": Evaluation(held_out=0.4)})
    fit = direct(STUDY, STUDY.tables())
    plan = build_plan(study, fit.plan.schema)
    worker = Federation(STUDY).workers["site-b0"]
    worker.agree({"study": study.public()})
    worker.prepare(plan_of(fit), plan.hash)
    people = int(worker.phase("moments", {}, plan.hash)["people"])
    assert 0 < people < len(STUDY.tables()["site-b0"])
