"""``motet server start``: front, SuperLink and superexec, kept running; sites enrolled."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from motet.errors import ConnectionProblem, DeploymentError
from motet.flower import superlink
from motet.flower.fleet import look
from motet.server.home import ServerHome
from motet.supervise import Child, Supervisor, claimed, python_module

READY = 60.0
"""Seconds a SuperLink has to come up."""


def serve(home: ServerHome, *, say: Callable[[str], None]) -> None:
    """Run the coordinator until it is told to end.

    Raises
    ------
    DeploymentError
        When another coordinator runs in this folder, or its port is taken.
    """
    settings = home.settings
    with claimed(home.path, "coordinator"):
        check_port(settings.host, home.bind, settings.port)
        check_port("localhost", "127.0.0.1", home.inner_port)
        home.flower.mkdir(exist_ok=True, mode=0o700)
        environment = superlink.environment(home.flower, MOTET_SERVER=str(home.path))
        children = [
            Child(
                name="superlink",
                command=superlink.superlink(
                    host="127.0.0.1",
                    port=home.inner_port,
                    tls=home.tls,
                    database=home.database,
                    secret=home.secret,
                    log=home.logs / "superlink.log",
                ),
                environment=environment,
                output=home.logs / "superlink.out",
            ),
            Child(
                name="superexec",
                command=superlink.superexec(
                    address=home.inner_address, tls=home.tls, secret=home.secret
                ),
                environment=environment,
                output=home.logs / "superexec.out",
            ),
            Child(
                name="front",
                command=python_module("motet.server.front", str(home.path)),
                environment=environment,
                output=home.logs / "front.out",
            ),
        ]
        Supervisor(children, status=home.status, tick=_Tick(home, say)).run()


class _Tick:
    """Enrols sites, and says once that the coordinator is up."""

    def __init__(self, home: ServerHome, say: Callable[[str], None]) -> None:
        self._home, self._say = home, say
        self._began, self._up, self._told = time.monotonic(), False, ""
        self._seen: frozenset[str] = frozenset()

    def __call__(self) -> None:
        if not self._up:
            try:
                look(self._home.address, (self._home.tls / "ca.crt").read_bytes())
            except ConnectionProblem as problem:
                if time.monotonic() - self._began > READY:
                    self._tell(f"The coordinator is not up yet: {problem}")
                return
            self._up = True
            self._say(f"The coordinator is up at {self._home.address}.")
        keys = frozenset(self._home.public_keys())
        if keys == self._seen:
            return
        new = keys - frozenset(self._home.enrolled())
        try:
            self._home.enrol()
        except DeploymentError as error:
            self._tell(f"A site cannot be enrolled: {error}")
            return
        self._seen = keys
        for site in sorted(new):
            self._say(f"Site {site} is enrolled.")

    def _tell(self, sentence: str) -> None:
        if sentence != self._told:
            self._say(sentence)
            self._told = sentence


def check_port(host: str, bind: str, port: int) -> None:
    """Refuse a port that somebody listens on, before anything starts."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise DeploymentError(
                f"Port {port} on {host} cannot be used: {error.strerror}.",
                do="End what listens there, or set another port in server.yaml (and send the "
                "sites a new coordinator.yaml).",
            ) from error
