"""Replies that come in pieces, or never whole: the run's grid over the pinned SuperLink's state."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from flwr.superlink.grid import HttpGrid

from kernel.superlink import SuperLink, Upload
from motet.flower.parcels import unparcel
from motet.flower.records import Body, Envelope, decode, encode
from motet.server.round import Replies, Round

ASKED = Envelope(run="r", plan="p", phase="f", round=1, attempt=1)


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> SuperLink:
    with warnings.catch_warnings(action="ignore"):
        return SuperLink(tmp_path_factory.mktemp("superlink"))


def answer(request: Message, number: float) -> Any:
    envelope, _ = decode(unparcel(request.content))
    return encode(envelope, Body(arrays={"x": np.array([number])}))


def one_round(link: SuperLink, nodes: dict[str, int], work: Callable[[], None]) -> Replies:
    """A round while `work` is done between its looks."""
    return Round(
        link.grid(lambda seconds: work()),
        action="train.phase",
        nodes=nodes,
        envelope=ASKED,
        body=Body(document={"a": 1}),
        check=None,
        timeout=30.0,
        ping=0.2,
        observe=lambda event: None,
    ).run()


def values(replies: Replies) -> dict[str, float]:
    return {site: float(body.arrays["x"][0]) for site, body in replies.accepted.items()}


def test_reply_in_pieces(link: SuperLink) -> None:
    """Catches a reply that is lost since it was looked at before it was whole: the SuperLink hands
    an announcement out once, and has then forgotten the request."""
    node, grid = link.node(), link.grid()
    (asked,) = grid.push_messages([Message(encode(ASKED, Body()), node, "train.phase", ttl=60.0)])
    request = link.taken(node)
    assert request is not None
    upload = link.announce(node, request, answer(request, 7.0))
    pieces = len(upload.left)
    for left in range(pieces, 0, -1):
        assert len(upload.left) == left
        assert list(grid.pull_messages([asked])) == []
        assert list(grid.pull_messages([asked])) == []
        link.send(node, upload, 1)
    link.pulled = 0
    (reply,) = grid.pull_messages([asked])
    assert decode(unparcel(reply.content))[1].arrays["x"] == 7.0
    assert link.pulled == 1  # what had come is not asked for again
    assert len(link.state.object_store) == 0
    assert [m.has_error() for m in grid.pull_messages([asked])] == [True]
    # Ours stands in the place of this, which waits until all is there.
    assert inspect.getsource(HttpGrid.pull_messages).count("pull_objects(") == 1


def test_upload_that_has_ended(link: SuperLink) -> None:
    """Catches a dead reply that is looked for in every look to the end of the round."""
    node, grid = link.node(), link.grid()
    (asked,) = grid.push_messages([Message(encode(ASKED, Body()), node, "train.phase", ttl=60.0)])
    request = link.taken(node)
    assert request is not None
    upload = link.announce(node, request, answer(request, 7.0))
    assert list(grid.pull_messages([asked])) == []
    link.state._cleanup_push_session(upload.session, cleanup_messages=True)
    assert list(grid.pull_messages([asked])) == []
    link.pulled = 0
    assert [m.has_error() for m in grid.pull_messages([asked])] == [True]
    looked = link.pulled
    assert list(grid.pull_messages([])) == []
    assert link.pulled == looked


def test_replies_that_come_one_after_another(link: SuperLink) -> None:
    """Catches sites that are lost since another one's reply woke the coordinator meanwhile."""
    nodes = {f"s{k}": link.node() for k in range(5)}
    uploads: dict[str, Upload] = {}

    def work() -> None:
        for site, node in nodes.items():
            if site not in uploads and (request := link.taken(node)) is not None:
                uploads[site] = link.announce(node, request, answer(request, node % 97))
        for site, upload in uploads.items():
            if upload.left:
                link.send(nodes[site], upload, 1)
                return

    replies = one_round(link, nodes, work)
    assert values(replies) == {site: node % 97 for site, node in nodes.items()}
    assert len(uploads) == 5  # nobody was asked twice


def test_sender_that_was_killed_in_the_middle(link: SuperLink) -> None:
    """Catches a run that stands still for all sites; the one that is back is asked again."""
    nodes = {"dead": link.node(), "well": link.node()}
    attempts = []

    def work() -> None:
        for site, node in nodes.items():
            while (request := link.taken(node)) is not None:
                envelope, _ = decode(unparcel(request.content))
                if request.metadata.message_type == "query.ping":
                    content = encode(envelope, Body(document={"state": "unknown"}))
                else:
                    content = answer(request, envelope.attempt)
                    attempts.append((site, envelope.attempt))
                upload = link.announce(node, request, content)
                killed = (site, envelope.attempt) == ("dead", 1) and "state" not in str(content)
                link.send(node, upload, 1 if killed else None)

    assert values(one_round(link, nodes, work)) == {"dead": 2.0, "well": 1.0}
    assert attempts == [("dead", 1), ("well", 1), ("dead", 2)]


@pytest.mark.parametrize("lie", ["no children", "of another"])
def test_reply_that_cannot_be_read(lie: str, link: SuperLink) -> None:
    """Catches one site's garbage that ends the study of all, and an answer given for another."""
    nodes = {"bad": link.node(), "well": link.node()}
    requests: dict[str, Message] = {}
    done: list[str] = []

    def work() -> None:
        for site, node in nodes.items():
            if (request := link.taken(node)) is not None:
                requests.setdefault(site, request)
        if len(requests) < 2 or done:
            return
        done.append(lie)
        claims = requests["well"].metadata.message_id if lie == "of another" else ""
        for site, node in nodes.items():
            request, bad = requests[site], site == "bad"
            content = answer(request, -1.0 if bad else 1.0)
            lies = {"claims": claims, "lie": lie} if bad else {}
            link.send(node, link.announce(node, request, content, **lies))

    replies = one_round(link, nodes, work)
    assert values(replies) == {"well": 1.0}
    assert replies.failed == {"bad": "protocol"}
