"""The Flower ClientApp: decodes, hands to the worker, encodes. Only codes of errors leave."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from motet.client.worker import SiteWorker
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
        envelope, reply = Envelope(run=""), Body()
        worker = worker_for(context)
        try:
            envelope, body = decode(message.content)
            reply = action(worker, envelope, body)
            status = "ok"
        except MotetError as error:
            worker.fail(error)
            status = error.code
        except Exception as error:  # noqa: BLE001 - whatever it is, only a code may leave
            # The text of an exception can hold a person's name: it stays in this machine's log.
            worker.fail(error)
            status = "site-failed"
        answer = Envelope(
            run=envelope.run,
            plan=envelope.plan,
            phase=envelope.phase,
            round=envelope.round,
            attempt=envelope.attempt,
            status=status,
        )
        return Message(encode(answer, reply), reply_to=message)

    return handle


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
