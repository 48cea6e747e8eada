"""A site's part in releases that one other site reads: it seals its own, and opens others'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from motet.client.masking import Masking
from motet.errors import ProtocolError, SecureSumError, listed
from motet.phases import Publish
from motet.plan import Plan
from motet.releases import Arrays, ArraySpec, violations
from motet.secure.circle import what_is_summed
from motet.secure.held import of_key, with_key
from motet.secure.sealed import SEALED, Seal
from motet.secure.wire import read_keys, read_salt
from motet.store import bytes_hash


@dataclass(kw_only=True)
class Sealing:
    """What the gate hides a sealed release behind.

    Attributes
    ----------
    beside : mapping
        What goes with the sealed arrays, once they are.
    """

    masking: Masking
    phase: Publish
    seal: Seal
    beside: Mapping[str, Any] = field(default_factory=dict, init=False)

    @property
    def about(self) -> str:
        """What the release is called in the ledger."""
        return self.seal.about.hex()

    @property
    def specs(self) -> tuple[ArraySpec, ...]:
        """What is declared."""
        return self.phase.releases

    def hide(self, arrays: Arrays) -> Arrays:
        """The arrays as bytes that the recipient alone can open."""
        salt, sealed = self.seal.close(self.masking.key, arrays)
        self.beside = {"salt": salt.hex()}
        return sealed


def sealing(
    document: Any,
    shared: Arrays,
    *,
    masking: Masking,
    run: str,
    plan: Plan,
    phase: Publish,
    path: str,
    sender: str,
) -> Sealing:
    """The release that the coordinator asks for, if it is the plan's.

    Parameters
    ----------
    document : Any
        Public keys by site, of sender and recipient among them.
    shared : mapping of str to ndarray
        What the coordinator has shared.
    masking, run, plan, phase, path
    sender : str

    Raises
    ------
    ProtocolError, SecureSumError
    """
    keys, ends = read_keys(document), {sender, phase.to.site}
    if not ends <= set(keys):
        missing = listed(sorted(ends - set(keys)))
        raise SecureSumError(f"The release '{path}' came without the key of {missing}.")
    keys = {site: keys[site] for site in ends}
    masking.check_keys(keys)
    what = what_is_summed(
        run=run, plan=plan.hash, path=path, shared=bytes_hash(shared, ""), schema=plan.schema
    )
    seal = Seal(what=what, sender=sender, recipient=phase.to.site, keys=keys)
    return Sealing(masking=masking, phase=phase, seal=seal)


def opened(
    document: Any,
    arrays: Arrays,
    shared: Arrays,
    *,
    masking: Masking,
    run: str,
    plan: Plan,
    phase: Publish,
    path: str,
) -> dict[str, Any]:
    """What others sealed for this site, ``<site>/<array>``.

    Parameters
    ----------
    document : Any
        ``{"keys": …, "salts": {site: salt}}``.
    arrays : mapping of str to ndarray
        ``sealed/<site>/<array>``.
    shared : mapping of str to ndarray
    masking, run, plan, phase, path

    Raises
    ------
    ProtocolError, SecureSumError
        When a sender is missing, or what it sealed was changed on its way.
    """
    salts = document.get("salts") if isinstance(document, dict) else None
    if not isinstance(salts, dict):
        raise ProtocolError("Sealed arrays came without their salts.", site=masking.site)
    senders = plan.participants(phase)
    if set(salts) != set(senders):
        raise ProtocolError(
            f"'{path}' is from {listed(senders)}, and came from {listed(sorted(salts))}.",
            site=masking.site,
        )
    found: dict[str, Any] = {}
    sizes = plan.sizes(shared)
    for site in senders:
        one = sealing(
            document.get("keys"),
            shared,
            masking=masking,
            run=run,
            plan=plan,
            phase=phase,
            path=path,
            sender=site,
        )
        sealed = of_key(of_key(arrays, SEALED), site)
        own = one.seal.open(masking.key, read_salt(salts[site]), sealed, one.specs, sizes)
        if wrong := violations(own, one.specs, sizes):
            raise ProtocolError(
                f"'{site}' sealed what is not declared: {'; '.join(wrong)}.", site=masking.site
            )
        found |= with_key(own, site)
    return found
