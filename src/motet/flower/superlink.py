"""Flower's documented command lines, as a coordinator uses them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TASK_POLL = "0.5"
"""Seconds between looks of the superexec for a run to start."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of every Flower process: no telemetry, no update check, a home of our own."""
    # The superexec looks for its programs on the path, which a service's environment may lack.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {
        **os.environ,
        "PATH": path,
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
