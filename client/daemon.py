"""``motet site start``: the site's node, kept running."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from motet.client.home import SiteHome
from motet.store import noted
from motet.supervise import Child, Supervisor, claimed, python_module, supervised


def serve(home: SiteHome, *, say: Callable[[str], None]) -> None:
    """Run the site until it is told to end; the node is started again on any exit.

    Raises
    ------
    DeploymentError
        When a daemon runs in the folder already.
    """
    home.log.parent.mkdir(exist_ok=True)
    told: list[str] = []

    def tick() -> None:
        words = sentence(noted(home.status))
        if words and told[-1:] != [words]:
            told.append(words)
            say(words)

    with claimed(home.path, "site daemon"):
        home.status.unlink(missing_ok=True)
        node = Child(
            name="node",
            command=python_module("motet.client.node", str(home.path)),
            output=home.log.parent / "node.out",
        )
        Supervisor([node], status=home.supervised, tick=tick).run()


def sentence(status: dict[str, Any]) -> str:
    """The node's state in words."""
    if not status:
        return ""
    site, where = status["site"], status["coordinator"]
    if status["state"] == "waiting":
        return f"Site {site} waits: {status['sentence']}"
    if status["state"] == "working":
        phase = f", phase '{status['phase']}'" if status.get("phase") else ""
        return f"Site {site} works on study {str(status['study']).rpartition('/')[0]}{phase}."
    return f"Site {site} is connected to {where}."


def state(home: SiteHome) -> str:
    """What ``motet site status`` prints."""
    name = home.settings.name
    processes = supervised(home.supervised)
    if processes is None:
        return f"The daemon of site {name} is not running. Start it: motet site start {home.path}"
    node = processes["node"]
    words = sentence(noted(home.status)) or f"Site {name} is starting."
    restarts = f" Its node was restarted {node['restarts']} times." if node["restarts"] else ""
    return f"{words}{restarts} Its log: {home.log}"
