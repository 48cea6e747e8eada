"""A hospital's folder: settings, key, the coordinator's certificate, studies, logs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, field_validator

from motet.address import checked_address
from motet.client.approval import Approvals, Rule
from motet.client.budget import Budget
from motet.client.local_site import silent
from motet.client.peers import Peers
from motet.client.pending import PendingStudies
from motet.client.policy import SitePolicy
from motet.config import checked, parse_yaml
from motet.errors import DeploymentError, is_plain_name
from motet.ledger import Ledger
from motet.secure.keys import SumKey
from motet.store import EVERYBODY, OWNER, atomic
from motet.training.where import Device

PUBLIC = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


class SiteSettings(BaseModel):
    """``site.yaml``.

    Parameters
    ----------
    name : str
        The site's name, as it is enrolled.
    data : Path
        The folder with ``participants.tsv`` and the measures.
    coordinator : str
        ``host:port``; an IPv6 address in brackets.
    bundles : tuple of str
        SHA-256 of Flower apps that runs may be started with, beside that of this package.
    ledger_key : str
        The coordinator's public key, with which it countersigns the ledger.
    policy : SitePolicy
        What the site lets leave. A study cannot loosen it.
    device : {"auto", "cpu", "cuda"}
        Where networks are trained, in studies that train some; ``auto``: CUDA where there is some.
    approve_automatically : tuple of Rule
        Studies that need no word of the data manager.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    data: Path
    coordinator: str
    bundles: tuple[str, ...] = ()
    ledger_key: str = ""
    policy: SitePolicy = SitePolicy()
    device: Device = "auto"
    approve_automatically: tuple[Rule, ...] = ()

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not is_plain_name(value):
            raise ValueError("this cannot be the name of a site")
        return value

    @field_validator("coordinator")
    @classmethod
    def _reachable(cls, value: str) -> str:
        return checked_address(value)


