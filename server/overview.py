"""What ``motet server status`` says: processes, sites, studies."""

from __future__ import annotations

from dataclasses import dataclass

from motet.errors import DeploymentError
from motet.server.events import Kind
from motet.server.home import ServerHome
from motet.server.orders import Order, all_orders, runs
from motet.server.trained import trained
from motet.supervise import supervised


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What ``motet server status`` prints."""

    coordinator: str
    sites: tuple[tuple[str, str], ...]
    orders: tuple[tuple[str, str, str], ...]


def overview(home: ServerHome) -> Overview:
    """Look at processes, sites and studies."""
    address = home.address
    processes = supervised(home.status)
    if processes is None:
        words, states = f"The coordinator ({address}) is not running.", {}
    else:
        said = [
            f"{name} {'runs' if process['running'] else 'is starting again'}"
            + (f" (restarted {process['restarts']} times)" if process["restarts"] else "")
            for name, process in processes.items()
        ]
        words, states = f"The coordinator is at {address}: {', '.join(said)}.", _states(home)
    enrolled = home.enrolled()
    sites = tuple(
        (
            site,
            states.get(enrolled[site], "not connected") if site in enrolled else "to be enrolled",
        )
        for site in home.public_keys()
    )
    orders = [order for order in all_orders(home.path / "orders") if order.study]
    return Overview(
        coordinator=words,
        sites=sites,
        orders=tuple((o.name, o.study.study if o.study else "", _state(o)) for o in orders[-10:]),
    )


def _states(home: ServerHome) -> dict[int, str]:
    words = {"online": "connected", "offline": "not connected", "registered": "never connected"}
    try:
        return {node: words.get(s, s) for node, s in home.control().nodes().items()}
    except DeploymentError:
        return {}


def _state(order: Order) -> str:
    outcome = order.outcome()
    if outcome is not None:
        if "error" in outcome:
            return f"failed: {outcome['error']}"
        missing = outcome.get("missing") or {}
        return f"done, {outcome['sha256'][:12]}" + (
            f", without {', '.join(missing)}" if missing else ""
        )
    if "pid" not in order.noted():
        return "waiting to start"
    if not runs(order):
        return "stopped; order it again to go on"
    phase, training, waits = "", "", dict[str, str]()
    for _, event in order.events():
        if event.kind is Kind.PHASE:
            phase, training = event.phase, ""
        if event.kind is Kind.TRAINED:
            training = trained(event).rstrip(".")
        if event.kind is Kind.SILENT:
            waits[event.site] = event.code
        if event.kind in (Kind.BACK, Kind.LOST):
            waits.pop(event.site, None)
    waiting = "; ".join(f"waiting for {site} ({code})" for site, code in waits.items())
    said = training or (f"phase {phase!r}" if phase else "")
    return f"running{f', {said}' if said else ''}{f'; {waiting}' if waiting else ''}"
