"""Making a coordinator's folder, and renewing its certificate."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import yaml

from motet.config import checked
from motet.errors import DeploymentError
from motet.server.anchors import new_key
from motet.server.certificates import make_certificates
from motet.server.home import ServerHome, ServerSettings
from motet.store import OWNER, atomic


def init_server(folder: Path, *, host: str, port: int, bind: str = "") -> ServerHome:
    """Make a coordinator's folder; refuses one that is there."""
    if (folder / "server.yaml").exists():
        raise DeploymentError(
            "The folder is a coordinator's already.",
            do="Start it with 'motet server start', or name another folder.",
            file=folder,
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DeploymentError("The folder is not empty.", do="Name a new one.", file=folder)
    asked: dict[str, Any] = {"host": host, "port": port} | ({"bind": bind} if bind else {})
    settings = checked(ServerSettings, asked)
    home = ServerHome(folder.resolve())
    home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chmod(home.path, 0o700)
    (home.path / "sites").mkdir()
    home.logs.mkdir()
    make_certificates(home.tls, settings.names)
    with atomic(home.secret, readable_by=OWNER) as stream:
        stream.write(secrets.token_hex(32))
    welcome: dict[str, Any] = {
        "address": settings.address,
        "certificate": (home.tls / "ca.crt").read_text(encoding="ascii"),
        "ledger_key": new_key(home.ledger_key).public_key().public_bytes_raw().hex(),
    }
    with atomic(home.path / "coordinator.yaml") as stream:
        stream.write(
            "# For the sites: 'motet site init FOLDER --coordinator coordinator.yaml'\n"
            + yaml.safe_dump(welcome, sort_keys=False, default_style=None)
        )
    with atomic(home.path / "server.yaml") as stream:
        stream.write(yaml.safe_dump(asked, sort_keys=False))
    return home


def renew(home: ServerHome) -> None:
    """Make a new server certificate of the same authority: no site has to do anything.

    Raises
    ------
    DeploymentError
        Where the authority's key is not in the folder.
    """
    names = home.settings.names
    try:
        make_certificates(home.tls, names, authority="kept")
    except (OSError, ValueError, TypeError) as error:
        raise DeploymentError(
            "The authority's key and certificate cannot be read.",
            do="Restore ca.key and ca.crt from the backup: the sites trust these.",
            file=home.tls,
        ) from error
