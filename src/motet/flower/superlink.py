"""Flower's documented command lines, as a coordinator uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motet.errors import DeploymentError

CONNECTION = "motet"
TASK_POLL = "0.1"
"""Seconds between looks of the superexec for a run to start."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of every Flower process: no telemetry, no update check, a home of our own."""
    return {
        **os.environ,
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_HOME": str(home),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": TASK_POLL,
        **more,
    }


def program(name: str) -> str:
    """A command of the Python environment that we run in."""
    path = Path(sys.executable).parent / name
    return str(path) if path.exists() else name


def superlink(
    *, host: str, port: int, tls: Path, database: Path, secret: Path, log: Path
) -> list[str]:
    """The SuperLink: TLS, node authentication, a durable database, runs in processes of their own.

    Parameters
    ----------
    tls : Path
        Folder with ``ca.crt``, ``server.crt`` and ``server.key``.
    """
    return [
        program("flower-superlink"),
        *("--host", host, "--port", str(port)),
        *("--ssl-ca-certfile", str(tls / "ca.crt")),
        *("--ssl-certfile", str(tls / "server.crt")),
        *("--ssl-keyfile", str(tls / "server.key")),
        *("--database", str(database)),
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(secret)),
        *("--log-file", str(log)),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]


def superexec(*, address: str, tls: Path, secret: Path) -> list[str]:
    """The process that starts a run's ServerApp, from the installed package."""
    return [
        program("flower-superexec"),
        *("--runtime-api-address", address),
        *("--root-certificates", str(tls / "ca.crt")),
        *("--superexec-auth-secret-file", str(secret)),
    ]


def configure(home: Path, *, address: str, certificate: Path) -> None:
    """Write the connection that Flower's commands use, readable by the owner only."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
        f"address = {json.dumps(address)}\nroot-certificates = {json.dumps(str(certificate))}\n",
        encoding="utf-8",
    )


def register(home: Path, public_key: Path) -> int:
    """Enrol a node's public key; returns its node id."""
    answer = _flwr(home, ["supernode", "register", str(public_key), CONNECTION])
    return int(answer["node-id"])


def nodes(home: Path) -> dict[int, str]:
    """Node id -> ``online``, ``offline`` or ``registered``."""
    answer = _flwr(home, ["supernode", "ls", CONNECTION])
    return {int(node["node-id"]): str(node["status"]) for node in answer.get("nodes", ())}


def run(home: Path, app: Path, config: Mapping[str, str]) -> int:
    """Start a run of an app; returns its id."""
    words = " ".join(f"{key}={json.dumps(value)}" for key, value in config.items())
    answer = _flwr(home, ["run", str(app), CONNECTION, "--run-config", words])
    return int(answer["run-id"])


def stop(home: Path, run_id: int) -> None:
    """Stop a run."""
    _flwr(home, ["stop", str(run_id), CONNECTION])


def _flwr(home: Path, words: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - Flower's own command
        [program("flwr"), *words, "--format", "json"],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    start = done.stdout.find("{")
    try:
        answer = json.loads(done.stdout[start:])
    except ValueError:
        answer = {}
    if done.returncode != 0 or not answer.get("success"):
        lines = (done.stderr or done.stdout).strip().splitlines()
        said = answer.get("error-message") or (lines[-1] if lines else "nothing")
        raise DeploymentError(
            f"'flwr {words[0]}' did not succeed: {said}",
            do="Is the coordinator running? See 'motet server status'.",
        )
    return dict(answer)
