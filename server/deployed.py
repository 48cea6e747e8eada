"""The ServerApp that the thin bundle names: one order over Flower's grid."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from threadpoolctl import threadpool_limits

from motet.errors import MotetError
from motet.flower.quick import quick_pulls
from motet.server.coordinator import Coordinator
from motet.server.exchange import Exchange
from motet.server.home import ServerHome
from motet.server.orders import Order
from motet.server.result import StudyFolder

log = logging.getLogger("motet.coordinator")
app = ServerApp()

PING = 2.0
"""Seconds after which a site that has not replied is asked what became of the request."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Serve the order that the run's configuration names."""
    home = ServerHome(Path(os.environ["MOTET_SERVER"]))
    order = Order.read(home.order(Path(str(context.run_config["order"])).name))
    order.note(pid=os.getpid())
    logging.basicConfig(
        filename=home.logs / "coordinator.log", format="%(asctime)s %(levelname)s %(message)s"
    )
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
    """Run the study of an order and write its result."""
    quick_pulls()
    nodes = {node: site for site, node in home.enrolled().items() if site in order.sites}
    folder = StudyFolder(order.out)
    with folder.claimed(order.study, order.sites), threadpool_limits(1, user_api="blas"):
        coordinator = Coordinator(
            grid,
            order.study,
            quorum=2,
            checkpoint=folder.checkpoint,
            store=folder.write_model,
            observe=order.tell,
            exchange=Exchange(
                grid,
                run=f"{order.study.study}/{grid.run.run_id}",
                timeout=order.study.federation.timeout,
                expected=nodes,
                wait=order.wait,
                ping=PING,
                observe=order.tell,
            ),
        )
        outcome = coordinator.run()
        sha256 = folder.write(outcome)
        coordinator.finished()
    order.conclude(sha256=sha256, missing=outcome.missing, sites=list(outcome.plan.schema.sites))
