"""``motet simulate --engine ray``: what is written and said is that of one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message

from e2e.consortium import SITES, consortium, files, motet, refused
from e2e.test_interrupted import same
from motet.engine import Account, Running, Settled
from motet.errors import EngineError, WorkerDiedError
from motet.flower.inprocess import InProcessGrid
from motet.simulation import simulate

RUN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
RUN += "from motet.cli import main; main()"
PROC = Path("/proc")


def test_shares_are_for_processes(tmp_path: Path) -> None:
    """Catches an option that is taken and does nothing."""
    study = consortium(tmp_path)
    for option in ("--cpus-per-site", "--gpus-per-site"):
        ran = motet("simulate", study, "--out", tmp_path / "out", option, "1")
        refused(ran, option, "--engine ray")


def test_extra_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback, or a folder begun, where the extra is missing."""
    monkeypatch.setitem(sys.modules, "ray", None)
    study, out = consortium(tmp_path), tmp_path / "out"
    ran = motet("simulate", study, "--out", out, "--engine", "ray")
    refused(ran, "Ray", "pip install 'motet[ray]'")
    assert not out.exists()


@contextmanager
def birch_dies(settlers: Mapping[str, Callable[[], Settled]]) -> Iterator[Running]:
    """An engine in which the process of one site ends at its first message."""

    def died(message: Message, context: Context) -> Message:
        raise WorkerDiedError("Its process ended.", site="birch")

    settled = {site: settle() for site, settle in settlers.items()}
    grid = InProcessGrid({**settled, "birch": died})
    error = WorkerDiedError("Its process ended.", site="birch")
    try:
        yield Running(
            grid=grid,
            account=lambda s: Account(error=error) if s == "birch" else settled[s].account(),
        )
    finally:
        grid.close()


def test_site_whose_process_ends_at_once(tmp_path: Path) -> None:
    """Catches a lost site that is known by a number only, so that its results are looked for."""
    asked: dict[str, Any] = {"out": tmp_path / "out", "reports": "later", "engine": birch_dies}
    result = simulate(consortium(tmp_path, federation={"quorum": 2}), **asked)
    assert result.missing == {"birch": "site-app"}
    assert sorted(result.models) == ["ash", "cedar"]
    asked["out"] = tmp_path / "all"
    with pytest.raises(WorkerDiedError, match="site birch: Its process ended"):
        simulate(consortium(tmp_path), **asked)


def test_values_in_memory_are_of_one_process(tmp_path: Path) -> None:
    """Catches empty results of sites that wrote into the memory of another process."""
    with pytest.raises(EngineError, match="out="):
        simulate(consortium(tmp_path), engine=birch_dies)


