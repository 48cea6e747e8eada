"""What a simulation on Ray costs and gains beside one process, in one run.

``python benchmarks/ray_engine.py [STUDY.yaml …]``: seconds until the sites can be asked, a round
with no work, a round of 8 MB there and back, and the end; the same rounds on Flower's own Ray
simulation, whose actors have no state. And whole studies, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from motet.flower.inprocess import InProcessGrid
from motet.flower.ray import ENVIRONMENT, RayGrid

SITES = ("ash", "birch", "cedar")
ROUNDS = 30


class Echo:
    """A site that sends back what it gets."""

    def __call__(self, message: Message, context: Context) -> Message:
        return Message(message.content, reply_to=message)

    def account(self) -> None:
        """Nothing."""


echo = ClientApp()


@echo.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Send back what came."""
    return Message(message.content, reply_to=message)


def round_of(grid: Grid, content: RecordDict) -> float:
    """Seconds of one round, asked as the coordinator asks."""
    began = time.perf_counter()
    asked = [Message(content, node, "query.hello", ttl=60.0) for node in grid.get_node_ids()]
    waiting = set(grid.push_messages(asked))
    while waiting:
        replies = list(grid.pull_messages(waiting))
        waiting -= {reply.metadata.reply_to_message_id for reply in replies}
        if not replies:
            time.sleep(0.002)
    return time.perf_counter() - began


def rounds(grid: Grid) -> tuple[float, float]:
    """Median seconds of a round with no work, and of one with 8 MB."""
    import numpy as np

    large = RecordDict({"a": ArrayRecord([np.zeros(1_000_000)])})
    round_of(grid, RecordDict())
    empty = statistics.median(round_of(grid, RecordDict()) for _ in range(ROUNDS))
    return empty, statistics.median(round_of(grid, large) for _ in range(5))


def row(name: str, start: float, found: tuple[float, float], end: float) -> None:
    """Print a line of the table."""
    empty, large = (1e3 * seconds for seconds in found)
    print(f"| {name} | {start:.2f} s | {empty:.1f} ms | {large:.0f} ms | {end:.2f} s |")


def ours() -> None:
    """Both of our engines."""
    began = time.perf_counter()
    grid = InProcessGrid({site: Echo() for site in SITES})
    start = time.perf_counter() - began
    found, began = rounds(grid), time.perf_counter()
    grid.close()
    row("one process", start, found, time.perf_counter() - began)
    began = time.perf_counter()
    with RayGrid(dict.fromkeys(SITES, Echo), cpus=1.0, gpus=0.0) as on_ray:
        start = time.perf_counter() - began
        found, began = rounds(on_ray), time.perf_counter()
    row("`--engine ray`", start, found, time.perf_counter() - began)


def flowers() -> None:
    """Flower's own simulation, in this process."""
    from flwr.simulation import run_simulation

    seen: list[Callable[[], None]] = []
    app, began = ServerApp(), time.perf_counter()
    ended = 0.0

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        nonlocal ended
        while len(list(grid.get_node_ids())) < len(SITES):
            time.sleep(0.01)
        round_of(grid, RecordDict())
        start = time.perf_counter() - began
        found, ended = rounds(grid), time.perf_counter()
        seen.append(
            lambda: row("Flower's own, no state", start, found, time.perf_counter() - ended)
        )

    init = {"log_to_driver": False, "logging_level": "ERROR"}
    share = {"num_cpus": 1, "num_gpus": 0.0}
    run_simulation(
        app, echo, len(SITES), backend_config={"init_args": init, "client_resources": share}
    )
    seen[0]()


def studies(files: list[Path]) -> None:
    """Whole studies, with the command."""
    print("\n| study | one process | `--engine ray` |\n|---|---|---|")
    for file in files:
        took = {}
        for engine in ("inprocess", "ray"):
            with tempfile.TemporaryDirectory() as folder:
                words = ["simulate", str(file), "--out", f"{folder}/out", "--reports", "later"]
                words += ["--engine", engine]
                began = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-m", "motet", *words], check=True, stdout=subprocess.DEVNULL
                )
                took[engine] = time.perf_counter() - began
        print(f"| {file} | {took['inprocess']:.1f} s | {took['ray']:.1f} s |")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", type=Path)
    parser.add_argument("--flower", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.flower:
        flowers()
        return
    print("| | start | round, no work | round, 8 MB | end |\n|---|---|---|---|---|")
    ours()
    # A process of its own: Ray is started once a process.
    subprocess.run(
        [sys.executable, __file__, "--flower"],
        check=True,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **{k: v for k, v in ENVIRONMENT.items() if k != "RAY_AUTH_MODE"}},
    )
    studies(asked.studies)
    print(f"\n{os.cpu_count()} cores; load at the end {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
