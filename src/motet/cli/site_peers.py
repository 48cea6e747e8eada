"""``motet site peers``: whose keys this hospital's sums are masked with, compared by people."""

from __future__ import annotations

from typing import Annotated

import typer

from motet.cli.show import console, table
from motet.cli.site_approval import Home, who
from motet.errors import DeploymentError, is_plain_name


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

    opened = open_home(home)
    known = opened.peers()
    if bool(accept) != bool(fingerprint):
        raise DeploymentError("'--accept SITE' and '--fingerprint …' go together.")
    if accept:
        if not is_plain_name(accept) or accept == opened.settings.name:
            raise DeploymentError(f"'{accept}' is no other site.")
        known.accept(accept, fingerprint, by=who())
        console.print(
            f"From now on '{accept}' has the key that begins with {fingerprint.strip()[:16]}.",
            markup=False,
        )
        return
    console.print(f"{opened.settings.name} {of(opened.sum_key().public)}", markup=False)
    if not (found := known.known()):
        console.print("No other site's key was compared here yet.")
        return
    table(
        ("site", "fingerprint", "compared by"),
        [(site, begins, by or "nobody yet") for site, (begins, by) in sorted(found.items())],
    )
