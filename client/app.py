"""A site's answers: decodes, hands to the worker, encodes. Only codes of errors leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from motet.client.worker import SiteWorker, log_failure
from motet.errors import MotetError, ProtocolError
from motet.flower.lasting import FORGOTTEN
from motet.flower.records import Body, Envelope, decode, encode, refusal

Action = Callable[[SiteWorker, Envelope, Body], Body]
WorkerFor = Callable[[str, Envelope, Body], SiteWorker]
"""``(action, envelope, body) -> worker``: finds or makes the worker; it outlives messages."""


def client_app(worker_for: Callable[[Context], SiteWorker]) -> ClientApp:
    """Make a site's ClientApp, for a grid that calls one.

    Parameters
    ----------
    worker_for : callable
        Finds or makes the worker for a context; the worker outlives messages.
    """
    app = ClientApp()
    for action in ACTIONS:
        category, name = action.split(".")
        getattr(app, category)(name)(_handler(worker_for, action))
    return app


def _handler(
    worker_for: Callable[[Context], SiteWorker], action: str
) -> Callable[[Message, Context], Message]:
    def handle(message: Message, context: Context) -> Message:
        content = answer(lambda *asked: worker_for(context), action, message.content)
        return Message(content, reply_to=message)

    return handle


def answer(worker_for: WorkerFor, action: str, content: RecordDict) -> RecordDict:
    """What a site replies to a message: whatever happens, a reply, and of errors a code."""
    worker: SiteWorker | None = None
    envelope = Envelope(run="")
    try:
        envelope, body = decode(content)
        act = ACTIONS.get(action)
        if act is None:
            raise ProtocolError(f"This version knows no message '{action}'.")
        worker = worker_for(action, envelope, body)
        return encode(replace(envelope, status="ok"), act(worker, envelope, body))
    except Exception as error:  # noqa: BLE001 - whatever it is, only a code may leave
        # The text of an exception can hold a person's name: it stays in this machine's log.
        if worker is None:
            log_failure("", error)
        else:
            worker.fail(error)
        code = error.code if isinstance(error, MotetError) else "site-failed"
        return refusal(envelope, code)


def _hello(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    return Body(document=worker.hello())


def _agree(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    return Body(document=worker.agree(body.document))


def _prepare(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    prepared = worker.prepare(body.document, envelope.plan)
    return Body(document={**prepared, **worker.anchoring.standing(body.document)})


def _phase(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    whole = worker.remembering.whole(body)
    return Body(document={FORGOTTEN: True}) if whole is None else _done(worker, envelope, whole)


def _done(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    asked = body.document if isinstance(body.document, dict) else {}
    if "panels" in asked:
        arrays, beside = worker.planned(envelope.plan).keyed(
            envelope.phase, body.arrays, run=envelope.run, panels=asked["panels"]
        )
        return worker.leave(Body(document={"seals": beside}, arrays=arrays), to=envelope)
    if "seal" in asked:
        arrays, beside = worker.planned(envelope.plan).sealed(
            envelope.phase, body.arrays, run=envelope.run, keys=asked["seal"]
        )
        return worker.leave(Body(document=dict(beside), arrays=arrays), to=envelope)
    keys = asked.get("keys")
    if keys is None:
        arrays = worker.phase(envelope.phase, body.arrays, envelope.plan, run=envelope.run)
        return worker.leave(Body(arrays=arrays), to=envelope)
    arrays, beside = worker.planned(envelope.plan).masked(
        envelope.phase, body.arrays, run=envelope.run, keys=keys
    )
    # Nobody can read this: what waits for the countersignature is the word that takes masks off.
    return Body(document={"masked": beside, **worker.anchoring.standing()}, arrays=arrays)


def _release(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    return worker.release(body.document, to=envelope)


def _reveal(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    planned = worker.planned(envelope.plan)
    shares = planned.reveal(envelope.phase, body.document, run=envelope.run)
    return Body(document={"shares": shares, **worker.anchoring.standing()})


def _conclude(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    asked = {"run": envelope.run, "document": body.document}
    worker.planned(envelope.plan).conclude(envelope.phase, body.arrays, **asked)
    return Body()


def _finish(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    worker.finish(body.arrays, envelope.plan)
    return Body()


def _close(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    worker.anchoring.keep(body.document)
    worker.close()
    return Body()


ACTIONS: dict[str, Action] = {
    "query.hello": _hello,
    "query.agree": _agree,
    "query.prepare": _prepare,
    "train.phase": _phase,
    "query.release": _release,
    "query.reveal": _reveal,
    "query.conclude": _conclude,
    "query.finish": _finish,
    "query.close": _close,
}
"""Flower's message type -> what is done."""
