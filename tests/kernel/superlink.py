"""The pinned SuperLink's own state and handlers in this process, with sites that are functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_FLWR_AID
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.server.superlink.linkstate.linkstate_factory import LinkStateFactory
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store.object_store_factory import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import HttpGrid
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers

from motet.flower.parcels import parcel
from motet.flower.remote import RemoteGrid


@dataclass
class Upload:
    """A reply that was announced, and what of it has not been sent."""

    session: str
    left: dict[str, bytes]


class SuperLink:
    """A run on SQLite, and the requests of its coordinator and its sites, without HTTP."""

    def __init__(self, folder: Path) -> None:
        federation = NoOpFederationManager()
        stored = ObjectStoreFactory(str(folder / "objects.db"))
        self.state: Any = LinkStateFactory(str(folder / "state.db"), federation, stored).state()
        federation.linkstate = self.state
        app = ("a", "1", "h", {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP)
        self.run = self.state.create_run(*app)
        (self.task,) = self.state.get_tasks()
        self.state.claim_task(self.task.task_id)
        self.state.activate_task(self.task.task_id)
        TaskIdentity.task_id, TaskIdentity.run_id = self.task.task_id, self.run
        TaskIdentity.node_id = 1
        self.pulled = self._nodes = 0

    def node(self) -> int:
        """Enrol and connect a site."""
        self._nodes += 1
        key = f"key {self._nodes}".encode()
        node = int(self.state.create_node(NOOP_FLWR_AID, "x", key, 60.0))
        self.state.activate_node(node, 60.0)
        return node

    def grid(self, wait: Callable[[float], None] = lambda seconds: time.sleep(0.01)) -> RemoteGrid:
        """The grid of a run at this SuperLink."""
        inner: Any = HttpGrid(token="t")
        inner._client, inner._run = _Runtime(self), Run.create_empty(self.run)
        return RemoteGrid(inner, kick=lambda nodes: None, wait=wait)

    def taken(self, node: int) -> Message | None:
        """The next message for a site."""
        request = PullMessagesRequest(node=Node(node_id=node))
        found = fleet_handlers.pull_messages(request, self.state, self.state.object_store)
        if not found.messages_list:
            return None
        identifier = found.messages_list[0].metadata.message_id
        tree = iterate_object_tree(found.message_object_trees[0])
        objects = {o.object_id: self.state.get_object(self.run, o.object_id) for o in tree}
        confirmed = ConfirmMessageReceivedRequest(
            node=Node(node_id=node), run_id=self.run, message_object_id=identifier
        )
        fleet_handlers.confirm_message_received(confirmed, self.state, self.state.object_store)
        message = inflate_object_from_contents(identifier, objects)
        assert isinstance(message, Message)
        message.metadata.__dict__["_message_id"] = identifier
        return message

    def announce(
        self,
        node: int,
        request: Message,
        content: RecordDict,
        *,
        claims: str = "",
        lie: str = "",
    ) -> Upload:
        """Send the head of a reply. It is a lie that it has ``no children``, or, with `claims`,
        that its body answers this other request."""
        TaskIdentity.node_id = node
        reply = Message(parcel(content), reply_to=request)
        TaskIdentity.node_id = 1
        head = message_to_proto(remove_content_from_message(reply))
        if claims:
            reply.metadata.__dict__["_reply_to_message_id"] = claims
        with no_object_id_recompute():
            identifier = reply.object_id
            objects = {k: item.deflate() for k, item in get_all_nested_objects(reply).items()}
            tree = get_object_tree(reply)
        if lie == "no children":
            tree = ObjectTree(object_id=identifier)
        head.metadata.message_id = identifier
        pushed = PushMessagesRequest(
            node=Node(node_id=node),
            messages_list=[head],
            message_object_trees=[tree],
            clientapp_runtime_list=[0.0],
        )
        said = fleet_handlers.push_messages(pushed, self.state)
        left = {name: objects[name] for name in objects if name in set(said.objects_to_push)}
        return Upload(session=said.session_id, left=left)

    def send(self, node: int, upload: Upload, count: int | None = None) -> None:
        """Send some objects of a reply, or all that are left."""
        for name in list(upload.left)[:count]:
            request = PushObjectRequest(
                node=Node(node_id=node),
                run_id=self.run,
                object_id=name,
                object_content=upload.left.pop(name),
                session_id=upload.session,
            )
            assert fleet_handlers.push_object(request, self.state).stored


class _Runtime:
    """Flower's client of the runtime requests, calling the handlers."""

    def __init__(self, link: SuperLink) -> None:
        self._link = link

    def PushMessages(self, request: Any) -> Any:
        return runtime_handlers.push_messages(request, self._link.state, self._link.task)

    def PullMessages(self, request: Any) -> Any:
        return runtime_handlers.pull_messages(request, self._link.state, self._link.task)

    def PushObject(self, request: Any) -> Any:
        return runtime_handlers.push_object(request, self._link.state, self._link.task)

    def PullObject(self, request: Any) -> Any:
        self._link.pulled += 1
        return runtime_handlers.pull_object(request, self._link.state, self._link.task)

    def ConfirmMessageReceived(self, request: Any) -> Any:
        state, task = self._link.state, self._link.task
        return runtime_handlers.confirm_message_received(request, state, task)
