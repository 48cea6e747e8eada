"""``motet site``: a hospital's side of a federation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console
from motet.cli.site_approval import approve, override, preview, revoke, studies
from motet.cli.site_ledger import ledger
from motet.cli.site_peers import peers
from motet.cli.site_statement import statement

site = typer.Typer(no_args_is_help=True, help="Run a hospital's site daemon.")

site.add_typer(ledger, name="ledger")
for command in (studies, preview, statement, approve, revoke, override, peers):
    site.command()(command)

Home = Annotated[Path, typer.Argument(help="The site's folder.")]


@site.command()
def init(
    home: Home,
    name: Annotated[str, typer.Option(help="The site's name in the consortium.")],
    data: Annotated[Path, typer.Option(help="The folder with participants.tsv and measures.")],
    coordinator: Annotated[Path, typer.Option(help="The coordinator.yaml that was sent.")],
) -> None:
    """Make a site's folder with a key of its own."""
    from motet.client.home import init_site

    made = init_site(home, name=name, data=data, coordinator=coordinator)
    console.print(
        f"Site {name}. Next:\n"
        f"  send {made.public_key} to the coordinator (it holds no secret)\n"
        f"  motet site check {home}\n"
        f"  motet site start {home}",
        markup=False,
    )


@site.command()
def check(home: Home) -> None:
    """Look once at the data, the certificate, the clock and the coordinator."""
    from motet.client.check import examine
    from motet.client.home import open_home

    for words in examine(open_home(home)):
        console.print(words, markup=False)


@site.command()
def start(home: Home) -> None:
    """Run the site daemon until it is stopped. It dials out, and listens to nobody."""
    from motet.client.daemon import serve
    from motet.client.home import open_home

    serve(open_home(home), say=lambda words: console.print(words, markup=False))


@site.command()
def status(home: Home) -> None:
    """Say whether the daemon runs, and what it does."""
    from motet.client.daemon import state
    from motet.client.home import open_home

    console.print(state(open_home(home)), markup=False)
