"""Enrolling and removing sites, whatever was lost between the SuperLink and the folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from e2e.consortium import motet, refused, succeeded
from motet.client.home import PUBLIC
from motet.errors import DeploymentError
from motet.server import daemon
from motet.server.daemon import _Tick
from motet.server.enrolment import enrol
from motet.server.home import ServerHome
from motet.server.orders import Order, new_folder
from motet.supervise import started


class SuperLink:
    """What the control requests do, as Flower does it: a key is taken once and for ever."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, int] = {}
        self.gone: set[int] = set()
        self.last = 100

    def keys(self) -> dict[bytes, int]:
        return {key: node for key, node in self.nodes.items() if node not in self.gone}

    def register(self, key: bytes) -> int:
        if key in self.nodes:
            raise DeploymentError("The SuperLink refused a request: Public key already in use")
        self.last += 1
        self.nodes[key] = self.last
        return self.last

    def unregister(self, node: int) -> None:
        assert node in self.keys().values()
        self.gone.add(node)


@pytest.fixture
def superlink(monkeypatch: pytest.MonkeyPatch) -> SuperLink:
    made = SuperLink()
    monkeypatch.setattr(ServerHome, "control", lambda home: made)
    return made


@pytest.fixture
def home(tmp_path: Path, superlink: SuperLink) -> ServerHome:
    """A coordinator with the keys of two sites, ash and cedar."""
    succeeded("server", "init", tmp_path / "coordinator")
    made = ServerHome(tmp_path / "coordinator")
    for site in ("ash", "cedar"):
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        (tmp_path / f"{site}.pub").write_bytes(key.public_bytes(*PUBLIC))
        succeeded("server", "provision", made.path, site, tmp_path / f"{site}.pub")
    return made


def _lost_list(home: ServerHome, superlink: SuperLink) -> None:
    home.enrolled_file.unlink()


def _spoilt_list(home: ServerHome, superlink: SuperLink) -> None:
    home.enrolled_file.write_text("{")


def _lost_database(home: ServerHome, superlink: SuperLink) -> None:
    superlink.nodes.clear()


@pytest.mark.parametrize("lose", [_lost_list, _spoilt_list, _lost_database])
def test_what_was_lost_is_made_again(
    lose: Callable[[ServerHome, SuperLink], None], home: ServerHome, superlink: SuperLink
) -> None:
    """Catches 'already in use' for ever after a crash behind a registration, and sites that are
    unknown to a new database while the folder says they are enrolled."""
    assert enrol(home).new == ["ash", "cedar"]
    assert enrol(home).new == []
    lose(home, superlink)
    assert not enrol(home).problems
    assert set(home.enrolled()) == {"ash", "cedar"}
    assert set(home.enrolled().values()) == set(superlink.nodes.values())


def test_one_bad_key_keeps_nobody_waiting(home: ServerHome, superlink: SuperLink) -> None:
    """Catches a coordinator that ends, or enrols nobody behind the bad one in the alphabet."""
    (home.path / "sites/birch.pub").write_text("no key")
    found = enrol(home)
    assert found.new == ["ash", "cedar"]
    assert "not a public key" in found.problems["birch"]


def test_the_coordinator_says_once_what_is_wrong(
    home: ServerHome, superlink: SuperLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a coordinator that ends for a bad key, is silent, or says it again and again."""
    monkeypatch.setattr(daemon, "look", lambda address, certificate: 0.0)
    monkeypatch.setattr(daemon, "AGAIN", 0.0)
    (home.path / "sites/birch.pub").write_text("no key")
    said: list[str] = []
    tick = _Tick(home, said.append)
    for _ in range(3):
        tick()
    assert [words.split(":")[0] for words in said[1:]] == [
        "Site ash is enrolled.",
        "Site cedar is enrolled.",
        "Not enrolled",
    ]
    (home.path / "sites/birch.pub").unlink()
    (home.path / "sites").rename(home.path / "away")
    (home.path / "sites").write_text("")  # where the node ids cannot be written
    tick()
    assert len(said) == 4


def test_no_run_outlives_its_coordinator(home: ServerHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a run that waits for ever for a SuperLink that was ended in the middle of it."""
    order = Order(folder=new_folder(home.path / "orders"), sites=(), wait=1.0, rounds=1)
    order.write()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:

        def supervised(supervisor: object) -> None:
            order.note(pid=process.pid, started=started(process.pid))

        monkeypatch.setattr(daemon.Supervisor, "run", supervised)
        monkeypatch.setattr(daemon, "check_port", lambda host, port: None)
        daemon.serve(home, say=lambda sentence: None)
        assert process.wait(10) == -signal.SIGKILL


def test_a_removed_site_is_forgotten(
    home: ServerHome, superlink: SuperLink, tmp_path: Path
) -> None:
    """Catches a hospital that left and is still let in, or waited for in every study."""
    enrol(home)
    node = home.enrolled()["ash"]
    assert "new key" in succeeded("server", "remove", home.path, "ash")
    assert superlink.gone == {node}
    assert set(home.enrolled()) == set(home.public_keys()) == {"cedar"}
    assert enrol(home).new == []
    refused(motet("server", "remove", home.path, "ash"), "no site 'ash'")
    refused(
        motet("server", "provision", home.path, "ash", tmp_path / "ash.pub"), "removed", "new one"
    )
    (home.path / "sites/ash.pub").write_bytes((tmp_path / "ash.pub").read_bytes())
    assert "removed" in enrol(home).problems["ash"]
    assert set(home.enrolled()) == {"cedar"}


def test_a_site_is_removed_while_the_coordinator_is_down(
    home: ServerHome, superlink: SuperLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a hospital that is let in again when the coordinator starts, or a site with a
    spoilt key that cannot be removed."""
    enrol(home)

    def unreachable() -> dict[bytes, int]:
        raise DeploymentError("The SuperLink cannot be reached.")

    (home.path / "sites/birch.pub").write_text("no key")
    with monkeypatch.context() as down:
        down.setattr(superlink, "keys", unreachable)
        for site in ("ash", "birch", "cedar"):
            assert "next start" in succeeded("server", "remove", home.path, site)
    assert not superlink.gone
    monkeypatch.setattr(daemon, "look", lambda address, certificate: 0.0)
    _Tick(home, str)()
    assert superlink.gone == set(superlink.nodes.values())
    assert home.enrolled() == home.public_keys() == {}
