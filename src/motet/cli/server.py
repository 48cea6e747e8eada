"""``motet server``: the coordinator of a federation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console, progress, table

server = typer.Typer(no_args_is_help=True, help="Coordinate a federation of hospitals.")

Home = Annotated[Path, typer.Argument(help="The coordinator's folder.")]


@server.command()
def init(
    home: Home,
    host: Annotated[
        str, typer.Option(help="Name or address under which the sites reach this machine.")
    ] = "localhost",
    port: Annotated[int, typer.Option(help="The one port that sites dial.")] = 9443,
    bind: Annotated[
        str,
        typer.Option(help="Address to listen on, behind a proxy; 0.0.0.0: all. [default: host]"),
    ] = "",
) -> None:
    """Make a coordinator's folder: certificates, secrets, and coordinator.yaml for the sites."""
    from motet.server.setup import init_server

    made = init_server(home, host=host, port=port, bind=bind)
    console.print(
        f"A coordinator at {made.address}. Next:\n"
        f"  send {home / 'coordinator.yaml'} to every site\n"
        f"  motet server provision {home} SITE SITE.pub    with the key that each site sends back\n"
        f"  motet server start {home}",
        markup=False,
    )


@server.command()
def provision(
    home: Home,
    site: Annotated[str, typer.Argument(help="The site's name.")],
    key: Annotated[Path, typer.Argument(help="The node.pub that the site sent.")],
) -> None:
    """Enrol a site by its public key; a running coordinator lets it in within seconds."""
    from motet.server.home import open_server

    made = open_server(home)
    made.add(site, key)
    console.print(f"Site {site} may connect.", markup=False)


@server.command()
def remove(home: Home, site: Annotated[str, typer.Argument(help="The site's name.")]) -> None:
    """Remove a site: its key is refused from now on."""
    from motet.server.enrolment import remove as take_out
    from motet.server.home import open_server

    made = open_server(home)
    when = take_out(made, site)
    console.print(
        f"Site {site} may not connect any more ({when}). To come back it needs a new key: "
        "'motet site init' in a new folder.",
        markup=False,
    )


@server.command()
def renew(home: Home) -> None:
    """Make a new server certificate of the same authority; the sites have nothing to do."""
    from motet.server.home import open_server
    from motet.server.setup import renew as again

    made = open_server(home)
    again(made)
    console.print(
        f"A new certificate for {', '.join(made.settings.names)}. It is used when the coordinator "
        "is started again.",
        markup=False,
    )


@server.command()
def start(home: Home) -> None:
    """Run the coordinator until it is stopped (Ctrl-C, or a service manager's SIGTERM)."""
    from motet.server.daemon import serve
    from motet.server.home import open_server

    serve(open_server(home), say=lambda words: console.print(words, markup=False))


@server.command()
def run(
    home: Home,
    study: Annotated[Path, typer.Argument(help="The study file; its sites' folders are not used.")],
    out: Annotated[Path, typer.Option(help="Folder to write; the same study resumes in it.")],
    wait: Annotated[float, typer.Option(help="Seconds to wait for sites to connect.")] = 60.0,
) -> None:
    """Run a study with the enrolled sites and follow it. Ctrl-C stops following, not the run."""
    from motet.server.command import follow, submit
    from motet.server.home import open_server

    coordinator = open_server(home)
    order = submit(coordinator, study, out=out.resolve(), wait=wait)
    try:
        with progress() as observe:
            outcome = follow(coordinator, order, observe)
    except KeyboardInterrupt:
        console.print(
            "\nThe study goes on without you. The same command follows it again; 'motet server "
            f"status {home}' says how far it is.",
            markup=False,
        )
        raise typer.Exit(130) from None
    for site, code in outcome["missing"].items():
        console.print(f"warning: site {site} is missing ({code}).", markup=False)
    if outcome.get("unreported"):
        console.print(f"warning: {outcome['unreported']}", markup=False)
    console.print(
        f"\nWritten to {out}: shared model {outcome['sha256'][:12]}, from "
        f"{', '.join(outcome['sites'])}.\n"
        f"  {out / 'report.html'}    the study report ('motet evaluate {out}' prints its figures)\n"
        "Harmonized data and each site's own report lie at the sites, under studies/.",
        markup=False,
    )


@server.command()
def check(
    home: Home,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to time.")] = 5,
    wait: Annotated[float, typer.Option(help="Seconds to wait for sites to connect.")] = 10.0,
) -> None:
    """Say hello to every enrolled site: who answers, with which version, how fast."""
    from statistics import median

    from motet.server.command import follow, submit_check
    from motet.server.home import open_server
    from motet.version import __version__

    coordinator = open_server(home)
    order = submit_check(coordinator, rounds=rounds, wait=wait)
    found = follow(coordinator, order, lambda event: None)
    rows = [
        (site, f"answers, Motet {version}" + ("" if version == __version__ else " (other version)"))
        for site, version in found["versions"].items()
    ]
    rows += [(site, f"does not answer ({code})") for site, code in found["missing"].items()]
    table(("site", "state"), sorted(rows))
    if found["seconds"]:
        console.print(
            f"\nA round takes {median(found['seconds']):.2f} s (median of "
            f"{len(found['seconds'])}; {min(found['seconds']):.2f} to "
            f"{max(found['seconds']):.2f}).",
            markup=False,
        )


@server.command()
def heads(home: Home) -> None:
    """Print the head of every site's ledger that is on record here, for its auditor."""
    from motet.server.anchors import last_heads
    from motet.server.home import open_server

    found = last_heads(open_server(home).anchors)
    if not found:
        console.print("No site has stated a head yet.")
        return
    for site, head in found.items():
        console.print(f"{site}  {head}", markup=False, soft_wrap=True)


@server.command()
def status(home: Home) -> None:
    """Say what runs, which sites are connected, and how the studies stand."""
    from motet.server.home import open_server
    from motet.server.overview import overview

    seen = overview(open_server(home))
    console.print(seen.coordinator, markup=False)
    if seen.sites:
        table(("site", "state"), seen.sites, title="\nSites")
    if seen.orders:
        table(("order", "study", "state"), seen.orders, title="\nStudies")
