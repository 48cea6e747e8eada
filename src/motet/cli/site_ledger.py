"""``motet site ledger``: what left a hospital, and whether nobody changed what stands of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from motet.cli.show import console, table
from motet.errors import LedgerError
from motet.ledger import Ledger
from motet.ledger.verify import beyond

ledger = typer.Typer(no_args_is_help=True, help="Show, check or export what left the hospital.")

Home = Annotated[Path, typer.Argument(help="The site's folder, or a ledger.sqlite.")]


def _open(home: Path) -> Ledger:
    file = home if home.is_file() else home / "ledger.sqlite"
    book = Ledger.found(file)
    if book is None:
        raise LedgerError("There is no ledger here: nothing has left yet.", file=file)
    return book


@ledger.command()
def show(
    home: Home,
    study: Annotated[str, typer.Option(help="Only this study.")] = "",
) -> None:
    """List what left, array by array, and what was refused."""
    from motet.report.words import shape, size

    rows = []
    for entry in _open(home).entries():
        body = entry.body
        if study and body.get("study") != study:
            continue
        line = (str(entry.number), str(body.get("at", ""))[:19], str(body["kind"]))
        phase = f"{body.get('study', '')}: {body.get('phase', '')}".strip(": ")
        if body["kind"] == "release":
            if "keys" in body:
                rows.append((*line, phase, ", ".join(body["keys"]), "", ""))
            for array in body.get("arrays", ()):
                masked = ", masked" if "circle" in body else ""
                what = f"{shape(array['shape'])} {array['dtype']}{masked}"
                rows.append((*line, phase, array["name"], what, size(int(array["bytes"]))))
        elif body["kind"] == "refusal":
            rows.append((*line, phase, "; ".join(body["why"]), "", ""))
        elif body["kind"] == "cohort":
            rows.append((*line, phase, f"{len(body['marks'])} people", "", ""))
        else:
            rows.append((*line, phase, _said(body), "", ""))
    table(("entry", "at (UTC)", "what", "study: phase", "array", "shape", "bytes"), rows)


def _said(body: Mapping[str, Any]) -> str:
    """What an entry says that is no release."""
    found = {
        "approval": "{purpose}, until {until}, by {by}",
        "revocation": "{reason}, by {by}",
        "override": "{reason}, until {until}, by {by}",
        "peer": "key of {peer}: {fingerprint}",
        "people": "{name}",
        "knots": "splines of {covariate}: {knots}",
        "charge": "epsilon {epsilon}, delta {delta} by {unit}; covers {covers}, not {not_covered}",
        "anchor": "entry {number} countersigned",
    }.get(str(body["kind"]), "")
    if body["kind"] == "reveal":
        return f"sum over {', '.join(sorted(body['salts']))}"
    by = f", compared by {body['by']}" if body["kind"] == "peer" and body.get("by") else ""
    return found.format_map(defaultdict(str, body)) + by


@ledger.command()
def verify(
    home: Home,
    key: Annotated[
        str,
        typer.Option(help="The coordinator's public key, hexadecimal; default: that of site.yaml."),
    ] = "",
    head: Annotated[str, typer.Option(help="NUMBER:HASH that the coordinator has on record.")] = "",
) -> None:
    """Check that no entry was changed, deleted, inserted, moved or cut off, or left unsigned."""
    book = _open(home)
    if not key and (home / "site.yaml").is_file():
        from motet.client.home import SiteHome

        key = SiteHome(home).settings.ledger_key
    number, _, value = head.partition(":")
    if head and not (number.isdigit() and value):
        raise LedgerError("--head is NUMBER:HASH, as 'motet site ledger verify' prints it.")
    if found := book.problems(key=key, head=(int(number), value) if head else None):
        raise LedgerError(f"The ledger is not whole: {'; '.join(found)}.", file=book.path)
    last, digest = book.head
    console.print(
        f"The ledger of {book.site} is whole: {last} entries, head {last}:{digest}", markup=False
    )
    if key and (words := beyond(book.export())):
        console.print(f"Note: {words}.", markup=False)


@ledger.command()
def export(
    home: Home,
    out: Annotated[Path, typer.Argument(help="The file to write: a line an entry.")],
) -> None:
    """Write the ledger as text, for an auditor: 'python verify.py FILE' checks it offline."""
    from motet.ledger import verify as script
    from motet.store import atomic

    book = _open(home)
    if out.exists():
        raise LedgerError("There is a file of this name.", do="Name a new one.", file=out)
    with atomic(out) as stream:
        stream.writelines(f"{line}\n" for line in book.export())
    console.print(
        f"Written to {out}. Anybody can check it: python {script.__file__} {out}", markup=False
    )
