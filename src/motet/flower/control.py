"""A coordinator's requests to its own SuperLink: enrol a site, start a run, list nodes.

The documented commands (``flwr supernode register``, ``flwr run``) do the same; each takes two
seconds of start-up, writes a configuration to a home folder, and answers with text for people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab

from motet.errors import DeploymentError


class Control:
    """Requests to the SuperLink at `address`.

    Parameters
    ----------
    address : str
        ``host:port``.
    certificate : Path
        The authority of its certificate.
    """

    def __init__(self, address: str, certificate: Path) -> None:
        self._address, self._certificate = address, certificate

    def register(self, public_key: bytes) -> int:
        """Enrol a node by its public key (PEM); returns its node id."""
        with self._client() as client:
            return int(client.RegisterNode(RegisterNodeRequest(public_key=public_key)).node_id)

    def unregister(self, node: int) -> None:
        """Forget a node: it is refused from now on. Flower takes its key never again."""
        with self._client() as client:
            client.UnregisterNode(UnregisterNodeRequest(node_id=node))

    def keys(self) -> dict[bytes, int]:
        """Public key (PEM) -> node id, of the nodes that are registered."""
        with self._client() as client:
            listed = client.ListNodes(ListNodesRequest()).nodes_info
        return {
            bytes(node.public_key): int(node.node_id)
            for node in listed
            if node.status != "unregistered"
        }

    def nodes(self) -> dict[int, str]:
        """Node id -> ``online``, ``offline`` or ``registered``."""
        with self._client() as client:
            listed = client.ListNodes(ListNodesRequest()).nodes_info
        return {int(node.node_id): str(node.status) for node in listed}

    def start(self, bundle: bytes, config: Mapping[str, str]) -> int:
        """Start a run of a bundle; returns its id."""
        fab = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
        request = StartRunRequest(
            fab=fab_to_proto(fab), override_config=user_config_to_proto(dict(config))
        )
        with self._client() as client:
            return int(client.StartRun(request).run_id)

    @contextmanager
    def _client(self) -> Iterator[ControlHttpClient]:
        try:
            with ControlHttpClient.from_server_address(
                self._address, False, self._certificate.read_bytes(), []
            ) as client:
                yield client
        except httpx.HTTPStatusError as error:
            said = FlowerError.from_json(error.response.text)
            reason = said.message if said else f"status {error.response.status_code}"
            raise DeploymentError(f"The SuperLink refused a request: {reason}") from error
        except httpx.HTTPError as error:
            raise DeploymentError(
                f"The SuperLink at {self._address} cannot be reached.",
                do="Is the coordinator running? See 'motet server status'.",
            ) from error
