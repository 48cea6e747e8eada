"""A real federation on this machine: a coordinator and sites as processes, loopback TLS."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from e2e.consortium import succeeded
from motet.client.home import SiteHome
from motet.client.policy import OPEN
from motet.secure.keys import fingerprint
from motet.server.command import submit
from motet.server.home import ServerHome
from motet.server.orders import Order

PATIENCE = 180.0  # of a machine that others use, too
"""Seconds after which something that was waited for will not happen: the machine is shared."""


def free_port() -> int:
    """A port that is free, as is the next."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def until(happened: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
    """Wait for something and return it; fail with `what` when it does not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


class Federation:
    """Folders, processes, and what a person would type."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.server = ServerHome(folder / "coordinator")
        self.sites: dict[str, SiteHome] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        succeeded("server", "init", self.server.path, "--port", self.port)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

    def add(
        self,
        name: str,
        data: Path,
        *,
        enrol: str = "enrolled",
        changes: Mapping[str, Any] | None = None,
    ) -> SiteHome:
        home = SiteHome(self.folder / f"site-{name}")
        welcome = self.server.path / "coordinator.yaml"
        words = ("--name", name, "--data", data, "--coordinator", welcome)
        succeeded("site", "init", home.path, *words)
        # Made-up hospitals have few people; what a policy refuses has a test of its own. Who may
        # read sums, and whose keys are good, is as by default.
        settings = yaml.safe_load((home.path / "site.yaml").read_text())
        settings["policy"] = OPEN.model_dump(mode="json") | {"plain_sums": False, "new_keys": False}
        settings["approve_automatically"] = [{"purpose": "tests", "until": "2999-12-31"}]
        settings |= changes or {}
        (home.path / "site.yaml").write_text(yaml.safe_dump(settings))
        if enrol == "enrolled":
            succeeded("server", "provision", self.server.path, name, home.public_key)
            self._introduce(home)
            self.sites[name] = home
        return home

    def _introduce(self, home: SiteHome) -> None:
        """Have people compare the fingerprints of a new site and those that are there."""
        for other in self.sites.values():
            for one, its in ((home, other), (other, home)):
                print_of = fingerprint(its.sum_key().public)
                one.peers().accept(its.settings.name, print_of, by="tests")

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        """Start a command that stays; its output lies in a file of its number."""
        number = len(self._processes)
        with (self.folder / f"{number}.out").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "motet", *map(str, words)],
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        self._processes.append(process)
        return process

    def number_of(self, process: subprocess.Popen[bytes]) -> int:
        """The number of the file with a command's output."""
        return self._processes.index(process)

    def up(self) -> None:
        """Start everything and wait until all sites are connected."""
        for home in self.sites.values():
            self.start("site", "start", home.path)
        first = next(iter(self.sites.values()))
        self.first_words = until(
            lambda: said(first).get("sentence"), "a site says what it waits for"
        )
        self.coordinator = self.start("server", "start", self.server.path)
        for home in self.sites.values():
            self.connected(home)

    def down(self) -> None:
        """End everything; nothing may be left."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def connected(self, home: SiteHome) -> None:
        until(lambda: said(home).get("state") in ("connected", "working"), f"{home.path} connects")

    def order(self, study: Path, out: Path) -> Order:
        """Order a study and do not wait."""
        return submit(self.server, study, out=out, wait=PATIENCE)

    def orders(self) -> list[Order]:
        """All that was ordered so far."""
        files = sorted((self.server.path / "orders").glob("*/order.json"))
        return [Order.read(file.parent) for file in files]

    def finished(self, order: Order) -> dict[str, Any]:
        """Wait for the end of an order; its outcome."""
        return dict(until(order.outcome, f"{order.name} ends", seconds=2 * PATIENCE))

    def process_of(self, name: str) -> int:
        """Process number of ``superlink`` or ``superexec``."""
        status = json.loads(self.server.status.read_text())
        pid = status["processes"][name]["pid"]
        if pid is None:
            raise ProcessLookupError(f"{name} was killed, and is not there again yet")
        return int(pid)

    def node_of(self, site: str) -> int:
        status = json.loads(self.sites[site].supervised.read_text())
        return int(status["processes"]["node"]["pid"])

    def worker_of(self, site: str) -> int:
        return int(until(lambda: said(self.sites[site]).get("worker"), f"{site} has a worker"))


def said(home: SiteHome) -> dict[str, Any]:
    """What a site's node says of itself."""
    try:
        return dict(json.loads(home.status.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def harmonized(folders: Sequence[Path]) -> list[bytes]:
    return [(folder / "harmonized" / "features.tsv").read_bytes() for folder in folders]
