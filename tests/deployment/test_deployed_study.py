"""A study over real processes and TLS gives what the simulation gives, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployment.federation import Federation, harmonized, said, until
from e2e.consortium import SITES, consortium, succeeded

pytestmark = pytest.mark.xdist_group("federation")


@dataclass(frozen=True)
class Running:
    """A federation that is up, and the same study simulated."""

    federation: Federation
    study: Path
    simulated: Path

    @property
    def sha256(self) -> str:
        manifest = json.loads((self.simulated / "shared/manifest.json").read_text())
        return str(manifest["sha256"])

    def same_as_simulated(self, out: Path) -> None:
        """The same content hash, and the same bytes of every harmonized table."""
        model = json.loads((out / "shared/manifest.json").read_text())
        assert model["sha256"] == self.sha256
        deployed = [home.study("made-up") for home in self.federation.sites.values()]
        simulated = [self.simulated / "sites" / site for site in self.federation.sites]
        assert harmonized(deployed) == harmonized(simulated)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("federation")
    study = consortium(folder, n=20, evaluation={"held_out": 0.2, "metrics": "summed"})
    succeeded("simulate", study, "--out", folder / "simulated")
    federation = Federation(folder)
    for site in SITES:
        federation.add(site, folder / "data" / site)
    try:
        federation.up()
        yield Running(federation, study, folder / "simulated")
    finally:
        federation.down()


def test_equals_the_simulation(running: Running, tmp_path: Path) -> None:
    """Catches anything that the transport, a process or the machine adds to a result."""
    federation = running.federation
    words = ("server", "run", federation.server.path, running.study, "--out", tmp_path / "out")
    printed = succeeded(*words)
    assert f"shared model {running.sha256[:12]}, from ash, birch, cedar" in printed
    running.same_as_simulated(tmp_path / "out")
    for site, home in federation.sites.items():
        ledger = (home.study("made-up") / "ledger.jsonl").read_text()
        assert ledger == (running.simulated / "sites" / site / "ledger.jsonl").read_text()


def in_a_phase(running: Running, site: str, out: Path) -> Any:
    """Order the study and stop the site's worker as soon as the phase is asked for."""
    federation = running.federation
    worker = federation.worker_of(site)
    order = federation.order(running.study, out)
    until(lambda: list(order.events()), "the sites agree")
    os.kill(worker, signal.SIGSTOP)
    until(lambda: said(federation.sites[site]).get("state") == "working", "the site is asked")
    return order


@pytest.mark.parametrize("victim", ["superlink", "node", "worker"])
def test_survives(victim: str, running: Running, tmp_path: Path) -> None:
    """Catches a run that dies with the SuperLink, a message that is lost with a site's process, and
    one that is done twice."""
    federation, site = running.federation, SITES[0]
    order = in_a_phase(running, site, tmp_path / "out")
    worker = federation.worker_of(site)
    pid = {
        "superlink": lambda: federation.process_of("superlink"),
        "node": lambda: federation.node_of(site),
        "worker": lambda: worker,
    }[victim]()
    os.kill(pid, signal.SIGKILL)
    if victim == "superlink":
        os.kill(worker, signal.SIGCONT)
    outcome = federation.finished(order)
    assert outcome.get("missing") == {}, outcome
    running.same_as_simulated(tmp_path / "out")
    federation.connected(federation.sites[site])
