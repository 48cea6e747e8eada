"""What a front must read of Flower's requests: who asks, did any message come, is a reply whole."""

from __future__ import annotations

from flwr.proto.fleet_pb2 import (
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesResponse,
)
from flwr.proto.message_pb2 import PushObjectRequest
from google.protobuf.message import DecodeError


def node_of(request: bytes) -> int | None:
    """The node that asks for messages; None where it is no such request."""
    try:
        return int(PullMessagesRequest.FromString(request).node.node_id)
    except DecodeError:
        return None


def is_empty(response: bytes) -> bool:
    """Whether an answer holds no message."""
    try:
        return not PullMessagesResponse.FromString(response).messages_list
    except DecodeError:
        return False


def uploads(response: bytes) -> tuple[str, int]:
    """Session and number of the objects that belong to a reply whose metadata was just sent."""
    try:
        said = PushMessagesResponse.FromString(response)
    except DecodeError:
        return "", 0
    return str(said.session_id), len(said.objects_to_push)


def session_of(request: bytes) -> str:
    """The session that an object was uploaded in; empty where it is no upload."""
    try:
        return str(PushObjectRequest.FromString(request).session_id)
    except DecodeError:
        return ""
