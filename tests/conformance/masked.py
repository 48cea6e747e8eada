"""Studies whose sums are masked, and sites that fail in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Message

from conformance.cases import Case, case
from conformance.federation import Alter, Answer, Federation
from conformance.hostile import Reply
from motet.client.policy import OPEN, SitePolicy
from motet.flower.records import decode, refusal
from motet.server import Outcome

N = (14, 12, 13, 16)
SITES = tuple(f"site-b{k}" for k in range(len(N)))
SHY = OPEN.model_copy(update={"plain_sums": False})


def secure(method: str = "combat", options: Mapping[str, Any] | None = None, **made: Any) -> Case:
    evaluation = made.pop("evaluation", {"metrics": "none"})
    study = case(method, options, **{"n": N, "p": 5, **made})
    return replace(study, secure=None, evaluation=evaluation)


def ran(study: Case, **options: Any) -> tuple[Federation, Outcome]:
    sites = Federation(study, **options)
    return sites, sites.run()


def spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation of every feature, (p,)."""
    return np.asarray(np.nanstd(values, axis=0))


def refusing(code: str) -> Reply:
    return lambda request, envelope, body: refusal(envelope, code)


def all_shy(policy: SitePolicy = SHY) -> dict[str, SitePolicy]:
    return dict.fromkeys(SITES, policy)


def after(path: str, reply: Reply) -> Alter:
    """Answer honestly but to one phase."""

    def alter(request: Message, answer: Answer) -> Message:
        envelope, body = decode(request.content)
        if envelope.phase != path or request.metadata.message_type != "train.phase":
            return answer()
        return Message(reply(request, envelope, body), reply_to=request)

    return alter
