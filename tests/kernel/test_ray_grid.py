"""What of the Ray engine can be told without Ray: room, turns, sentences, start and end."""

from __future__ import annotations

import importlib.machinery
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from e2e.consortium import consortium
from motet import config, errors
from motet.engine import Account, on_ray
from motet.errors import DataError, EngineError, MotetError, WorkerDiedError
from motet.flower.inprocess import InProcessGrid
from motet.flower.ray import LOOPBACK, RayGrid, turns
from motet.images.images import Images
from motet.sites import open_sites


class Dead(Exception):
    """An actor's process is gone."""


class Raised(Exception):
    """A method of an actor raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("Ray's words")
        self.cause = cause


class FakeRay(ModuleType):
    """Ray's part in the grid, in this process."""

    def __init__(self, address: str = LOOPBACK, cores: float = 4.0) -> None:
        super().__init__("ray")
        self.__spec__ = importlib.machinery.ModuleSpec("ray", None)
        self.said: list[str] = []
        self.folder = Path()
        self.dead: set[int] = set()
        self._room = {"CPU": cores}
        self.util = SimpleNamespace(get_node_ip_address=lambda: address)
        self.exceptions = SimpleNamespace(RayActorError=Dead, RayTaskError=Raised)

    def is_initialized(self) -> bool:
        return self.said[-1:] == ["init"]

    def init(self, *, address: str, _temp_dir: str, **options: Any) -> None:
        assert address == "local"
        assert not options["include_dashboard"]
        assert not options["log_to_driver"]
        self.folder = Path(_temp_dir)
        self.said.append("init")

    def cluster_resources(self) -> dict[str, float]:
        return self._room

    def remote(self, kind: type) -> Any:
        def started() -> Any:
            site = kind()

            def calling(name: str) -> Any:
                return SimpleNamespace(remote=lambda *asked: (site, name, asked))

            return SimpleNamespace(
                number=id(site), **{n: calling(n) for n in ("settle", "answer", "account")}
            )

        return SimpleNamespace(options=lambda **asked: SimpleNamespace(remote=started))

    def get(self, call: Any) -> Any:
        site, name, asked = call
        if id(site) in self.dead:
            raise Dead
        try:
            return getattr(site, name)(*asked)
        except Exception as error:
            raise Raised(error) from error

    def kill(self, actor: Any) -> None:
        self.dead.add(actor.number)
        self.said.append("kill")

    def shutdown(self) -> None:
        self.said.append("shutdown")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    with mock.patch.dict(os.environ):
        yield fake


class Echo:
    """A site that says where it is."""

    def __call__(self, message: Message, context: Context) -> Message:
        return Message(RecordDict({"c": ConfigRecord(dict(context.node_config))}), reply_to=message)

    def account(self) -> Account:
        return Account(warnings=("so it is",))


def asked(grid: InProcessGrid) -> list[Message]:
    messages = [
        Message(RecordDict(), node, "query.hello", ttl=60.0) for node in grid.get_node_ids()
    ]
    return list(grid.send_and_receive(messages, timeout=10.0))


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"),
    [(1.0, 0.0, 8), (2.0, 0.0, 4), (3.0, 0.0, 2), (0.5, 0.0, 16), (1.0, 0.5, 8), (1.0, 1.0, 8)],
)
def test_turns(cpus: float, gpus: float, expected: int) -> None:
    """Catches sites that work side by side in greater number than there is room for."""
    assert turns({"CPU": 8.0, "GPU": 4.0}, sites=4, cpus=cpus, gpus=gpus) == expected


@pytest.mark.parametrize(
    ("cpus", "gpus", "words"),
    [
        (9.0, 0.0, "--cpus-per-site"),
        (0.0, 0.0, "--cpus-per-site"),
        (1.0, 1.5, "--gpus-per-site"),
        (1.0, -1.0, "--gpus-per-site"),
        (1.0, 1.0, "--gpus-per-site 0.33"),
        (1.0, 0.6, "--gpus-per-site 0.33"),  # parts of two cards are no card
        (1.0, 2.0, "--gpus-per-site 0.33"),
    ],
)
def test_too_little_room(cpus: float, gpus: float, words: str) -> None:
    """Catches a run that waits for ever for a core or GPU that is not there."""
    with pytest.raises(EngineError, match=words):
        turns({"CPU": 8.0, "GPU": 2.0}, sites=5, cpus=cpus, gpus=gpus)


def test_share_that_is_proposed_fits() -> None:
    """Catches advice that is refused, too."""
    assert turns({"CPU": 8.0, "GPU": 2.0}, sites=5, cpus=1.0, gpus=0.33) == 8
    with pytest.raises(EngineError, match="Leave --gpus-per-site out"):
        turns({"CPU": 8.0}, sites=5, cpus=1.0, gpus=0.5)


