"""A site that is killed while a release waits to be countersigned sends the same bytes, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Message

from conformance.cases import Case, case
from conformance.federation import Answer, Federation
from conformance.masked import secure
from motet.client.waiting import Waiting
from motet.flower.records import decode
from motet.ledger import Ledger
from motet.server.anchors import Anchors

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
PLAIN = case(options={"reference": "b1"}, n=(12, 12, 12), covariates=("age",), p=4, missing=0.1)
SITE = "site-b1"


class Killed(BaseException):
    """No handler of errors hears of it."""


class Killing(Federation):
    """A site whose process is killed once, and one that takes its place.

    Parameters
    ----------
    study : Case
    folder : Path
    action : str
        On which request.
    die : callable
        Makes the process die while it works on it; None: it dies before.
    """

    def __init__(
        self, study: Case, folder: Path, action: str, die: Callable[[], None] | None
    ) -> None:
        self._options = {
            "folder": folder,
            "anchors": Anchors(KEY, folder / "anchors"),
            "countersigned_by": PUBLIC,
        }
        super().__init__(study, alter={SITE: self._alter_it}, **self._options)
        self._another = Federation(study, **self._options).workers[SITE]
        self._killed_on, self._die, self.kills = action, die, 0
        self.done: list[str] = []
        self._heard: dict[str, Any] = {}

    def _alter_it(self, request: Message, answer: Answer) -> Message:
        action = request.metadata.message_type
        envelope, body = decode(request.content)
        self._heard[action] = body.document
        if action == "query.finish":
            self.done = list(self.workers[SITE].planned(envelope.plan).keep.done)
        if action != self._killed_on or self.kills:
            return answer()
        self.kills += 1
        if self._die is not None:
            self._die()
            with pytest.raises(Killed):
                answer()
        self._another.take_up(
            self._heard["query.agree"],
            self._heard["query.prepare"],
            envelope.plan,
            envelope.phase,
            action=action,
        )
        self.workers[SITE] = self._another
        return answer()


def dying(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, *, after: bool) -> None:
    """Have the site's next call of a function be its last, before or after it did its work."""
    honest = getattr(where, name)

    def replacement(self: Any, *args: Any, **keywords: Any) -> Any:
        if SITE not in self.path.parts:  # another site's, in its own thread
            return honest(self, *args, **keywords)
        monkeypatch.setattr(where, name, honest)
        if after:
            honest(self, *args, **keywords)
        raise Killed

    monkeypatch.setattr(where, name, replacement)


POINTS = {
    "before its entry": (PLAIN, "train.phase", Ledger, "append", False),
    "before it is held": (PLAIN, "train.phase", Waiting, "hold", False),
    "before the reply": (PLAIN, "train.phase", Waiting, "hold", True),
    "between": (PLAIN, "query.release", None, "", False),
    "before the signature is kept": (PLAIN, "query.release", Ledger, "anchor", False),
    "before it leaves": (PLAIN, "query.release", Ledger, "anchor", True),
    "masked, before the reply": (secure(), "train.phase", Ledger, "append", True),
    "masked, between": (secure(), "query.reveal", None, "", False),
    "masked, before the reveal": (secure(), "query.reveal", Ledger, "anchor", True),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches other bytes after a restart, a release that is entered or charged twice, a site that
    waits for a signature it has, and what a phase kept being undone by a question after it."""
    study, action, where, name, after = POINTS[point]
    whole = Federation(study, folder=tmp_path / "whole")
    expected = whole.run()
    die = None if where is None else lambda: dying(monkeypatch, where, name, after=after)
    sites = Killing(study, tmp_path / "killed", action, die)
    outcome = sites.run()
    assert (sites.kills, outcome.missing) == (1, {}), sites.errors
    assert {n: a.tobytes() for n, a in outcome.shared.items()} == {
        n: a.tobytes() for n, a in expected.shared.items()
    }
    book = Ledger(tmp_path / "killed" / SITE / "ledger.sqlite", site=SITE)
    assert book.problems(key=PUBLIC) == []
    left = Ledger(tmp_path / "whole" / SITE / "ledger.sqlite", site=SITE)
    assert [e.body["phase"] for e in book.entries("release")] == [
        e.body["phase"] for e in left.entries("release")
    ]
    if study is PLAIN:  # masks are made of the key, and of a sum with a member's new key
        digests = [[a["sha256"] for a in e.body.get("arrays", ())] for e in book.entries("release")]
        assert digests == [
            [a["sha256"] for a in e.body.get("arrays", ())] for e in left.entries("release")
        ]
    anchored = [entry.body["number"] for entry in book.entries("anchor")]
    assert anchored == sorted(set(anchored))
    assert sites.done == [e.body["phase"] for e in left.entries("release")][1:]
    assert not (tmp_path / "killed" / SITE / ".waiting.npz").exists()
