"""The door to the SuperLink: what passes, what does not, and how long a request is held."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesResponse
from flwr.proto.message_pb2 import Message, PushObjectRequest
from flwr.proto.node_pb2 import Node

from motet.server import front as door
from motet.server.front import FLEET, KICK, NEWS, PULL, Front

SECRET = "s3cret"
EMPTY = PullMessagesResponse().SerializeToString()
ONE = PullMessagesResponse(messages_list=[Message()]).SerializeToString()


class SuperLink:
    """What the front forwards to; `answers` by path."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.answers: dict[str, bytes] = {}
        self.down = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        self.asked.append((request.method, request.url.path, request.content))
        return httpx.Response(200, content=self.answers.get(request.url.path, b""))


def together(superlink: SuperLink, told: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """Run a conversation with a front before this SuperLink."""

    async def talk() -> Any:
        upstream = httpx.AsyncClient(
            transport=httpx.MockTransport(superlink), base_url="https://inner"
        )
        app: Any = Front(upstream, SECRET)
        async with (
            upstream,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="https://front", timeout=20
            ) as client,
        ):
            return await told(client)

    return asyncio.run(talk())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/control/start-run"),
        ("POST", "/v1/control/register-node"),
        ("POST", "/v1/runtime/push-messages"),
        ("POST", "/v1/fleet/register-node"),
        ("POST", "/v1/fleet/unregister-node"),
        ("POST", "/v1/fleet/../control/start-run"),
        ("POST", "/v1/fleet/pull-messages/"),
        ("POST", "//v1/fleet/get-run"),
        ("GET", "/v1/fleet/get-run"),
        ("GET", "/docs"),
        ("GET", "/"),
        ("POST", "/health"),
    ],
)
def test_nothing_else_passes(method: str, path: str) -> None:
    """Catches a way to the control requests, which ask nobody who they are."""
    superlink = SuperLink()

    async def told(client: httpx.AsyncClient) -> int:
        request = client.build_request(method, "https://front")
        request.url = request.url.copy_with(raw_path=path.encode())
        return (await client.send(request)).status_code

    assert together(superlink, told) == 404
    assert superlink.asked == []


def test_ten_paths_and_health_pass() -> None:
    """Catches a request of a site that is refused, or altered on its way."""
    superlink = SuperLink()

    async def told(client: httpx.AsyncClient) -> list[int]:
        found = [(await client.get("/health")).status_code]
        for path in sorted(FLEET - {PULL}):
            found.append((await client.post(path, content=b"\x00\xff body")).status_code)
        return found

    assert together(superlink, told) == [200] * 10
    assert len(FLEET) == 10
    assert {content for _, path, content in superlink.asked if path != "/health"} == {
        b"\x00\xff body"
    }


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x"])
@pytest.mark.parametrize("path", [KICK, NEWS])
def test_inner_paths_want_the_secret(path: str, secret: str | None) -> None:
    """Catches a site that kicks, or listens to, what is the coordinator's own."""

    async def told(client: httpx.AsyncClient) -> int:
        headers = {} if secret is None else {"x-motet-secret": secret}
        asked = {"nodes": [1], "seen": -1, "wait": 0}
        return (await client.post(path, json=asked, headers=headers)).status_code

    assert together(SuperLink(), told) == 404


def pull(node: int = 5) -> bytes:
    return PullMessagesRequest(node=Node(node_id=node)).SerializeToString()


async def kick(client: httpx.AsyncClient, *nodes: int) -> None:
    headers = {"x-motet-secret": SECRET}
    (await client.post(KICK, json={"nodes": nodes}, headers=headers)).raise_for_status()


def test_request_is_held_until_a_kick() -> None:
    """Catches polling through the front, a kick that wakes nobody, or one that wakes others."""
    superlink = SuperLink()
    superlink.answers[PULL] = EMPTY

    async def told(client: httpx.AsyncClient) -> tuple[bytes, int, int]:
        waiting = asyncio.ensure_future(client.post(PULL, content=pull(5)))
        await asyncio.sleep(0.1)
        await kick(client, 6)
        await asyncio.sleep(0.1)
        before = len(superlink.asked)
        superlink.answers[PULL] = ONE
        await kick(client, 5)
        answer = await asyncio.wait_for(waiting, 2)
        return answer.content, before, len(superlink.asked)

    assert together(superlink, told) == (ONE, 1, 2)


