"""A site's end of Flower's fleet protocol, for a node that stays alive between messages.

A stock SuperNode starts a process a message and waits 3 s between looks. This is the same protocol,
spoken with the same classes of the pinned Flower, from a loop of our own. Everything private is
imported here by name, so that a change of Flower fails loudly and in one place.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import fab_from_proto, message_from_proto, message_to_proto, run_from_proto
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_object_contents_from_iterable,
)
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from motet.errors import ConnectionFailedError
from motet.flower.parcels import parcel, unparcel

log = logging.getLogger("motet.node")

HEARTBEAT = 30.0
"""Seconds after two of which the SuperLink takes a silent node for gone."""

FIRST_WAIT, LONGEST_WAIT = 0.02, 0.5
"""Seconds between looks for a message's objects: its metadata can be there before them."""
LONGEST_PULL = 60.0
"""Seconds after which a message that is not whole is given up."""

CLOCK_AHEAD = 5.0
"""Seconds that a site's clock may be ahead before the SuperLink refuses its signatures."""

T = TypeVar("T")


class RunEndedError(Exception):
    """The run that a request belongs to is over."""


@dataclass(frozen=True)
class Incoming:
    """A message as it arrived."""

    message: Message

    @property
    def run(self) -> int:
        """Flower's id of the run it belongs to."""
        return int(self.message.metadata.run_id)

    @property
    def action(self) -> str:
        """What is asked, e.g. ``train.phase``."""
        return str(self.message.metadata.message_type)

    @property
    def content(self) -> RecordDict:
        """Its records.

        Raises
        ------
        ProtocolError
            When they are not a message of ours.
        """
        return unparcel(self.message.content)

    @property
    def expired(self) -> bool:
        """Whether nobody waits for a reply any more."""
        return time() > self.message.metadata.created_at + self.message.metadata.ttl


class Fleet:
    """A connection of one site, by its key.

    Parameters
    ----------
    address : str
        ``host:port`` of the coordinator.
    certificate : bytes
        PEM of the authority that signed the coordinator's certificate.
    key : EllipticCurvePrivateKey
        The site's own; its public half is enrolled at the coordinator.
    """

    def __init__(self, address: str, certificate: bytes, key: ec.EllipticCurvePrivateKey) -> None:
        self._address, self._certificate = address, certificate
        self._public = public_key_to_bytes(key.public_key())
        try:
            self._client = FleetHttpClient.from_server_address(
                address, False, certificate, [NodeAuthHttpInterceptor(key, key.public_key())]
            )
        except (ssl.SSLError, ValueError) as error:
            raise ConnectionFailedError(
                "The coordinator's certificate in the site's folder cannot be read.",
                do="Ask the coordinator for a new coordinator.yaml.",
            ) from error
        self._node = Node()
        # Reading and replying happen in the loop, heartbeats while a large message is on its way.
        self._beat: threading.Thread | None = None
        self._ending = threading.Event()

    @property
    def node_id(self) -> int:
        """The number by which the SuperLink knows this site."""
        return int(self._node.node_id)

    def activate(self) -> int:
        """Begin to take messages; returns the node id."""
        request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=HEARTBEAT)
        self._node = Node(node_id=self._call(self._client.ActivateNode, request).node_id)
        # Flower reads these when a reply is made; a process of its own would have set them.
        TaskIdentity.task_id, TaskIdentity.run_id = 1, 1
        TaskIdentity.node_id = self.node_id
        self._ending.clear()
        self._beat = threading.Thread(target=self._heartbeats, daemon=True)
        self._beat.start()
        return self.node_id

    def deactivate(self, node_id: int = 0) -> None:
        """Say goodbye, so that the site may come back at once."""
        self._ending.set()
        self._call(
            self._client.DeactivateNode, DeactivateNodeRequest(node_id=node_id or self.node_id)
        )

    def _heartbeats(self) -> None:
        while not self._ending.wait(HEARTBEAT / 3):
            request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT)
            try:
                self._client.SendNodeHeartbeat(request)
            except (httpx.HTTPError, RuntimeError, ValueError):
                continue  # the loop meets the same trouble, and says so

    def receive(self) -> Incoming | None:
        """The next message, complete, or None."""
        response = self._call(self._client.PullMessages, PullMessagesRequest(node=self._node))
        if not response.messages_list:
            return None
        head = message_from_proto(response.messages_list[0])
        run, identifier = head.metadata.run_id, head.metadata.message_id
        pull = make_pull_object_fn_protobuf(self._calling(self._client.PullObject), self._node, run)
        objects = iterate_object_tree(response.message_object_trees[0])
        try:
            contents = pull_objects(
                [tree.object_id for tree in objects],
                pull,
                max_time=LONGEST_PULL,
                initial_backoff=FIRST_WAIT,
                backoff_cap=LONGEST_WAIT,
            )
        except ObjectPullError:
            log.warning("a message did not come whole: the coordinator will ask, and send it again")
            return None
        make_confirm_message_received_fn_protobuf(
            self._calling(self._client.ConfirmMessageReceived), self._node, run
        )(identifier)
        message = inflate_object_from_contents(identifier, contents)
        assert isinstance(message, Message)
        message.metadata.__dict__["_message_id"] = identifier
        return Incoming(message)

    def reply(self, to: Incoming, content: RecordDict) -> None:
        """Send a reply; one to a run that has ended is dropped."""
        message = Message(parcel(content), reply_to=to.message)
        try:
            with no_object_id_recompute():
                message.metadata.__dict__["_message_id"] = message.object_id
                objects = get_all_nested_objects(message)
                response = self._call(
                    self._client.PushMessages,
                    PushMessagesRequest(
                        node=self._node,
                        messages_list=[message_to_proto(remove_content_from_message(message))],
                        message_object_trees=[get_object_tree(message)],
                        clientapp_runtime_list=[0.0],
                    ),
                )
                wanted = set(response.objects_to_push)
                push_object_contents_from_iterable(
                    ((name, item.deflate()) for name, item in objects.items() if name in wanted),
                    make_push_object_fn_protobuf(
                        self._calling(self._client.PushObject),
                        self._node,
                        to.run,
                        response.session_id,
                    ),
                )
        except ObjectPushError:
            log.warning("a reply was not taken: the coordinator will ask for it again")
        except RunEndedError:
            log.info("a reply came too late: its run is over")

    def bundle_of(self, run: int) -> str:
        """SHA-256 of the app bundle that a run was started with."""
        response = self._call(self._client.GetRun, GetRunRequest(node=self._node, run_id=run))
        return str(run_from_proto(response.run).fab_hash)

    def bundle(self, run: int, digest: str) -> bytes:
        """The bundle itself: read for the version it names, never run or unpacked."""
        request = GetFabRequest(node=self._node, hash_str=digest, run_id=run)
        return bytes(fab_from_proto(self._call(self._client.GetFab, request).fab).content)

    def close(self) -> None:
        """Close the connection without a goodbye."""
        self._ending.set()
        self._client.close()

    def _calling(self, call: Callable[[Any], T]) -> Callable[[Any], T]:
        return lambda request: self._call(call, request)

    def _call(self, call: Callable[[Any], T], request: Any) -> T:
        try:
            return call(request)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.FORBIDDEN:
                raise RunEndedError from error
            raise self._problem(error.response) from error
        except httpx.TransportError as error:
            raise unreachable(self._address, error) from error

    def _problem(self, response: httpx.Response) -> ConnectionFailedError:
        ahead = clock_ahead(response)
        if response.status_code == 401 and abs(ahead) > CLOCK_AHEAD:
            return clock_problem(ahead)
        if response.status_code == 401:
            return ConnectionFailedError(
                "The coordinator does not accept this site's key.",
                do="Send it the site's node.pub: it enrols it with 'motet server provision'.",
            )
        if "activate" in response.request.url.path:
            return ConnectionFailedError(
                "The coordinator did not let this site in: its key is not enrolled, or another "
                "node is connected with the same key.",
                do="Send it the site's node.pub to enrol; run one node a key.",
            )
        return ConnectionFailedError(
            f"The coordinator at {self._address} answered {response.status_code} to "
            f"{response.request.url.path}."
        )


