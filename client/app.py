"""The Flower ClientApp: decodes, hands to the worker, encodes. Only codes of errors leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from motet.client.worker import SiteWorker, log_failure
from motet.errors import MotetError
from motet.flower.records import Body, Envelope, decode, encode

Action = Callable[[SiteWorker, Envelope, Body], Body]


def client_app(worker_for: Callable[[Context], SiteWorker]) -> ClientApp:
    """Make a site's ClientApp.

    Parameters
    ----------
    worker_for : callable
        Finds or makes the worker for a context; the worker outlives messages.
    """
    app = ClientApp()
    for category, name, action in (
        (app.query, "hello", _hello),
        (app.query, "agree", _agree),
        (app.query, "prepare", _prepare),
        (app.train, "phase", _phase),
        (app.query, "finish", _finish),
        (app.query, "close", _close),
    ):
        category(name)(_handler(worker_for, action))
    return app


def _handler(
    worker_for: Callable[[Context], SiteWorker], action: Action
) -> Callable[[Message, Context], Message]:
    def handle(message: Message, context: Context) -> Message:
        worker: SiteWorker | None = None
        envelope = Envelope(run="")
        try:
            worker = worker_for(context)
            envelope, body = decode(message.content)
            content = encode(_answer(envelope, "ok"), action(worker, envelope, body))
        except Exception as error:  # noqa: BLE001 - whatever it is, only a code may leave
            # The text of an exception can hold a person's name: it stays in this machine's log.
            code = error.code if isinstance(error, MotetError) else "site-failed"
            content = encode(_answer(envelope, code), Body())
            if worker is None:
                log_failure("", error)
            else:
                worker.fail(error)
        return Message(content, reply_to=message)

    return handle


def _answer(to: Envelope, status: str) -> Envelope:
    return replace(to, status=status)


def _hello(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    return Body(document=worker.hello())


def _agree(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    return Body(document=worker.agree(body.document))


def _prepare(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    return Body(document=worker.prepare(body.document, envelope.plan))


def _phase(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    return Body(arrays=worker.phase(envelope.phase, body.arrays, envelope.plan))


def _finish(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    worker.finish(body.arrays, envelope.plan)
    return Body()


def _close(worker: SiteWorker, envelope: Envelope, body: Body) -> Body:
    worker.close()
    return Body()
