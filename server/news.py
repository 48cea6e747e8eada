"""The run's line to the front: say that messages wait for sites; hear that a reply has come."""

from __future__ import annotations

import hashlib
import hmac
import logging
import ssl
import time
from collections.abc import Iterable
from pathlib import Path

import httpx

log = logging.getLogger("motet.coordinator")

POLL = 0.25
"""Seconds between looks for replies while the front does not answer."""


def front_secret(file: Path) -> str:
    """What the run shows to the front: made from the superexec's secret, which it does not tell."""
    return hmac.new(file.read_bytes(), b"motet front", hashlib.sha256).hexdigest()


class News:
    """Kicks and waits; where the front does not answer, both do nothing, and polling goes on.

    Parameters
    ----------
    address : str
        ``host:port`` of the front.
    certificate : Path
        The authority of its certificate.
    secret : str
    """

    def __init__(self, address: str, certificate: Path, secret: str) -> None:
        self._client = httpx.Client(
            base_url=f"https://{address}",
            verify=ssl.create_default_context(cafile=certificate),
            headers={"x-motet-secret": secret},
            timeout=10.0,
            trust_env=False,
        )
        self._seen = 0

    def kick(self, nodes: Iterable[int]) -> None:
        """Messages wait for these nodes."""
        self._ask("/motet/kick", {"nodes": list(nodes)})

    def wait(self, seconds: float) -> None:
        """Return when a reply has come since the last call, or after some time."""
        count = self._ask("/motet/news", {"seen": self._seen, "wait": seconds})
        if count is None:
            time.sleep(POLL)
        self._seen = count or 0

    def _ask(self, path: str, asked: dict[str, object]) -> int | None:
        try:
            response = self._client.post(path, json=asked)
            response.raise_for_status()
            return int(response.json()["count"])
        except (httpx.HTTPError, KeyError, ValueError) as error:
            log.info("the front does not answer: %s", type(error).__name__)
            return None
