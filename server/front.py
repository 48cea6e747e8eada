"""The door to the SuperLink: TLS for the sites, ten paths and no others, and nobody has to poll.

``python -m motet.server.front HOME``. The SuperLink itself stays on loopback: its control requests
have no authentication, so whoever reaches its port can enrol a node. Sites reach ``/v1/fleet/…``
and ``/health`` here. A request for messages is held until there is one, or for some seconds; the
coordinator's run says when it has sent one, and is told when a reply has come.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from hmac import compare_digest
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from motet.flower.held import is_empty, node_of, session_of, uploads
from motet.server.home import ServerHome
from motet.server.news import front_secret
from motet.supervise import die_with_parent, log_to

log = logging.getLogger("motet.front")

FLEET = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)
PULL = "/v1/fleet/pull-messages"
PUSH_MESSAGE, PUSH_OBJECT = "/v1/fleet/push-messages", "/v1/fleet/push-object"
KICK, NEWS = "/motet/kick", "/motet/news"
HOP_BY_HOP = (b"host", b"connection", b"content-length", b"transfer-encoding", b"accept-encoding")

HOLD = 15.0
"""Seconds that a request for messages is held; Flower's clients give up after 30."""
LOOK = 5.0
"""Seconds between looks while it is held, should a kick be lost."""
MOST = 10_000
"""Uploads kept track of: those of sites that were killed in the middle never end."""
MOST_REQUESTS = 500
"""Requests at a time, held ones included."""
LARGEST = 32_000_000
"""Bytes of a request: objects travel in chunks of 5 MB."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


class Front:
    """An ASGI application before the SuperLink.

    Parameters
    ----------
    upstream : AsyncClient
        Talks to the SuperLink.
    secret : str
        What the coordinator's own run shows to kick and to hear news.
    """

    def __init__(self, upstream: httpx.AsyncClient, secret: str) -> None:
        self._upstream, self._secret = upstream, secret
        self._kicks: dict[int, asyncio.Event] = {}
        self._known: set[int] = set()
        self._news = asyncio.Condition()
        self._count = 0
        self._uploads: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.monotonic()
        status, headers, content = await self._answered(scope, receive)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        if status != 200 or scope["path"].startswith("/v1/fleet/activate"):
            peer = (scope.get("client") or ("?",))[0]
            log.info("%s %s %s %.3f s", peer, scope["path"], status, time.monotonic() - began)

    async def _answered(self, scope: Scope, receive: Receive) -> Answer:
        method, path = scope["method"], scope["path"]
        allowed = (method == "GET" and path == "/health") or (method == "POST" and path in FLEET)
        inner = method == "POST" and path in (KICK, NEWS) and self._trusted(scope)
        if not allowed and not inner:
            return _plain(404)
        body = await _body(receive)
        if body is None:
            return _plain(413)
        if inner:
            return await self._inner(path, body)
        if path == PULL:
            return await self._held(scope, receive, body)
        answer = await self._forward(scope, body)
        if answer[0] == 200 and self._whole(path, body, answer[2]):
            async with self._news:
                self._count += 1
                self._news.notify_all()
        return answer

    def _whole(self, path: str, request: bytes, response: bytes) -> bool:
        """Whether a reply of a site is complete with this request: then there is news."""
        if path == PUSH_MESSAGE:
            session, left = uploads(response)
        elif path == PUSH_OBJECT:
            session = session_of(request)
            left = self._uploads.get(session, 1) - 1
        else:
            return False
        self._uploads.pop(session, None)
        if left > 0:
            self._uploads[session] = left
            if len(self._uploads) > MOST:
                self._uploads.pop(next(iter(self._uploads)))
        return left <= 0

    async def _held(self, scope: Scope, receive: Receive, body: bytes) -> Answer:
        """Ask for messages until there is one, the time is up, or the site has hung up."""
        node = node_of(body)
        if node is None:
            return _plain(400)
        kicked, until = asyncio.Event(), time.monotonic() + HOLD
        if node in self._known:
            self._kicks[node] = kicked
        gone = asyncio.ensure_future(_hung_up(receive))
        try:
            while True:
                kicked.clear()
                answer = await self._forward(scope, body)
                left = until - time.monotonic()
                if answer[0] != 200 or not is_empty(answer[2]) or left <= 0:
                    return answer
                # Now it is known to be a node: a stranger leaves nothing behind here.
                self._known.add(node)
                self._kicks[node] = kicked
                waiting = asyncio.ensure_future(kicked.wait())
                await asyncio.wait(
                    (waiting, gone), timeout=min(LOOK, left), return_when=asyncio.FIRST_COMPLETED
                )
                waiting.cancel()
                if gone.done():
                    return answer  # a pull marks a message delivered: none for who is not there
        finally:
            gone.cancel()
            if self._kicks.get(node) is kicked:
                del self._kicks[node]

    async def _forward(self, scope: Scope, body: bytes) -> Answer:
        headers = [(k, v) for k, v in scope["headers"] if k not in HOP_BY_HOP]
        try:
            response = await self._upstream.request(
                scope["method"], scope["path"], content=body, headers=headers
            )
        except httpx.TransportError:
            return _plain(503)  # Flower's clients, and ours, try again
        kept = ("content-type", "www-authenticate", "date")
        return (
            response.status_code,
            [
                (key.encode(), value.encode())
                for key, value in response.headers.items()
                if key in kept or key.startswith("flwr")
            ]
            + [(b"content-length", str(len(response.content)).encode())],
            response.content,
        )

    def _trusted(self, scope: Scope) -> bool:
        shown = dict(scope["headers"]).get(b"x-motet-secret", b"")
        return compare_digest(shown, self._secret.encode())

    async def _inner(self, path: str, body: bytes) -> Answer:
        asked = json.loads(body)
        if path == KICK:
            for node in asked["nodes"]:
                if (event := self._kicks.get(int(node))) is not None:
                    event.set()
        else:
            async with self._news:
                try:
                    async with asyncio.timeout(min(float(asked["wait"]), HOLD)):
                        await self._news.wait_for(lambda: self._count > int(asked["seen"]))
                except TimeoutError:
                    pass
        content = json.dumps({"count": self._count}).encode()
        return 200, [(b"content-length", str(len(content)).encode())], content


def _plain(status: int) -> Answer:
    return status, [(b"content-length", b"0")], b""


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None where it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def main() -> None:
    """Serve the coordinator whose folder is named."""
    die_with_parent()
    home = ServerHome(Path(sys.argv[1]))
    log_to(home.logs / "front.log", largest=5_000_000)
    asyncio.run(_serve(home))


async def _serve(home: ServerHome) -> None:
    trust = ssl.create_default_context(cafile=home.tls / "ca.crt")
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
    async with httpx.AsyncClient(
        base_url=f"https://{home.inner_address}",
        verify=trust,
        timeout=60.0,
        limits=limits,
        trust_env=False,
    ) as upstream:
        front = Front(upstream, front_secret(home.secret))
        config = uvicorn.Config(
            front,
            host=home.bind,
            port=home.settings.port,
            ssl_certfile=home.tls / "server.crt",
            ssl_keyfile=home.tls / "server.key",
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_keep_alive=60,
            limit_concurrency=MOST_REQUESTS,
            server_header=False,
        )
        config.load()
        assert config.ssl is not None
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    main()