@dataclass
class Run:
    """A command in a process of its own, with those that it starts."""

    words: tuple[object, ...]
    pids: set[int] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    out: str = ""
    err: str = ""
    code: int = 0

    def start(self, meanwhile: Callable[[subprocess.Popen[str]], None] = lambda p: None) -> Run:
        words = [sys.executable, "-c", RUN, *map(str, self.words), "--reports", "later"]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # A session of its own: its processes are found by that, whoever their parent is.
        with subprocess.Popen(words, text=True, start_new_session=True, **pipes) as process:
            watcher = threading.Thread(target=self._watch, args=(process,))
            watcher.start()
            meanwhile(process)
            self.out, self.err = process.communicate(timeout=180)
            watcher.join()
            self.code = process.returncode
        return self

    def _watch(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            for pid, name in of_session(process.pid):
                self.pids.add(pid)
                self.names.add(name)
                self.addresses |= set(listening(pid))
            time.sleep(0.3)


def of_session(session: int) -> Iterator[tuple[int, str]]:
    """Processes of a session, but for those that have ended and wait to be reaped."""
    for place in PROC.glob("[0-9]*"):
        try:
            state = (place / "stat").read_text().rpartition(")")[2].split()
            name = (place / "cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        if int(state[3]) == session and state[0] != "Z":
            yield int(place.name), name


def listening(pid: int) -> Iterator[str]:
    """Addresses on which a process listens, in the kernel's hexadecimal."""
    sockets = set()
    try:
        for handle in (PROC / str(pid) / "fd").iterdir():
            sockets.add(os.readlink(handle))
    except OSError:
        return
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                yield words[1].split(":")[0]


def left(run: Run, *, patience: float = 10.0) -> list[int]:
    """Its processes that are still there; those asked to end have a moment for it."""
    until = time.monotonic() + patience
    while here := [pid for pid in run.pids if alive(pid)]:
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    return here


def alive(pid: int) -> bool:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of arrays, and beside it ``here/``, what one process writes."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    folder = tmp_path_factory.mktemp("engines")
    scanners = {"birch": ("prisma", "vida")}
    asked = {"held_out": 0.2, "metrics": "summed"}
    path = consortium(folder, form="npy", scanners=scanners, n=24, evaluation=asked)
    (folder / "here.txt").write_text(motet("simulate", path, "--out", folder / "here").out)
    return path


@pytest.fixture(scope="module")
def on_ray(study: Path) -> Run:
    out = study.parent / "there"
    return Run(("simulate", study, "--out", out, "--engine", "ray")).start()


def test_same_files_and_words(study: Path, on_ray: Run) -> None:
    """Catches another result, a line of Ray's on the terminal, a progress that is not told."""
    assert (on_ray.code, on_ray.err) == (0, "")
    here, there = study.parent / "here", study.parent / "there"
    same(there, here)
    assert on_ray.out.replace(str(there), str(here)) == (study.parent / "here.txt").read_text()


def test_stays_on_this_machine(on_ray: Run) -> None:
    """Catches a port that others reach, a dashboard, and what is left when the run is over."""
    assert any(name.startswith("ray::SiteProcess") for name in on_ray.names)
    assert on_ray.addresses
    assert on_ray.addresses <= LOOPBACK
    assert left(on_ray) == []
    assert not [p for p in Path("/tmp").glob("motet-ray-*") if str(min(on_ray.pids)) in p.name]


def test_site_that_fails_says_the_same(study: Path, tmp_path: Path) -> None:
    """Catches an error that is lost, or told otherwise, since another process raised it."""
    spoiled = consortium(tmp_path, form="npy", n=24, federation={"quorum": 3})
    file = tmp_path / "data/birch/features.npy"
    values = np.load(file)
    values[3, 1] = np.inf
    np.save(file, values)
    here = motet("simulate", spoiled, "--out", tmp_path / "here")
    refused(here, "birch", "lh_insula")
    there = Run(("simulate", spoiled, "--out", tmp_path / "there", "--engine", "ray")).start()
    assert (there.code, there.err) == (2, here.err)
    assert left(there) == []


def test_killed_site_is_left_out(study: Path, tmp_path: Path) -> None:
    """Catches one process without memory that ends the study or fails other sites."""
    out = tmp_path / "out"

    def kill_one(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            actors = [p for p, name in of_session(process.pid) if name == "ray::SiteProcess"]
            if len(actors) == len(SITES):
                os.kill(actors[0], signal.SIGKILL)
                return
            time.sleep(0.01)

    enough = consortium(tmp_path, form="npy", n=24, federation={"quorum": 2})
    run = Run(("simulate", enough, "--out", out, "--engine", "ray")).start(kill_one)
    assert run.code == 0, run.err
    assert run.out.count("is missing (site-app)") == 1
    assert len(list(out.glob("sites/*/model"))) == 2


@pytest.mark.parametrize("at", ["start", "work"])
def test_ctrl_c_leaves_nothing(at: str, study: Path, tmp_path: Path) -> None:
    """Catches Ray's processes that go on by themselves, and a study that cannot go on."""
    out = tmp_path / "out"
    awaited = "gcs_server" if at == "start" else "ray::SiteProcess"

    def interrupt(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            if any(awaited in name for _, name in of_session(process.pid)):
                process.send_signal(signal.SIGINT)
                return
            time.sleep(0.01)

    # All cores a site: the others wait for their turn, and must not take it when all is over.
    words = ("simulate", study, "--out", out, "--engine", "ray", "--cpus-per-site", os.cpu_count())
    run = Run(words).start(interrupt)
    assert run.code == 130
    assert left(run) == []
    assert run.err == "Stopped. The same command goes on where this one was.\n"
    ran = motet("simulate", study, "--out", out)
    assert ran.code == 0, ran.err
    assert files(out / "shared") == files(study.parent / "here/shared")
