"""A site's part in a private training: charged before it leaves, once; and noise drawn once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.ledgers import released
from motet.client.budget import Budget
from motet.client.drawn import Drawn
from motet.client.gate import Gate
from motet.client.home import SiteSettings
from motet.client.policy import OPEN, SitePolicy
from motet.client.worker import SiteWorker
from motet.errors import PolicyError, ProtocolError
from motet.ledger import Ledger
from motet.training import private
from motet.training.privacy import Private
from training.private import DP, SITE, World, private_case, world

FIRST, SECOND = "cvae@0", "cvae@1"


@pytest.fixture(scope="module")
def here() -> World:
    return world()


@dataclass(kw_only=True)
class Hospital:
    """The site of a world, whose process can be another every time."""

    here: World
    folder: Path
    policy: SitePolicy = OPEN
    worker: SiteWorker = field(init=False)

    def __post_init__(self) -> None:
        self.again()

    def again(self) -> None:
        """Another process takes up what is on the disk."""
        self.worker = SiteWorker(
            name=SITE,
            open_table=lambda params, **asked: self.here.site.data,
            sink=None,  # type: ignore[arg-type]
            folder=self.folder,
            policy=self.policy,
            secret=b"the site's own",
        )
        plan = self.here.plan
        self.worker.agree({"study": private_case().study.public()})
        self.worker.prepare({"schema": plan.schema.to_json(), "done": []}, plan.hash)

    def ask(self, path: str, change: float = 0.0) -> dict[str, bytes]:
        shared = {name: np.array(array) for name, array in self.here.shared.items()}
        shared["cvae.encoder"] = shared["cvae.encoder"] + change
        found = self.worker.phase(path, shared, self.here.plan.hash, run="a run")
        return {name: np.asarray(array).tobytes() for name, array in found.items()}

    def kinds(self) -> list[str]:
        book = Ledger.found(self.folder / "ledger.sqlite")
        assert book is not None
        kinds = [(e.body["kind"], e.body.get("phase")) for e in book.entries()]
        return [f"{kind} {phase}" for kind, phase in kinds if phase != "schema"]

    @property
    def charges(self) -> list[dict[str, Any]]:
        return released(self.folder, kind="charge")


@pytest.fixture
def hospital(here: World, tmp_path: Path) -> Callable[..., Hospital]:
    return lambda **policy: Hospital(
        here=here, folder=tmp_path, policy=OPEN.model_copy(update=policy)
    )


def test_charged_once_and_before_it_leaves(hospital: Callable[..., Hospital]) -> None:
    """Catches a release that nobody charged for, a charge a step, and one that does not say of
    what it is."""
    site = hospital()
    site.ask(FIRST)
    site.ask(SECOND, 0.1)
    assert site.kinds() == ["charge cvae", f"release {FIRST}", f"release {SECOND}"]
    (charge,) = site.charges
    assert {name: charge[name] for name in DP} == DP
    assert charge["covers"] == ["cvae"]
    assert {"mean", "spread", "schema"} <= {*charge["not_covered"]}
    assert (charge["steps"], charge["rate"], charge["unit"]) == (6, 0.2, "person")
    assert charge["noise_multiplier"] > 0


class Died(BaseException):
    """A process that is gone."""


@pytest.mark.parametrize("where", ["before the draw", "before the release", "after it"])
def test_a_crash_gives_the_same_bytes_and_no_second_charge(
    where: str, hospital: Callable[..., Hospital], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches noise that is drawn twice around one sum, and epsilon that is spent twice."""
    site, drawn = hospital(), list[Any]()
    honest = private.train_in_private

    def dying(*args: Any, **keywords: Any) -> Any:
        raise Died

    def watched(*args: Any) -> Any:
        drawn.append(honest(*args))
        return drawn[-1]

    monkeypatch.setattr(private, "train_in_private", watched)
    if where == "after it":
        site.ask(FIRST)
    else:
        with monkeypatch.context() as patch, pytest.raises(Died):
            if where == "before the draw":
                patch.setattr(private, "train_in_private", dying)
            else:
                patch.setattr(Gate, "release", dying)
            site.ask(FIRST)
        assert site.kinds() == ["charge cvae"]
    site.again()
    found = site.ask(FIRST)
    assert found == site.ask(FIRST)
    assert len(drawn) == 1
    assert found == {name: np.asarray(array).tobytes() for name, array in drawn[0].items()}
    assert len(site.charges) == 1
    digests = {str(entry["arrays"]) for entry in released(site.folder) if entry["phase"] == FIRST}
    assert len(digests) == 1


def test_never_twice_around_one_exchange(hospital: Callable[..., Hospital]) -> None:
    """Catches a coordinator that asks for one exchange with many models, or goes back."""
    site = hospital()
    site.ask(FIRST)
    site.ask(SECOND, 0.1)
    for path, change, says in (
        (SECOND, 0.2, "exchange 1 was the last"),
        ("cvae@3", 0.3, ""),
        (SECOND, 0.1, "exchange 3 was the last"),
        ("cvae@2", 0.1, "exchange 3 was the last"),
    ):
        if not says:
            site.ask(path, change)
            continue
        with pytest.raises(ProtocolError, match=says) as error:
            site.ask(path, change)
        assert "charged again" in str(error.value)
    assert len(site.charges) == 1


