"""``motet site peers``: whose keys this hospital's sums are masked with, compared by people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console, table
from motet.cli.site_approval import Home, who
from motet.errors import DeploymentError


def peers(
    home: Home,
    accept: Annotated[str, typer.Option(help="The site whose fingerprint was compared.")] = "",
    fingerprint: Annotated[
        str, typer.Option(help="What that site reads out: 16 characters of it, or more.")
    ] = "",
) -> None:
    """List the keys for secure sums, this site's own first; or take the one that was compared.

    The coordinator passes keys on. One that passed on keys of its own could read what it should
    not, so the hospitals read their fingerprints to each other, once, by telephone.
    """
    from motet.client.home import open_home
    from motet.secure.keys import fingerprint as of

    opened = open_home(Path(home))
    known = opened.peers()
    if bool(accept) != bool(fingerprint):
        raise DeploymentError("'--accept SITE' and '--fingerprint …' go together.")
    if accept:
        known.accept(accept, fingerprint, by=who())
        console.print(f"The key of '{accept}' is taken: it was compared by {who()}.", markup=False)
        return
    console.print(f"This site, {opened.settings.name}: {of(opened.sum_key().public)}", markup=False)
    keys, compared = known.known(), known.compared()
    if not keys:
        console.print("No sum was made with another site yet.")
        return
    table(
        ("site", "fingerprint", "compared by"),
        [(site, of(key), compared[site] or "nobody yet") for site, key in sorted(keys.items())],
    )
    if missing := [site for site in sorted(keys) if not compared[site]]:
        console.print(
            f"\nAsk {missing[0]} for its own line above, then: motet site peers {home} --accept "
            f"{missing[0]} --fingerprint …",
            markup=False,
        )
