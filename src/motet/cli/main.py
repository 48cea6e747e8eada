"""The entry point: turns errors into sentences and exit codes."""

from __future__ import annotations

import io
import sys
from typing import Annotated

from rich.console import Console
from typer import Exit, Option, Typer

from motet.cli import (
    apply,
    demo,
    evaluate,
    methods,
    phantom,
    plan,
    report,
    server,
    simulate,
    site,
    split,
)
from motet.errors import MotetError
from motet.version import __version__

STOPPED = 130

app = Typer(
    name="motet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("split")(split.split)
app.command("phantom")(phantom.phantom)
app.command("plan")(plan.plan)
app.command("simulate")(simulate.simulate)
app.command("apply")(apply.apply)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.command("methods")(methods.methods)
app.add_typer(server.server, name="server")
app.add_typer(site.site, name="site")


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Federated harmonization of brain images and imaging measures across hospitals."""
    if version:
        sys.stdout.write(f"motet {__version__}\n")
        raise Exit


@app.command("version")
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"motet {__version__}\n")


def main() -> None:
    """Run a command. Exit 2: the input is at fault, and a sentence says how. Exit 130: Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without umlauts still gets a text
    try:
        app()
    except MotetError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"error: {error}", markup=False, highlight=False, style="red"
        )
        sys.exit(2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {place}{error.strerror or error}.\n")
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == STOPPED:  # typer's word for a Ctrl-C
            sys.stderr.write("Stopped. The same command goes on where this one was.\n")
        raise