def test_a_training_that_begins_again_is_charged_again(hospital: Callable[..., Hospital]) -> None:
    """Catches a second training on one epsilon, and one that goes on where none began."""
    site = hospital()
    with pytest.raises(ProtocolError, match="it was not begun here"):
        site.ask(SECOND)
    first = site.ask(FIRST)
    site.ask(SECOND, 0.1)
    assert site.ask(FIRST) != first
    assert len(site.charges) == 2


def test_what_is_used_up_is_refused(hospital: Callable[..., Hospital]) -> None:
    """Catches a site that spends more than its own settings allow, whoever asks."""
    site = hospital(epsilon=15.0)
    first = site.ask(FIRST)
    site.ask(SECOND, 0.1)
    words = "epsilon 8 more than the 8 that is spent would be more than the 15 of its life"
    with pytest.raises(PolicyError, match=words) as error:
        site.ask(FIRST, 0.5)
    assert error.value.code == "policy"
    assert "policy.epsilon" in str(error.value)
    assert len(site.charges) == 1
    assert site.kinds()[-1] == "refusal cvae"
    assert first


def test_delta_has_a_budget_too(hospital: Callable[..., Hospital]) -> None:
    """Catches a limit that is read and not asked."""
    with pytest.raises(PolicyError, match=r"delta 0\.0001 more than the 0 that is spent"):
        hospital(delta=1e-5)


def test_what_cannot_be_paid_for_is_refused_at_once(
    hospital: Callable[..., Hospital], tmp_path: Path
) -> None:
    """Catches exact sums that leave for a training that will be refused, and a run that was
    paid for and cannot go on."""
    with pytest.raises(PolicyError, match="epsilon 8 more than the 0 that is spent"):
        hospital(epsilon=7.0)
    assert released(tmp_path, kind="charge") == []
    site = hospital(epsilon=8.0)
    site.ask(FIRST)
    site.again()
    site.ask(SECOND, 0.1)
    assert len(site.charges) == 1


def test_a_run_from_the_beginning_that_cannot_be_paid_for_again_is_refused_at_once(
    hospital: Callable[..., Hospital],
) -> None:
    """Catches exact sums that leave once more before the training is refused."""
    site = hospital(epsilon=15.0)
    site.ask(FIRST)
    site.again()  # its first exchange can be sent again for nothing
    site.ask(SECOND, 0.1)
    with pytest.raises(PolicyError, match="epsilon 8 more than the 8 that is spent"):
        site.again()
    assert site.kinds()[-1] == "refusal cvae"
    site.policy = OPEN.model_copy(update={"epsilon": 16.0})
    site.again()
    site.ask(FIRST)
    assert len(site.charges) == 2


def test_a_longer_training_than_noise_was_measured_for(here: World) -> None:
    """Catches a coordinator that goes on after the last step that epsilon is of."""
    from motet.errors import TrainingError

    turn = here.train.turn(6)
    with pytest.raises(TrainingError, match="Step 6 is beyond the 6"):
        private.train_in_private(here.train, turn, here.site, here.shared)


def test_what_is_left_in_words(tmp_path: Path) -> None:
    """Catches ten tenths that do not fit into one, and a sum over some studies only."""
    book = Ledger(tmp_path / "ledger.sqlite", site="here")
    budget = Budget(policy=SitePolicy(epsilon=1.0, delta=1e-3), ledger=book)
    one = Private(epsilon=0.1, delta=1e-5, clip=1.0)
    for k in range(10):
        assert budget.against(one) == ""
        said = {"kind": "charge", "plan": str(k), "phase": "cvae", "cohort": ""}
        book.append({**said, "epsilon": 0.1, "delta": 1e-5})
    assert budget.against(one).startswith("epsilon 0.1 more than the 1 ")
    assert budget.said() == "epsilon 0 of 1 is left, delta 0.0009 of 0.001 is left"
    assert "no limit" in Budget(policy=SitePolicy(), ledger=book).said()


@pytest.mark.parametrize("wrong", [{"epsilon": -1}, {"delta": 1.0}, {"epsilon": float("inf")}])
def test_limits_that_are_none(wrong: dict[str, float]) -> None:
    """Catches a budget that lets everything pass because of how it is written."""
    with pytest.raises(ValueError, match="policy"):
        SiteSettings.model_validate(
            {"name": "a", "data": "d", "coordinator": "localhost:1", "policy": wrong}
        )


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    """Catches half-read noise, and a site that is stuck for ever."""
    path = tmp_path / ".drawn.npz"
    Drawn(path=path).put({"plan": "a"}, 3, "x", {"g": np.ones(3)})
    again = Drawn(path=path).again({"plan": "a"}, 3, "x")
    assert again is not None
    assert again["g"].tolist() == [1, 1, 1]
    path.write_bytes(path.read_bytes()[:-20])
    assert Drawn(path=path).again({"plan": "a"}, 0, "x") is None
    with pytest.raises(ProtocolError):
        Drawn(path=path).again({"plan": "a"}, 3, "x")