def clock_ahead(response: httpx.Response) -> float:
    """Seconds by which this machine's clock is ahead of the coordinator's; 0 if it did not say."""
    stated = response.headers.get("date")
    if stated is None:
        return 0.0
    difference = time() - parsedate_to_datetime(stated).timestamp()
    # The header has whole seconds: up to one of the difference is its rounding.
    return difference if abs(difference) > 1.0 else 0.0


def clock_problem(ahead: float) -> ConnectionFailedError:
    """The error for clocks that differ too much."""
    return ConnectionFailedError(
        f"This machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the "
        f"coordinator's; signatures are valid for {CLOCK_AHEAD:.0f} s.",
        do="Set both clocks by NTP.",
    )


def unreachable(address: str, error: httpx.TransportError) -> ConnectionFailedError:
    """The error for a coordinator that cannot be talked to, with the reason in words."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    text = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or isinstance(cause, ssl.SSLCertVerificationError):
        reason = text.split("certificate verify failed:")[-1].strip(" .]").split(" (_ssl")[0]
        return ConnectionFailedError(
            f"The coordinator at {address} shows a certificate that is not accepted: {reason}.",
            do="If it was renewed, ask the coordinator for a new coordinator.yaml; check this "
            "machine's date; otherwise somebody else answers at this address.",
        )
    if isinstance(error, httpx.TimeoutException):
        return ConnectionFailedError(f"The coordinator at {address} does not answer in time.")
    return ConnectionFailedError(
        f"The coordinator at {address} cannot be reached.",
        do="It may not be running yet; check address, port and firewall.",
    )


def look(address: str, certificate: bytes) -> float:
    """Ask the coordinator for its health; seconds by which this clock is ahead of it.

    Raises
    ------
    ConnectionFailedError
        When it is not there, `address` is none, it shows a wrong certificate, or its clock differs
        by more than 5 s.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=certificate.decode("ascii"))
        with httpx.Client(verify=context, timeout=10.0, trust_env=False) as client:
            response = client.get(f"https://{address}/health")
    except httpx.TransportError as error:
        raise unreachable(address, error) from error
    except httpx.InvalidURL as error:
        raise ConnectionFailedError(
            f"'{address}' is not the address of a coordinator.",
            do="It is host:port, with an IPv6 address in brackets: ask for a new coordinator.yaml.",
        ) from error
    except (ssl.SSLError, ValueError) as error:
        raise ConnectionFailedError("The coordinator's certificate cannot be read.") from error
    if response.status_code != httpx.codes.OK:
        raise ConnectionFailedError(
            f"The coordinator at {address} is not ready (status {response.status_code})."
        )
    ahead = clock_ahead(response)
    if abs(ahead) > CLOCK_AHEAD:
        raise clock_problem(ahead)
    return ahead