def test_request_is_held_for_so_long_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a request that is held beyond the patience of Flower's client."""
    monkeypatch.setattr(door, "HOLD", 0.3)
    monkeypatch.setattr(door, "LOOK", 0.1)
    superlink = SuperLink()
    superlink.answers[PULL] = EMPTY

    async def told(client: httpx.AsyncClient) -> bytes:
        return (await asyncio.wait_for(client.post(PULL, content=pull()), 2)).content

    assert together(superlink, told) == EMPTY
    assert 3 <= len(superlink.asked) <= 5
    assert door.HOLD + door.LOOK < 30


def test_nothing_is_pulled_for_a_site_that_has_hung_up() -> None:
    """Catches a message that is marked as delivered and goes to nobody."""
    superlink = SuperLink()
    superlink.answers[PULL] = EMPTY

    async def told(client: httpx.AsyncClient) -> int:
        upstream = httpx.AsyncClient(
            transport=httpx.MockTransport(superlink), base_url="https://inner"
        )
        app = Front(upstream, SECRET)
        sent: list[Any] = []
        calls = iter([{"type": "http.request", "body": pull(5)}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            return next(calls)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": PULL, "headers": []}
        await asyncio.wait_for(app(scope, receive, send), 1)
        await upstream.aclose()
        return len(superlink.asked)

    assert together(superlink, told) == 1


def test_news_comes_when_a_reply_is_whole() -> None:
    """Catches a coordinator that is called for a reply of which the arrays are not there yet."""
    superlink = SuperLink()
    pushed = PushMessagesResponse(session_id="a", objects_to_push=["x", "y"])
    superlink.answers["/v1/fleet/push-messages"] = pushed.SerializeToString()

    async def count(client: httpx.AsyncClient, wait: float = 0.0, seen: int = 99) -> int:
        headers = {"x-motet-secret": SECRET}
        asked = {"seen": seen, "wait": wait}
        return int((await client.post(NEWS, json=asked, headers=headers)).json()["count"])

    async def told(client: httpx.AsyncClient) -> list[int]:
        found = []
        await client.post("/v1/fleet/push-messages", content=b"")
        found.append(await count(client))
        listening = asyncio.ensure_future(count(client, wait=5.0, seen=0))
        for _ in range(2):
            found.append(await count(client))
            upload = PushObjectRequest(session_id="a", object_content=b"1")
            await client.post("/v1/fleet/push-object", content=upload.SerializeToString())
        found.append(await asyncio.wait_for(listening, 2))
        return found

    assert together(superlink, told) == [0, 0, 0, 1]


def test_superlink_that_is_down_is_503() -> None:
    """Catches a status at which Flower's clients give up for good: they try again on 503."""
    superlink = SuperLink()
    superlink.down = True

    async def told(client: httpx.AsyncClient) -> list[int]:
        return [
            (await client.get("/health")).status_code,
            (await client.post(PULL, content=pull())).status_code,
        ]

    assert together(superlink, told) == [503, 503]


def test_body_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a stranger who fills the coordinator's memory."""
    monkeypatch.setattr(door, "LARGEST", 1000)
    superlink = SuperLink()

    async def told(client: httpx.AsyncClient) -> int:
        return (await client.post("/v1/fleet/push-object", content=b"x" * 1001)).status_code

    assert together(superlink, told) == 413
    assert superlink.asked == []


def test_garbage_is_refused() -> None:
    """Catches an exception, and with it a stack trace, from bytes that are no request."""

    async def told(client: httpx.AsyncClient) -> int:
        return (await client.post(PULL, content=json.dumps({"a": 1}).encode())).status_code

    assert together(SuperLink(), told) == 400


def test_strangers_leave_nothing_behind() -> None:
    """Catches a memory that grows with every node id that somebody makes up."""
    superlink = SuperLink()
    refusing = httpx.MockTransport(lambda request: httpx.Response(401))

    async def told(client: httpx.AsyncClient) -> tuple[int, int]:
        front = Front(httpx.AsyncClient(transport=refusing, base_url="https://inner"), SECRET)
        app: Any = front
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://front") as stranger:
            for node in range(1, 50):
                assert (await stranger.post(PULL, content=pull(node))).status_code == 401
        return len(front._kicks), len(front._known)

    assert together(superlink, told) == (0, 0)
