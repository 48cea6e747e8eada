"""A round with no work over TLS with a durable database: Motet's sites beside stock SuperNodes.

    python benchmarks/idle_round.py --sites 3 --rounds 15

Two federations on loopback, one after the other, each in fresh processes: a message to every site,
and every site's reply. Stock: Flower's own SuperNodes and ``grid.send_and_receive``, everything as
it comes. Motet: ``motet server`` and ``motet site``. Also measured: the processor time of a site
(all its processes) while nothing happens. Exits with 1 where an asked figure is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from combat_report import machine

HERE = Path(__file__).resolve().parent
ASKED_SECONDS, ASKED_IDLE = 1.5, 0.03
PYPROJECT = """[project]
name = "idle-round"
version = "1.0.0"
description = "Rounds with no work"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "motet"

[tool.flwr.app.components]
serverapp = "rounds:server"
clientapp = "rounds:client"

[tool.flwr.app.config]
rounds = 3
sites = 3
out = ""
"""


def main() -> None:
    """Measure both, write the figures, say what was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--stock-rounds", type=int, default=6)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of doing nothing")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        ours = motet(Path(scratch) / "motet", asked.sites, asked.rounds, asked.idle)
        stock = flower(Path(scratch) / "stock", asked.sites, asked.stock_rounds, asked.idle)
    results = {
        "machine": machine(),
        "load": [round(x, 1) for x in os.getloadavg()],
        "sites": asked.sites,
        "motet": ours,
        "stock": stock,
    }
    asked.results.mkdir(exist_ok=True)
    (asked.results / "idle_round.json").write_text(json.dumps(results, indent=2) + "\n")
    text = report(results)
    (asked.results / "idle_round.md").write_text(text)
    print(text)
    if median(ours["seconds"]) > ASKED_SECONDS or ours["idle_cpu_of_a_site"] > ASKED_IDLE:
        sys.exit("An asked figure was missed.")


def report(results: dict[str, Any]) -> str:
    """A table."""
    about, rows = results["machine"], []
    for name in ("motet", "stock"):
        found = results[name]
        seconds = found["seconds"]
        rows.append(
            f"| {name} | {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, "
            f"{len(seconds)} rounds) | {100 * found['idle_cpu_of_a_site']:.2f} % | "
            f"{100 * found['idle_cpu_of_the_coordinator']:.1f} % |"
        )
    ratio = median(results["stock"]["seconds"]) / median(results["motet"]["seconds"])
    return "\n".join(
        [
            "# A round with no work",
            "",
            f"{results['sites']} sites on loopback, TLS, SQLite file; {about['cpu']}, "
            f"{about['cores']} cores; load at the end {results['load'][0]}.",
            "",
            "| | median round | idle CPU of a site | idle CPU of the coordinator |",
            "|---|---|---|---|",
            *rows,
            "",
            f"A stock round takes {ratio:.1f} times as long.",
            "",
        ]
    )


@contextmanager
def processes() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start processes that are ended together."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: object, output: Path, **more: Any) -> subprocess.Popen[bytes]:
        with output.open("ab") as stream:
            process = subprocess.Popen(
                [str(word) for word in words], stdout=stream, stderr=stream, **more
            )
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def cpu(roots: list[int]) -> float:
    """Processor seconds of processes and all their descendants."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        ticks[pid] = int(fields[11]) + int(fields[12])
    todo, total = list(roots), 0
    while todo:
        pid = todo.pop()
        total += ticks.get(pid, 0)
        todo += children.get(pid, [])
    return total / os.sysconf("SC_CLK_TCK")


def idle(sites: list[int], coordinator: list[int], seconds: float) -> dict[str, float]:
    """Share of one core that a site, and the coordinator, take while nothing happens."""
    before = cpu(sites), cpu(coordinator)
    time.sleep(seconds)
    after = cpu(sites), cpu(coordinator)
    return {
        "idle_cpu_of_a_site": (after[0] - before[0]) / seconds / len(sites),
        "idle_cpu_of_the_coordinator": (after[1] - before[1]) / seconds,
    }


def wait_for(happened: Callable[[], Any], what: str, seconds: float = 180.0) -> Any:
    """Wait for something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := happened():
            return found
        time.sleep(0.2)
    raise RuntimeError(f"not within {seconds:.0f} s: {what}")


