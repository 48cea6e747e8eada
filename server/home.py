"""The coordinator's folder: settings, certificates, enrolled sites, orders, logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from motet.address import checked_host, joined
from motet.config import checked, parse_yaml
from motet.errors import DeploymentError, is_plain_name
from motet.flower.control import Control
from motet.server.public_keys import read_public_key
from motet.store import atomic


class ServerSettings(BaseModel):
    """``server.yaml``.

    Parameters
    ----------
    host : str
        Name or address under which sites reach this machine.
    port : int
        The one port that sites dial.
    inner_port : int
        Port of the SuperLink on loopback; default: the next after `port`.
    bind : str
        Address of this machine to listen on, where `host` is not one of them: behind a proxy or
        address translation. ``0.0.0.0``: all. Default: `host`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "localhost"
    port: int = Field(default=9443, ge=1, le=65534)
    inner_port: int = Field(default=0, ge=0, le=65535)
    bind: str = ""

    @field_validator("host")
    @classmethod
    def _reachable(cls, value: str) -> str:
        return checked_host(value)

    @field_validator("bind")
    @classmethod
    def _own(cls, value: str) -> str:
        return checked_host(value) if value else value

    @property
    def address(self) -> str:
        """``host:port`` that the sites dial."""
        return joined(self.host, self.port)

    @property
    def listen(self) -> str:
        """The address to listen on."""
        asked = self.bind or self.host
        return "127.0.0.1" if asked == "localhost" else asked

    @property
    def own(self) -> str:
        """The address that this machine dials to reach itself, where it may listen on all."""
        try:
            listens = ip_address(self.listen)
        except ValueError:
            return self.listen  # a name
        if not listens.is_unspecified:
            return self.listen
        return "::1" if listens.version == 6 else "127.0.0.1"

    @property
    def names(self) -> list[str]:
        """Names and addresses in the server's certificate."""
        return list(dict.fromkeys([self.host, "localhost", "127.0.0.1", self.own]))


@dataclass(frozen=True)
class ServerHome:
    """The layout of a coordinator's folder."""

    path: Path

    @property
    def tls(self) -> Path:
        """Certificates and their keys."""
        return self.path / "tls"

    @property
    def flower(self) -> Path:
        """Flower's own home."""
        return self.path / "flower"

    @property
    def database(self) -> Path:
        """The SuperLink's database."""
        return self.path / "superlink.db"

    @property
    def secret(self) -> Path:
        """What the superexec shows the SuperLink."""
        return self.path / "superexec.secret"

    @property
    def ledger_key(self) -> Path:
        """What countersigns the sites' ledgers."""
        return self.path / "ledger.key"

    @property
    def anchors(self) -> Path:
        """Heads of the sites' ledgers, as they stated them."""
        return self.path / "anchors"

    @property
    def logs(self) -> Path:
        """Folder of logs."""
        return self.path / "log"

    @property
    def status(self) -> Path:
        """What the running coordinator says of itself."""
        return self.path / "status.json"

    def order(self, identifier: str) -> Path:
        """Folder of one run: what was asked, what happened."""
        return self.path / "orders" / identifier

    @property
    def settings(self) -> ServerSettings:
        """``server.yaml``, checked.

        Raises
        ------
        DeploymentError
            When the folder is not a coordinator's.
        """
        file = self.path / "server.yaml"
        try:
            document = parse_yaml(file.read_text(encoding="utf-8"), file=file) or {}
        except FileNotFoundError as error:
            raise DeploymentError(
                "This is not a coordinator's folder: server.yaml is missing.",
                do="Make one with 'motet server init FOLDER'.",
                file=self.path,
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise DeploymentError(f"server.yaml cannot be read: {error}.", file=file) from error
        if not isinstance(document, dict):
            raise DeploymentError("server.yaml holds no settings.", file=file)
        return checked(ServerSettings, document, file=file)

    @property
    def address(self) -> str:
        """``host:port`` that the sites dial."""
        return self.settings.address

    @property
    def bind(self) -> str:
        """The address to listen on."""
        return self.settings.listen

    @property
    def own_address(self) -> str:
        """``host:port`` under which this machine itself reaches the front.

        The name that the sites dial may lead to a proxy, or nowhere from in here.
        """
        settings = self.settings
        return joined(settings.own, settings.port) if settings.bind else settings.address

    @property
    def inner_port(self) -> int:
        """Port of the SuperLink."""
        return self.settings.inner_port or self.settings.port + 1

    @property
    def inner_address(self) -> str:
        """``host:port`` of the SuperLink, which only this machine reaches."""
        return f"localhost:{self.inner_port}"

    def public_keys(self) -> dict[str, Path]:
        """Site -> file of its public key."""
        return {path.stem: path for path in sorted((self.path / "sites").glob("*.pub"))}

    @property
    def enrolled_file(self) -> Path:
        """Node ids; made again from the keys and the SuperLink where it is lost."""
        return self.path / "sites" / "enrolled.json"

    @property
    def removed_file(self) -> Path:
        """Public keys of sites that were removed, one a line."""
        return self.path / "sites" / "removed"

    def removed_keys(self) -> list[str]:
        """Public keys that are never let in again."""
        if not self.removed_file.is_file():
            return []
        return self.removed_file.read_text(encoding="utf-8").splitlines()

    def refuse_removed(self, key: Path) -> None:
        """Refuse the public key of a site that was removed: the SuperLink takes no key twice."""
        if read_public_key(key).strip() in self.removed_keys():
            raise DeploymentError(
                "This key was removed.",
                do="The hospital makes a new one: 'motet site init' in a new folder.",
                file=key,
            )

    def enrolled(self) -> dict[str, int]:
        """Site -> node id, of the sites that the SuperLink knows."""
        file = self.enrolled_file
        if not file.is_file():
            return {}
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            return {str(site): int(node) for site, node in document.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DeploymentError(
                "The list of enrolled sites cannot be read.",
                do="Remove it: a running coordinator makes it again when it is restarted.",
                file=file,
            ) from error

    def control(self) -> Control:
        """Requests to the coordinator's own SuperLink."""
        return Control(self.inner_address, self.tls / "ca.crt")

    def add(self, site: str, key: Path) -> None:
        """Keep a site's public key, to be enrolled.

        Raises
        ------
        DeploymentError
            When the key is no public key, is a private one, or belongs to another site; when the
            site has another key.
        """
        if not is_plain_name(site):
            raise DeploymentError(f"'{site}' cannot be the name of a site.")
        text = read_public_key(key)
        self.refuse_removed(key)
        for other, file in self.public_keys().items():
            same = read_public_key(file) == text
            if other == site and not same:
                raise DeploymentError(
                    f"'{site}' is enrolled with another key.",
                    do="A hospital that lost its key is enrolled under a new name.",
                )
            if other != site and same:
                raise DeploymentError(f"This key is enrolled as '{other}'.", file=key)
        with atomic(self.path / "sites" / f"{site}.pub") as stream:
            stream.write(text)


def open_server(folder: Path) -> ServerHome:
    """A coordinator's folder, which must be one.

    Raises
    ------
    DeploymentError, StudyFileError
        When there is no server.yaml, or a key in it is wrong.
    """
    home = ServerHome(folder.resolve())
    _ = home.settings
    return home
