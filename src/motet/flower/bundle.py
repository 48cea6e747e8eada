"""The thin Flower app: a bundle that names components of the installed package and holds no code.

A run chooses configuration, never code. The bundle is the same bytes wherever this version of
Motet makes it, so a site compares one SHA-256 with that of its own package.
"""

from __future__ import annotations

import hashlib
import io
import tomllib
import warnings
import zipfile
from functools import lru_cache

from motet.store import DAMAGED
from motet.version import __version__

PYPROJECT = f"""[project]
name = "motet-study"
version = "{__version__}"
description = "A Motet study: the code is that of the package installed at every site."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "motet"

[tool.flwr.app.components]
serverapp = "motet.server.deployed:app"
clientapp = "motet.client.stock:app"

[tool.flwr.app.config]
order = ""
"""


@lru_cache(maxsize=1)
def bundle() -> bytes:
    """The bundle of this version."""
    return bundled(PYPROJECT)


def bundled(pyproject: str) -> bytes:
    """The Flower app bundle that consists of this pyproject.toml alone."""
    from flwr.cli.build import build_fab_from_files  # loads all of Flower's command line

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a library of Flower's
        return bytes(build_fab_from_files({"pyproject.toml": pyproject.encode()})[0])


def digest() -> str:
    """SHA-256 of the bundle of this version: what a site allows unless told otherwise."""
    return hashlib.sha256(bundle()).hexdigest()


def version_of(content: bytes) -> str:
    """The version that a bundle names; empty where it names none. Nothing of it is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            info = archive.getinfo("pyproject.toml")
            if info.file_size > 100_000:
                return ""
            project = tomllib.loads(archive.read(info).decode("utf-8"))["project"]
            return str(project["version"])[:40] if project["name"] == "motet-study" else ""
    except DAMAGED:
        return ""