@dataclass(frozen=True)
class SiteHome:
    """The layout of a site's folder."""

    path: Path

    @property
    def private_key(self) -> Path:
        """The key that proves who the site is. It never leaves."""
        return self.path / "keys" / "node.key"

    @property
    def public_key(self) -> Path:
        """What the coordinator enrols."""
        return self.path / "node.pub"

    @property
    def certificate(self) -> Path:
        """The authority of the coordinator's certificate."""
        return self.path / "coordinator.crt"

    @property
    def status(self) -> Path:
        """What the node says of itself."""
        return self.path / "status.json"

    @property
    def supervised(self) -> Path:
        """What the supervisor says of the node's process."""
        return self.path / "processes.json"

    @property
    def log(self) -> Path:
        """The site's own log: the only place where an error's words stand."""
        return self.path / "log" / "site.log"

    @property
    def outbox(self) -> Path:
        """The last replies, to be sent again where one was lost."""
        return self.path / "outbox"

    @property
    def session(self) -> Path:
        """How the connection was left: a node that was killed says goodbye for itself."""
        return self.path / "session.json"

    @property
    def ledger(self) -> Path:
        """What left, of all studies."""
        return self.path / "ledger.sqlite"

    @property
    def pending(self) -> PendingStudies:
        """Plans that were asked for."""
        return PendingStudies(self.path / "pending")

    def approvals(self) -> Approvals:
        """What the data manager allowed."""
        settings = self.settings
        ledger = Ledger(self.ledger, site=settings.name)
        return Approvals(ledger, settings.approve_automatically)

    def budget(self) -> Budget:
        """Epsilon and delta that are spent and left."""
        settings = self.settings
        return Budget(policy=settings.policy, ledger=Ledger(self.ledger, site=settings.name))

    def peers(self, say: Callable[[str], None] = silent) -> Peers:
        """The other sites' keys for secure sums."""
        settings = self.settings
        ledger = Ledger(self.ledger, site=settings.name)
        return Peers(ledger, say, first_use=settings.policy.new_keys)

    def sum_key(self) -> SumKey:
        """The site's own key for secure sums."""
        return SumKey.of(self.secret())

    def study(self, name: str) -> Path:
        """Folder of one study: model, harmonized data, report."""
        return self.path / "studies" / name

    @property
    def settings(self) -> SiteSettings:
        """``site.yaml``, checked; ``data`` is relative to the folder.

        Raises
        ------
        DeploymentError, StudyFileError
            When the folder is not a site's, or a key in the file is wrong.
        """
        file = self.path / "site.yaml"
        try:
            document = parse_yaml(file.read_text(encoding="utf-8"), file=file)
        except FileNotFoundError as error:
            raise DeploymentError(
                "This is not a site's folder: site.yaml is missing.",
                do="Make one with 'motet site init FOLDER'.",
                file=self.path,
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise DeploymentError(f"site.yaml cannot be read: {error}.", file=file) from error
        if not isinstance(document, dict):
            raise DeploymentError("site.yaml holds no settings.", file=file)
        settings = checked(SiteSettings, document, file=file)
        return settings.model_copy(update={"data": self.path / settings.data})

    def secret(self) -> bytes:
        """What nobody else knows: the hash of the private key, for marks in the ledger."""
        return hashlib.sha256(b"motet site" + self.private_key.read_bytes()).digest()

    def key(self) -> ec.EllipticCurvePrivateKey:
        """The private key."""
        try:
            key = serialization.load_pem_private_key(self.private_key.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise DeploymentError(
                "The site's key cannot be read.",
                do="Restore it from the backup; a new key must be enrolled anew.",
                file=self.private_key,
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise DeploymentError("This is not an elliptic-curve key.", file=self.private_key)
        return key


def open_home(folder: Path) -> SiteHome:
    """A site's folder, which must be one, with a key that can be read.

    Raises
    ------
    DeploymentError, StudyFileError
        When there is no site.yaml, a key in it is wrong, or the site's key cannot be read.
    """
    home = SiteHome(folder.resolve())
    _ = home.settings, home.key()
    return home


def init_site(folder: Path, *, name: str, data: Path, coordinator: Path) -> SiteHome:
    """Make a site's folder with a new key.

    Parameters
    ----------
    coordinator : Path
        The ``coordinator.yaml`` that the coordinator sent.

    Raises
    ------
    DeploymentError
        When something is there already, or cannot be read.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DeploymentError(
            "The folder is not empty.",
            do="Name a new one; a site that is there is started with 'motet site start'.",
            file=folder,
        )
    welcome = _welcome(coordinator)
    if not data.is_dir():
        raise DeploymentError("There is no such data folder.", file=data)
    settings = {
        "name": name,
        "data": str(data.resolve()),
        "coordinator": welcome["address"],
        **({"ledger_key": welcome["ledger_key"]} if welcome["ledger_key"] else {}),
    }
    checked(SiteSettings, settings)
    home = SiteHome(folder.resolve())
    home.path.mkdir(parents=True, exist_ok=True)
    os.chmod(home.path, 0o700)
    # P-256: the SuperLink verifies a signature with every request; P-384 costs it ten times more.
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    _write(home.private_key, key.private_bytes(*form, serialization.NoEncryption()), OWNER)
    _write(home.public_key, key.public_key().public_bytes(*PUBLIC) + b"\n", EVERYBODY)
    _write(home.certificate, welcome["certificate"].encode("ascii"), EVERYBODY)
    _write(home.path / "site.yaml", yaml.safe_dump(settings, sort_keys=False).encode(), OWNER)
    return home


def _welcome(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        welcome = {key: str(document[key]) for key in ("address", "certificate")}
        welcome["ledger_key"] = str(document.get("ledger_key", ""))
        welcome["certificate"].encode("ascii")
    except OSError as error:
        raise DeploymentError(
            f"The coordinator's file cannot be read: {error.strerror}.", file=file
        ) from error
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise DeploymentError(
            "This is not the coordinator.yaml that 'motet server init' writes.",
            do="Ask the coordinator for it.",
            file=file,
        ) from error
    if "PRIVATE" in welcome["certificate"]:
        raise DeploymentError("The file holds a private key.", file=file)
    return welcome


def _write(path: Path, content: bytes, readable_by: int) -> None:
    with atomic(path, "wb", readable_by=readable_by) as stream:
        stream.write(content)