def run(*words: object, environment: dict[str, str] | None = None) -> str:
    """Run a command to its end."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def motet(folder: Path, sites: int, rounds: int, idle_seconds: float) -> dict[str, Any]:
    """Motet's own federation."""
    command = [sys.executable, "-m", "motet"]
    (folder / "data").mkdir(parents=True)
    (folder / "data/participants.tsv").write_text("participant_id\nsub-1\n")
    run(*command, "server", "init", folder / "server", "--port", "19443")
    welcome = folder / "server/coordinator.yaml"
    homes = [folder / f"site{i}" for i in range(sites)]
    for home in homes:
        words = ("--name", home.name, "--data", folder / "data", "--coordinator", welcome)
        run(*command, "site", "init", home, *words)
        key = home / "node.pub"
        run(*command, "server", "provision", folder / "server", home.name, key)
    with processes() as start:
        server = start(*command, "server", "start", folder / "server", output=folder / "server.out")
        nodes = [
            start(*command, "site", "start", home, output=folder / f"{home.name}.out")
            for home in homes
        ]
        for home in homes:
            status = home / "status.json"
            wait_for(lambda s=status: s.exists() and "connected" in s.read_text(), home.name)
        run(*command, "server", "check", folder / "server", "--rounds", "2")
        quiet = idle([node.pid for node in nodes], [server.pid], idle_seconds)
        run(*command, "server", "check", folder / "server", "--rounds", str(rounds))
        orders = sorted((folder / "server/orders").glob("*/outcome.json"))
        return {"seconds": json.loads(orders[-1].read_text())["seconds"], **quiet}


def flower(folder: Path, sites: int, rounds: int, idle_seconds: float) -> dict[str, Any]:
    """Flower's federation as it comes, with TLS and a durable database."""
    from motet.server.certificates import make_certificates

    folder.mkdir()
    make_certificates(folder / "tls", ["localhost", "127.0.0.1"])
    app = folder / "idle-round"
    app.mkdir()
    (app / "pyproject.toml").write_text(PYPROJECT)
    (app / "rounds.py").write_text((HERE / "idle_round_app" / "rounds.py").read_text())
    home = folder / "home"
    home.mkdir()
    authority = folder / "tls/ca.crt"
    (home / "config.toml").write_text(
        '[superlink]\ndefault = "here"\n[superlink.here]\naddress = "localhost:19543"\n'
        f'root-certificates = "{authority}"\n'
    )
    environment = os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    bin_ = Path(sys.executable).parent
    with processes() as start:
        server = start(
            *(bin_ / "flower-superlink", "--host", "127.0.0.1", "--port", "19543"),
            *("--ssl-ca-certfile", authority, "--ssl-certfile", folder / "tls/server.crt"),
            *("--ssl-keyfile", folder / "tls/server.key", "--database", folder / "state.db"),
            "--disable-runtime-dependency-installation",
            output=folder / "superlink.out",
            env=environment,
        )
        time.sleep(8)
        nodes = [
            start(
                *(bin_ / "flower-supernode", "--superlink", "localhost:19543"),
                *("--root-certificates", authority, "--port", 19600 + i),
                *("--node-config", f'site="site{i}"'),
                output=folder / f"node{i}.out",
                env=environment,
            )
            for i in range(sites)
        ]
        time.sleep(15)
        quiet = idle([node.pid for node in nodes], [server.pid], idle_seconds)
        out = folder / "seconds.json"
        config = f'rounds={rounds} sites={sites} out="{out}"'
        run(bin_ / "flwr", "run", app, "here", "--run-config", config, environment=environment)
        wait_for(out.exists, "the stock rounds", seconds=60 + 30 * rounds)
        time.sleep(1)
        return {"seconds": json.loads(out.read_text()), **quiet}


if __name__ == "__main__":
    main()
