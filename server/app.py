"""The Flower ServerApp: one main over one grid, the same in simulation and deployment."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from motet.server.coordinator import Coordinator, Outcome


def server_app(
    coordinator_for: Callable[[Grid, Context], Coordinator], conclude: Callable[[Outcome], None]
) -> ServerApp:
    """Make the ServerApp of a study.

    Parameters
    ----------
    coordinator_for : callable
        Makes the coordinator for the run's grid and context.
    conclude : callable
        Gets the outcome: writes the shared model, or hands it to the caller.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        coordinator = coordinator_for(grid, context)
        conclude(coordinator.run())
        coordinator.finished()

    return app
