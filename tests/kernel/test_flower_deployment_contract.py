"""Facts of Flower that the deployment relies on. When one fails, read src/motet/flower/ first."""

from __future__ import annotations

import inspect
import sys
from importlib.metadata import entry_points
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.message_pb2 import (
    PushObjectRequest,
)
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.inflatable import inflatable_object, inflatable_utils
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.primitives.asymmetric import uses_nist_ec_curve
from flwr.supernode.fleet_http_client import FleetHttpClient

from motet.flower.control import Control
from motet.flower.fleet import HEARTBEAT, Fleet, unreachable
from motet.flower.inprocess import InProcessGrid
from motet.flower.parcels import parcel
from motet.flower.records import Body, Envelope, encode
from motet.flower.superlink import program
from motet.server.front import FLEET, HOLD, LOOK

SOURCE = inspect.getsource


def test_fleet_client_has_the_requests_and_their_paths() -> None:
    """Catches a request that is renamed, and a path that the front would not let through."""
    text = SOURCE(FleetHttpClient)
    for path in FLEET:
        assert f'path="{path}"' in text
    for name in (
        *("ActivateNode", "DeactivateNode", "SendNodeHeartbeat", "PullMessages", "PushMessages"),
        *("GetRun", "GetFab", "PushObject", "PullObject", "ConfirmMessageReceived"),
    ):
        assert callable(getattr(FleetHttpClient, name))


def test_control_client_has_the_requests() -> None:
    """Catches a coordinator that can enrol nobody after a change of Flower."""
    assert "public_key" in NodeInfo.DESCRIPTOR.fields_by_name
    for name in ("RegisterNode", "UnregisterNode", "ListNodes", "StartRun", "StopRun"):
        assert callable(getattr(ControlHttpClient, name))
    assert list(inspect.signature(Control.start).parameters) == ["self", "bundle", "config"]


def test_small_message_is_three_objects() -> None:
    """Catches records that multiply the requests of a round: each object is one there, one back."""
    InProcessGrid({}).close()
    content = encode(Envelope(run="r"), Body(document={"a": 1}))
    whole = Message(parcel(content), 1, "train.phase")
    assert len(get_all_nested_objects(whole)) == 3
    assert len(get_all_nested_objects(Message(content, 1, "train.phase"))) > 3


def test_message_is_pushed_as_its_objects() -> None:
    """Catches another form of the object tree, by which a node uploads its reply."""
    InProcessGrid({}).close()
    message = Message(RecordDict({"c": ConfigRecord({"x": 1})}), 1, "query")
    with inflatable_object.no_object_id_recompute():
        tree, objects = get_object_tree(message), get_all_nested_objects(message)
    listed = {node.object_id for node in inflatable_object.iterate_object_tree(tree)}
    assert listed == set(objects)
    contents = {name: item.deflate() for name, item in objects.items()}
    again = inflatable_utils.inflate_object_from_contents(tree.object_id, contents)
    assert isinstance(again, Message)
    assert again.content["c"]["x"] == 1
    assert {"session_id", "object_id", "object_content"} <= {
        field.name for field in PushObjectRequest.DESCRIPTOR.fields
    }


def test_node_keys_are_of_a_curve_that_flower_takes() -> None:
    """Catches a curve that the SuperLink would refuse to enrol."""
    assert uses_nist_ec_curve(ec.generate_private_key(ec.SECP256R1()).public_key())


def test_requests_are_not_held_longer_than_the_client_waits() -> None:
    """Catches a front whose held requests end in time-outs."""
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Exception, match="certificate"):
        Fleet("localhost:1", b"", key)
    timeout = inspect.signature(FleetHttpClient.__init__).parameters["timeout"].default
    assert timeout > HOLD + LOOK + 5
    assert HEARTBEAT / 3 < HEARTBEAT


def test_refused_connection_is_a_sentence() -> None:
    """Catches the text of a socket error before a data manager."""
    problem = unreachable("somewhere:1", httpx.ConnectError("[Errno 111] Connection refused"))
    assert "cannot be reached" in str(problem)
    assert "Errno" not in str(problem)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "flower-superlink",
            (
                *("--ssl-ca-certfile", "--ssl-certfile", "--ssl-keyfile", "--database"),
                *("--isolation", "--superexec-auth-secret-file", "--log-file", "--host", "--port"),
                *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
            ),
        ),
        (
            "flower-superexec",
            ("--runtime-api-address", "--root-certificates", "--superexec-auth-secret-file"),
        ),
    ],
)
def test_commands_have_the_options(
    command: str,
    options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches an option that is renamed: the coordinator would start for ever."""
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    monkeypatch.setenv("FLWR_DISABLE_UPDATE_CHECK", "1")
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    (entry,) = entry_points(group="console_scripts", name=command)
    with pytest.raises(SystemExit, match="0"):
        entry.load()()
    said = capsys.readouterr().out
    assert not [option for option in options if option not in said]
    assert Path(sys.executable).parent / command == Path(program(command))
