"""Facts of Flower that Motet relies on. When one of these fails, read src/motet/flower/ first."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import flwr
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from motet.flower.inprocess import InProcessGrid

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def identity() -> None:
    """Set what Flower's own processes set; see test_messages_need_an_identity."""
    InProcessGrid({}).close()


def request(action: str = "query.hello") -> Message:
    content = RecordDict({"c": ConfigRecord({"x": 1})})
    return Message(content, 7, action, group_id="3", ttl=60.0)


def test_version_is_pinned() -> None:
    """Catches an upgrade: peers must match in major and minor, and private names may move."""
    assert flwr.__version__ == "1.41.0"


def test_identity_has_the_fields_that_the_grid_sets() -> None:
    """Catches a rename of TaskIdentity's fields: the grid would set attributes nobody reads."""
    assert TaskIdentity._run_id is not None
    assert (TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id) == (1, 1, 0)
    assert {"_task_id", "_run_id", "_node_id"} <= set(vars(TaskIdentity))


def test_messages_need_an_identity() -> None:
    """Catches the reason for setting TaskIdentity going away: then the lines can go too."""
    code = (
        "from flwr.app import Message, RecordDict\n"
        "try:\n    Message(RecordDict(), 7, 'query')\nexcept RuntimeError as e:\n    print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "is not set" in done.stdout


def test_metadata_takes_a_message_id_through_its_dict() -> None:
    """Catches slots or another name for the id: replies could not be matched to requests."""
    message = request()
    message.metadata.__dict__["_message_id"] = "abc"
    assert message.metadata.message_id == "abc"
    reply = Message(RecordDict(), reply_to=message)
    assert reply.metadata.reply_to_message_id == "abc"
    assert reply.metadata.dst_node_id == message.metadata.src_node_id
    assert reply.metadata.group_id == "3"


def test_message_keeps_type_group_and_time_to_live() -> None:
    """Catches positional arguments of Message that change places."""
    metadata = request("train.phase").metadata
    assert (metadata.message_type, metadata.dst_node_id) == ("train.phase", 7)
    assert (metadata.group_id, metadata.ttl) == ("3", 60.0)


def test_error_reply_has_no_content() -> None:
    """Catches an error that would be decoded as a message."""
    message = request()
    message.metadata.__dict__["_message_id"] = "abc"
    reply = Message(Error(2, "reason"), reply_to=message)
    assert reply.has_error()
    assert not reply.has_content()


def test_grid_has_the_methods_that_are_overridden() -> None:
    """Catches a method of Grid that is added or renamed: ours would not be called."""
    assert Grid.__abstractmethods__ == {
        "create_message",
        "get_node_ids",
        "pull_messages",
        "push_messages",
        "run",
        "send_and_receive",
        "set_run",
    }
    assert not InProcessGrid.__abstractmethods__
    for name in Grid.__abstractmethods__ - {"run"}:
        theirs = list(inspect.signature(getattr(Grid, name)).parameters)
        ours = list(inspect.signature(getattr(InProcessGrid, name)).parameters)
        assert ours == theirs, name


def test_run_can_be_made_empty() -> None:
    """Catches a change of Run.create_empty, which a Grid's `run` must return."""
    assert Run.create_empty(5).run_id == 5
    grid = InProcessGrid({})
    assert grid.run.run_id == 1
    grid.close()


def test_app_finds_the_handler_of_a_typed_action() -> None:
    """Catches 'train.phase' no longer leading to ``app.train("phase")``."""
    app = ClientApp()

    @app.train("phase")
    def phase(message: Message, context: Context) -> Message:
        return Message(RecordDict({"c": ConfigRecord({"did": "phase"})}), reply_to=message)

    message = request("train.phase")
    message.metadata.__dict__["_message_id"] = "abc"
    context = Context(run_id=1, node_id=7, node_config={}, state=RecordDict(), run_config={})
    assert app(message, context).content["c"]["did"] == "phase"
    unknown = request("train.other")
    unknown.metadata.__dict__["_message_id"] = "abd"
    with pytest.raises(ValueError, match="other"):
        app(unknown, context)


def test_array_holds_raw_bytes_as_given() -> None:
    """Catches compression or conversion of bytes that the ledger has digests of."""
    array = Array(dtype="float64", shape=(2,), stype="motet.little-endian", data=bytes(range(16)))
    record = ArrayRecord({"a": array})
    assert record["a"].data == bytes(range(16))
    assert (record["a"].dtype, record["a"].shape) == ("float64", (2,))
    assert record["a"].stype == "motet.little-endian"


def test_telemetry_is_off_before_flower_is_imported() -> None:
    """Catches a hospital's machine that phones home because of an import order."""
    code = "import os, motet.flower; print(os.environ['FLWR_TELEMETRY_ENABLED'])"
    path = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=path
    )
    assert done.stdout.strip() == "0"


def test_private_names_are_used_in_the_adapter_only() -> None:
    """Catches a second place that breaks with the next version of Flower."""
    for folder in ("server", "client", "strategies", "harmonizers", "src/motet"):
        for path in (ROOT / folder).rglob("*.py"):
            if "flower" in path.relative_to(ROOT).parts:
                continue
            text = path.read_text(encoding="utf-8")
            assert "flwr.supercore" not in text, path
            assert "TaskIdentity" not in text, path
