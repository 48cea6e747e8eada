"""What a step of a training tells is of the people of that step: few of them, and it is refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from conformance.federation import Federation
from motet.client.permission import Permission
from motet.client.policy import SitePolicy
from motet.errors import QuorumError
from motet.flower.records import decode

POLICY = SitePolicy(plain_sums=True, new_keys=True)
SITES = ("site-b0", "site-b1", "site-b2")
MANY = {"preset": "tiny", "batch": 45}
"""Of 90 people half are in every step: everybody in two."""


def federation(train: dict[str, Any], *, secure: bool | None) -> Federation:
    study = case("deepcombat", n=(30, 30, 30), p=4, covariates=("age",))
    study = replace(study, train=train, secure=secure)
    return Federation(study, policies=dict.fromkeys(SITES, POLICY))


@pytest.mark.parametrize("secure", [False, None], ids=["plain", "masked"])
def test_a_step_of_few_people_does_not_leave(secure: bool | None) -> None:
    """Catches a gradient of one or two people behind a policy that asks for ten: of a site's own
    columns, masked or not, since these rows are nobody else's."""
    sites = federation({**MANY, "mode": "exact", "batch": 8}, secure=secure)
    with pytest.raises(QuorumError):
        sites.run()
    said = [str(error) for _, error in sites.errors]
    assert any(
        "are trained on, fewer than 10" in text and "more steps between" in text for text in said
    )
    steps = [s for s in sites.sent if s.envelope.phase.startswith("cvae@")]
    assert steps
    assert not any(decode(s.reply.content)[1].arrays for s in steps)


@pytest.mark.parametrize("secure", [False, None], ids=["plain", "masked"])
@pytest.mark.parametrize("mode", ["exact", "local"])
def test_a_step_of_many_does(mode: str, secure: bool | None) -> None:
    """The same study with enough people in every step runs: the test above fails for its reason."""
    assert not federation({**MANY, "mode": mode}, secure=secure).run().missing


def test_few_people_who_validate_are_refused() -> None:
    """Catches a loss of one person under the name of validation."""
    sites = federation({**MANY, "mode": "local", "validation": 0.1}, secure=False)
    with pytest.raises(QuorumError):
        sites.run()
    assert any("validate, fewer than 10" in str(error) for _, error in sites.errors)


@pytest.mark.parametrize(
    ("arrays", "fewest"),
    [
        ({"samples": [3, 12], "weight": [3.0, 12.0, 12.0]}, 3),
        # Of a group that left at every other exchange twice as many stand behind it.
        ({"samples": [6, 6], "weight": [6.0, 12.0]}, 6),
        ({"samples": [0, 12], "weight": [0.0, 12.0]}, 12),
        ({"samples": [4]}, 4),
        ({"samples": [0]}, 0),
    ],
    ids=["critic", "seldom", "no sample", "exact", "exact, no sample"],
)
def test_every_group_counts_by_itself(arrays: dict[str, list[float]], fewest: int) -> None:
    """Catches the samples of all other networks that stand for a critic's, which is updated every
    fourth step, and a group that changed nothing taken for one of few samples."""
    said: dict[str, int] = {}
    site: Any = SimpleNamespace(
        plan=SimpleNamespace(masks=lambda phase: False),
        gate=SimpleNamespace(check_samples=lambda counted, **_: said.update(counted)),
        cohort="",
    )
    phase: Any = SimpleNamespace(train=SimpleNamespace(groups=()))
    Permission.check_step(site, phase, "@1", {n: np.array(a) for n, a in arrays.items()})
    assert said == {"samples are trained on": fewest, "samples validate": 0}
