"""The ServerApp that the thin bundle names: one order over Flower's grid."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from threadpoolctl import threadpool_limits

from motet.config import Study
from motet.errors import MotetError
from motet.flower.records import Body
from motet.flower.remote import RemoteGrid
from motet.server.anchors import Anchors, read_key
from motet.server.coordinator import Coordinator
from motet.server.exchange import Exchange, version_in
from motet.server.home import ServerHome
from motet.server.news import News, front_secret
from motet.server.orders import Order
from motet.server.result import StudyFolder
from motet.supervise import log_to, started

log = logging.getLogger("motet.coordinator")
app = ServerApp()

PING = 3.0
"""Seconds after which a site that has not replied is asked what became of the request."""
CHECK = 60.0
"""Seconds to wait for an answer to a hello."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Serve the order that the run's configuration names."""
    home = ServerHome(Path(os.environ["MOTET_SERVER"]))
    order = Order.read(home.order(Path(str(context.run_config["order"])).name))
    order.note(pid=os.getpid(), started=started(os.getpid()))
    log_to(home.logs / "coordinator.log")
    try:
        serve(grid, home, order)
    except MotetError as error:
        log.error("%s: %s", order.name, error)
        order.conclude(error=str(error), code=error.code)
    except Exception:
        order.conclude(error="The run failed: log/coordinator.log says how.", code="coordinator")
        log.exception("%s", order.name)
        raise


def serve(grid: Grid, home: ServerHome, order: Order) -> None:
    """Run what an order asks for."""
    news = News(home.own_address, home.tls / "ca.crt", front_secret(home.secret))
    grid, study = RemoteGrid(grid, kick=news.kick, wait=news.wait), order.study
    exchange = Exchange(
        grid,
        run=f"{study.study if study else 'check'}/{grid.run.run_id}",
        timeout=study.federation.timeout if study else CHECK,
        expected={node: site for site, node in home.enrolled().items() if site in order.sites},
        wait=order.wait,
        ping=PING,
        observe=order.tell,
    )
    if study is None:
        _check(exchange, order)
    else:
        _study(grid, exchange, study, order, Anchors(read_key(home.ledger_key), home.anchors))


def _check(exchange: Exchange, order: Order) -> None:
    """Say hello to every site, again and again, and time it."""
    hello = exchange.hello()
    versions = {site: version_in(body) or "?" for site, body in hello.accepted.items()}
    seconds = []
    for _ in range(order.rounds):
        began = time.perf_counter()
        replies = exchange.ask("query.hello", hello.accepted, Body())
        seconds.append(round(time.perf_counter() - began, 4))
        if replies.failed:
            break
    order.conclude(versions=versions, missing=dict(hello.failed), seconds=seconds)


def _study(grid: Grid, exchange: Exchange, study: Study, order: Order, anchors: Anchors) -> None:
    """Run the study and write its result."""
    folder = StudyFolder(order.out)
    with folder.claimed(study, order.sites), threadpool_limits(1, user_api="blas"):
        coordinator = Coordinator(
            grid,
            study,
            quorum=2,
            checkpoint=folder.checkpoint,
            store=folder.write_model,
            log=folder.write_log,
            observe=order.tell,
            exchange=exchange,
            anchors=anchors,
        )
        outcome = coordinator.run()
        sha256 = folder.write(outcome)
        coordinator.finished()
        unreported = folder.report()
    order.conclude(
        sha256=sha256,
        missing=outcome.missing,
        sites=list(outcome.plan.schema.sites),
        unreported=unreported,
    )