def test_sites_take_turns() -> None:
    """Catches all sites at once where memory is for one only."""
    at_work, most, lock = 0, 0, threading.Lock()

    def app(message: Message, context: Context) -> Message:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.15)  # longer than a site waits where all share one process
        with lock:
            at_work -= 1
        return Message(RecordDict(), reply_to=message)

    grid = InProcessGrid(dict.fromkeys("abc", app), turns=1, longest_wait=None)
    assert len(asked(grid)) == 3
    assert most == 1
    grid.close()


def test_sites_answer_from_their_actors(ray: FakeRay) -> None:
    """Catches a site that answers for another, and Ray or its files left behind."""
    with RayGrid({"ash": Echo, "birch": Echo}, cpus=1.0, gpus=0.0) as grid:
        assert {str(m.content["c"]["site"]) for m in asked(grid)} == {"ash", "birch"}
        assert grid.account("ash").warnings == ("so it is",)
        assert ray.folder.is_dir()
        assert oct(ray.folder.stat().st_mode).endswith("700")
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert ray.said == ["init", "kill", "kill", "shutdown"]
    assert not ray.folder.exists()


def test_dead_actor_is_a_lost_site(ray: FakeRay) -> None:
    """Catches a process without memory that ends the study, or takes other sites with it."""
    with RayGrid({"ash": Echo, "birch": Echo}, cpus=1.0, gpus=0.0) as grid:
        ray.kill(grid._actors["ash"])
        replies = asked(grid)
        assert sorted(m.has_error() for m in replies) == [False, True]
        with pytest.raises(WorkerDiedError, match="site ash"):
            grid.account("ash")


def test_site_that_cannot_settle_says_why(ray: FakeRay) -> None:
    """Catches Ray's words around a site's own, and Ray left running."""

    def settle() -> Echo:
        raise DataError("It is damaged.", site="ash")

    with (
        pytest.raises(DataError, match="site ash: It is damaged"),
        RayGrid({"ash": settle}, cpus=1.0, gpus=0.0),
    ):
        pass
    assert ray.said == ["init", "kill", "shutdown"]


@pytest.mark.parametrize("wrong", ["address", "room"])
def test_failed_start_leaves_nothing(
    wrong: str, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches Ray left running by a study that is refused."""
    fake = FakeRay("10.0.0.1") if wrong == "address" else FakeRay(cores=0.0)
    monkeypatch.setitem(sys.modules, "ray", fake)
    with pytest.raises(EngineError), RayGrid({"ash": Echo}, cpus=1.0, gpus=0.0):
        pass
    assert fake.said == ["init", "shutdown"]
    assert not fake.folder.exists()


def test_somebody_elses_ray_is_left_alone(ray: FakeRay) -> None:
    """Catches a notebook whose own Ray is shut down."""
    ray.said.append("init")
    with (
        pytest.raises(EngineError, match=r"ray\.shutdown"),
        RayGrid({"ash": Echo}, cpus=1.0, gpus=0.0),
    ):
        pass
    assert ray.said == ["init"]


def test_ctrl_c_while_ray_starts(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an interrupt in the middle of Ray's start, which leaves its processes behind."""
    start = ray.init

    def interrupted(**options: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        start(**options)

    monkeypatch.setattr(ray, "init", interrupted)
    # A shell's background job begins with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), RayGrid({"ash": Echo}, cpus=1.0, gpus=0.0):
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert ray.said == ["init", "shutdown"]


def test_folder_of_a_killed_run_is_removed(ray: FakeRay) -> None:
    """Catches tables of people that stay on disk because a run was killed."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left = Path("/tmp") / f"motet-ray-{child.pid}-left"
    left.mkdir()
    with RayGrid({"ash": Echo}, cpus=1.0, gpus=0.0):
        assert not left.exists()


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback where a sentence would say what to install."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'motet\[ray\]'"):
        on_ray()


def test_tables_reach_another_process(tmp_path: Path) -> None:
    """Catches gigabytes of a mapped file that are copied, and locks that cannot travel."""
    study = config.load_study(consortium(tmp_path, form="npy"))
    table = open_sites(study)["ash"]
    again = pickle.loads(pickle.dumps(table))
    assert isinstance(again.values, np.memmap)
    assert len(pickle.dumps(table)) < 10_000
    np.testing.assert_array_equal(again.values, table.values)
    part = table.where(np.arange(len(table)) < 5)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(part)).block(slice(None)), part.block(slice(None))
    )
    fields = {**table.__dict__, "values": np.asarray(table.values)}
    images = Images(**fields, scans=(), contrast="T1w", scratch=threading.Lock())
    images.read["x"] = threading.Lock()
    again = pickle.loads(pickle.dumps(images))
    assert (again.scratch, again.read, again.contrast) == (None, {}, "T1w")


def test_errors_come_back_as_they_were() -> None:
    """Catches an error of a site that another process shows without its sentence or its place."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, MotetError):
            error = kind("It is so.", do="Do that.", site="ash", file="x.tsv")
            again = pickle.loads(pickle.dumps(error))
            assert (type(again), str(again), again.do) == (kind, str(error), "Do that.")
