"""``motet server start``: front, SuperLink and superexec, kept running; sites enrolled."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable

from motet.errors import ConnectionFailedError, DeploymentError, MotetError
from motet.flower import superlink
from motet.flower.fleet import look
from motet.server.enrolment import enrol
from motet.server.home import ServerHome
from motet.server.orders import all_orders, runs
from motet.supervise import Child, Supervisor, claimed, python_module

READY = 60.0
"""Seconds a SuperLink has to come up."""
AGAIN = 10.0
"""Seconds after which sites that could not be enrolled are tried again."""


def serve(home: ServerHome, *, say: Callable[[str], None]) -> None:
    """Run the coordinator until it is told to end.

    Raises
    ------
    DeploymentError
        When another coordinator runs in this folder, or its port is taken.
    """
    settings = home.settings
    with claimed(home.path, "coordinator"):
        check_port(home.bind, settings.port)
        check_port("127.0.0.1", home.inner_port)
        home.flower.mkdir(exist_ok=True, mode=0o700)
        end_orphans(home)
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
        try:
            Supervisor(children, status=home.status, tick=_Tick(home, say)).run()
        finally:
            # Flower interrupts a run whose parent is gone; one that waits for the SuperLink to be
            # back does not notice.
            end_orphans(home)


def end_orphans(home: ServerHome) -> None:
    """End runs without a coordinator: nobody will hear of them."""
    for order in all_orders(home.path / "orders"):
        if runs(order):
            os.kill(int(order.noted()["pid"]), signal.SIGKILL)


class _Tick:
    """Enrols sites, and says once that the coordinator is up."""

    def __init__(self, home: ServerHome, say: Callable[[str], None]) -> None:
        self._home, self._say = home, say
        self._began, self._up, self._told = time.monotonic(), False, ""
        self._seen: frozenset[str] | None = None
        self._failed: frozenset[str] | None = None
        self._again = 0.0

    def __call__(self) -> None:
        if not self._up:
            try:
                look(self._home.own_address, (self._home.tls / "ca.crt").read_bytes())
            except ConnectionFailedError as problem:
                if time.monotonic() - self._began > READY:
                    self._tell(f"The coordinator is not up yet: {problem}")
                return
            self._up = True
            self._say(f"The coordinator is up at {self._home.address}.")
        keys = frozenset(self._home.public_keys())
        if keys == self._seen or (keys == self._failed and time.monotonic() < self._again):
            return
        self._failed, self._again = keys, time.monotonic() + AGAIN
        try:
            done = enrol(self._home)
        except (MotetError, OSError) as error:
            self._tell(f"Sites cannot be enrolled: {error}")
            return
        for site in done.new:
            self._say(f"Site {site} is enrolled.")
        if done.problems:
            said = "; ".join(f"{site}: {problem}" for site, problem in done.problems.items())
            self._tell(f"Not enrolled: {said}")
            return
        self._seen = keys

    def _tell(self, sentence: str) -> None:
        if sentence != self._told:
            self._say(sentence)
            self._told = sentence


WHY = {
    errno.EADDRINUSE: (
        "is in use",
        "End what listens there, or set another port in server.yaml (and send the sites a new "
        "coordinator.yaml).",
    ),
    errno.EADDRNOTAVAIL: (
        "cannot be used: the address is none of this machine's",
        "Where sites reach it through a proxy or address translation, set 'bind' in server.yaml "
        "to this machine's own address, or to 0.0.0.0.",
    ),
    errno.EACCES: (
        "cannot be used: ports below 1024 need privileges",
        "Set a higher one in server.yaml (and send the sites a new coordinator.yaml).",
    ),
}


def check_port(bind: str, port: int) -> None:
    """Refuse a port or address that cannot be listened on, before anything starts.

    Raises
    ------
    DeploymentError
        Says whether the port is in use, the address another machine's, or unknown.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bind, port, type=socket.SOCK_STREAM
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise DeploymentError(
            f"The name {bind} is not known on this machine.",
            do="Set 'bind' in server.yaml to this machine's own address, or to 0.0.0.0.",
        ) from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            what, do = WHY.get(error.errno or 0, (f"cannot be used: {error.strerror}", ""))
            raise DeploymentError(f"Port {port} on {bind} {what}.", do=do) from error
