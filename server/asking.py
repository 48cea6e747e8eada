"""One phase as a strategy sees it: asks its sites over the exchange, and validates what comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from motet.errors import ProtocolError
from motet.evaluation.steps import PRIVATE
from motet.flower.lasting import FORGOTTEN, Lasting
from motet.flower.records import Body
from motet.phases import UNTOLD, Phase, Publish, Sum
from motet.plan import Plan
from motet.releases import Arrays, ArraySpec, violations
from motet.scale import Bounds
from motet.secure.circle import Circle, what_is_summed
from motet.secure.declared import masked_specs
from motet.secure.held import SHARED, TOTAL, Held, of_key, read_seals, seals_document, with_key
from motet.secure.panel import Panel
from motet.secure.party import Masked, Revealed
from motet.secure.sealed import SEALED, sealed_specs
from motet.secure.wire import (
    keys_document,
    read_masked,
    read_revealed,
    read_salt,
    relayed_document,
)
from motet.server.anchors import Anchors
from motet.server.exchange import Exchange
from motet.server.received import Received
from motet.store import bytes_hash
from motet.strategies.rounds import State
from motet.training.exchange import path_of
from motet.training.phase import UNFINISHED, Turn


class SitesLostError(Exception):
    """Sites dropped out of a phase: what they gave before must not count."""

    def __init__(self, lost: Mapping[str, str]) -> None:
        self.lost = dict(lost)


Opened = Callable[[Phase, Circle], None]
"""Told of every sum that was read."""


def unkept(turn: Turn, state: State, row: Mapping[str, Any] | None) -> None:
    """Write nothing down."""


@dataclass(kw_only=True)
class Asking:
    """The sites of one phase (:class:`motet.strategies.rounds.Ask`).

    Parameters
    ----------
    exchange : Exchange
    plan : Plan
    path : str
    sites : tuple of str
        Those that take part in the phase.
    sizes : mapping of str to int
    keys : mapping of str to bytes
        Public keys for secure sums.
    received : Received
    anchors : Anchors or None
    opened : callable
        Told of every secure sum before masks come off.
    kept : mapping of str to ndarray
        What a training that was interrupted goes on from.
    keeping : callable
        ``(turn, state, row)``: writes down where a training is; ``state()`` says where.
    lasting : Lasting or None
        What sites of a training need to be told once.
    """

    exchange: Exchange
    plan: Plan
    path: str
    sites: tuple[str, ...]
    sizes: Mapping[str, int]
    keys: Mapping[str, bytes]
    received: Received
    anchors: Anchors | None
    opened: Opened
    kept: Arrays = field(default_factory=dict)
    keeping: Callable[[Turn, State, Mapping[str, Any] | None], None] = unkept
    lasting: Lasting | None = None

    @property
    def seed(self) -> int:
        """The study's seed."""
        return self.plan.seed

    def knowing(self, shared: Arrays) -> Asking:
        """The same sites, which remember `shared` from the first time that they are told it."""
        return replace(self, lasting=Lasting(_told(shared)))

    def of(self, turn: Turn) -> Asking:
        """The same sites, asked for one exchange of a training."""
        return replace(self, path=path_of(self.path, turn))

    def keep(self, turn: Turn, state: State, row: Mapping[str, Any] | None) -> None:
        """Write down where a training is after an exchange, and a line of its log."""
        self.keeping(turn, state, row)

    def bounds(self, phase: Phase, shared: Arrays) -> Bounds:
        """How large sums can be."""
        return self.plan.bounds(phase, shared)

    def __call__(self, phase: Phase, shared: Arrays) -> Mapping[str, Arrays]:
        """Every site's arrays."""

        def check(site: str, body: Body) -> str:
            return self._check(site, body, phase.releases)

        accepted = self._ask(Body(arrays=_told(shared)), check)
        for site, body in accepted.items():
            self.received.arrays(site, phase, self.path.partition("@")[0], body.arrays)
        return {site: body.arrays for site, body in accepted.items()}

    def masked(self, phase: Phase, shared: Arrays) -> tuple[Circle, Mapping[str, Masked]]:
        """Every site's arrays behind masks."""
        told = _told(shared)
        circle = self._circle(bytes_hash(told, ""))
        specs, found = masked_specs(phase.releases), dict[str, Masked]()

        def check(site: str, body: Body) -> str:
            if code := self._check(site, body, specs):
                return code
            try:
                found[site] = read_masked(_part(body, "masked"), body.arrays, circle)
            except ProtocolError:
                return "invalid-reply"
            return ""

        document = {"keys": keys_document(circle.keys)}
        accepted = self._ask(Body(document=document, arrays=told), check)
        for site, body in accepted.items():
            self.received.arrays(site, phase, self.path.partition("@")[0], body.arrays, masked=True)
        self.opened(phase, circle)
        return circle, found

    def revealed(self, circle: Circle, masked: Mapping[str, Masked]) -> Mapping[str, Revealed]:
        """What survivors say of masks, each with its ledger's entry of the sum countersigned.

        Where nothing is countersigned, one that says nothing now is missed in the next phase.
        """
        found = dict[str, Revealed]()

        def check(site: str, body: Body) -> str:
            if self.anchors is not None and (code := self.anchors.take(site, body)):
                return code
            try:
                said = read_revealed(_part(body, "shares"))
            except ProtocolError:
                return "invalid-reply"
            if set(said.own) != set(masked):
                return "invalid-reply"
            found[site] = said
            return ""

        common = {"keys": keys_document(circle.keys), "shared": circle.what["shared"]}
        bodies = {
            site: Body(
                document={
                    **common,
                    "sealed": relayed_document(masked, site),
                    **({"countersigned": signed} if (signed := self._signed(site)) else {}),
                }
            )
            for site in masked
        }
        replies = self.exchange.ask(
            "query.reveal", masked, bodies, plan=self.plan.hash, phase=self.path, check=check
        )
        if len(found) < circle.threshold:
            raise SitesLostError(replies.failed)
        return found

    def held(self, phase: Phase, shared: Arrays) -> Mapping[str, Held]:
        """What the holders of every key send behind masks."""
        assert isinstance(phase, Sum)
        told = _told(shared)
        panels, seals = self._panels(bytes_hash(told, "")), dict[str, dict[str, dict[str, bytes]]]()

        def check(site: str, body: Body) -> str:
            keys = self.plan.schema.keys_of(site)
            if code := self._check(site, body, masked_specs(phase.of_keys(keys))):
                return code
            led = [key for key in keys if panels[key].members[0] == site]
            try:
                seals[site] = read_seals(_part(body, "seals"), led)
            except ProtocolError:
                return "invalid-reply"
            return ""

        body = Body(document={"panels": _of_panels(panels)}, arrays=told)
        accepted = self._ask(body, check)
        for site, reply in accepted.items():
            self.received.arrays(site, phase, self.path, reply.arrays)
        return {
            key: Held(
                panel=panel,
                arrays={site: of_key(accepted[site].arrays, key) for site in panel.members},
                sealed=seals[panel.members[0]][key],
            )
            for key, panel in panels.items()
        }

    def hand(self, phase: Phase, shared: Arrays, held: Mapping[str, Held]) -> None:
        """Hand every holder the sums of its keys."""
        totals = {key: with_key(one.total(), f"{TOTAL}/{key}") for key, one in held.items()}
        told = with_key(_told(shared), SHARED)
        panels = _of_panels({key: one.panel for key, one in held.items()})
        bodies = {}
        for site in self.sites:
            keys = self.plan.schema.keys_of(site)
            seals = {key: {site: held[key].sealed.get(site, b"")} for key in keys}
            arrays = {name: array for key in keys for name, array in totals[key].items()}
            document = {"panels": panels, "seals": seals_document(seals)}
            bodies[site] = Body(document=document, arrays={**arrays, **told})
        replies = self.exchange.ask(
            "query.conclude", self.sites, bodies, plan=self.plan.hash, phase=self.path
        )
        if replies.failed:
            raise SitesLostError(replies.failed)

    def sealed(self, phase: Phase, shared: Arrays) -> Mapping[str, tuple[Arrays, bytes]]:
        """What the sites of a phase sealed for its recipient."""
        assert isinstance(phase, Publish)
        specs, salts = sealed_specs(phase.releases, self.sizes), dict[str, bytes]()

        def check(site: str, body: Body) -> str:
            if code := self._check(site, body, specs):
                return code
            try:
                salts[site] = read_salt(_part(body, "salt"))
            except ProtocolError:
                return "invalid-reply"
            return ""

        document = {"seal": keys_document(self._ends(phase))}
        accepted = self._ask(Body(document=document, arrays=_told(shared)), check)
        for site, body in accepted.items():
            self.received.arrays(site, phase, self.path, body.arrays)
        return {site: (body.arrays, salts[site]) for site, body in accepted.items()}

    def deliver(
        self, phase: Phase, shared: Arrays, sealed: Mapping[str, tuple[Arrays, bytes]]
    ) -> None:
        """Hand the recipient what is sealed for it."""
        assert isinstance(phase, Publish)
        document = {
            "keys": keys_document(self._ends(phase)),
            "salts": {site: salt.hex() for site, (_, salt) in sorted(sealed.items())},
        }
        arrays = with_key(_told(shared), SHARED)
        for site, (own, _) in sealed.items():
            arrays |= with_key(own, f"{SEALED}/{site}")
        body = Body(document=document, arrays=arrays)
        replies = self.exchange.ask(
            "query.conclude", (phase.to.site,), body, plan=self.plan.hash, phase=self.path
        )
        if replies.failed:
            raise SitesLostError(replies.failed)

    def _ends(self, phase: Publish) -> dict[str, bytes]:
        """Public keys of the sites of a sealed release, and of its recipient."""
        return {site: self.keys[site] for site in (*self.sites, phase.to.site)}

    def _panels(self, shared: str) -> dict[str, Panel]:
        return {
            key: Panel(self._what(shared, key), {site: self.keys[site] for site in sites})
            for key, sites in self.plan.holders.items()
        }

    def _circle(self, shared: str) -> Circle:
        keys = {site: self.keys[site] for site in self.sites}
        return Circle(self._what(shared), keys, everybody=self.anchors is not None)

    def _what(self, shared: str, key: str = "") -> dict[str, object]:
        return what_is_summed(
            run=self.exchange.run,
            plan=self.plan.hash,
            path=self.path,
            shared=shared,
            schema=self.plan.schema,
            key=key,
        )

    def _check(self, site: str, body: Body, specs: tuple[ArraySpec, ...]) -> str:
        if violations(body.arrays, specs, self.sizes):
            return "invalid-reply"
        return "" if self.anchors is None else self.anchors.take(site, body)

    def _ask(self, body: Body, check: Callable[[str, Body], str]) -> Mapping[str, Body]:
        """Every site's release; from those that wait for it, once their entries are signed."""
        waiting = set[str]()

        def first(site: str, body: Body) -> str:
            if self.anchors is None or body.arrays or _part(body, "waits") is not True:
                return check(site, body)
            waiting.add(site)
            return self.anchors.take(site, body)

        accepted = self._told_once(body, first)
        if not waiting:
            return accepted
        signed = {site: Body(document=self._signed(site)) for site in waiting}
        return {**accepted, **self._all("query.release", waiting, signed, check)}

    def _told_once(self, body: Body, check: Callable[[str, Body], str]) -> Mapping[str, Body]:
        """Every site's reply to a phase; of a training, what lasts is sent to whom it is new."""
        lasting = self.lasting
        if lasting is None:
            return self._all("train.phase", self.sites, body, check)
        if not lasting.told:
            accepted = self._all("train.phase", self.sites, lasting.whole(body), check)
            lasting.told = True
            return accepted
        forgetful = set[str]()

        def unless_forgotten(site: str, reply: Body) -> str:
            if reply.arrays or _part(reply, FORGOTTEN) is not True:
                return check(site, reply)
            forgetful.add(site)
            return ""

        accepted = self._all("train.phase", self.sites, lasting.short(body), unless_forgotten)
        if not forgetful:
            return accepted
        again = self._all("train.phase", forgetful, lasting.whole(body), check)
        return {**accepted, **again}

    def _all(
        self,
        action: str,
        sites: Collection[str],
        body: Body | Mapping[str, Body],
        check: Callable[[str, Body], str],
    ) -> Mapping[str, Body]:
        replies = self.exchange.ask(
            action, sites, body, plan=self.plan.hash, phase=self.path, check=check
        )
        if replies.failed:
            raise SitesLostError(replies.failed)
        return replies.accepted

    def _signed(self, site: str) -> dict[str, Any]:
        return {} if self.anchors is None else self.anchors.countersigned(site)


def _told(shared: Arrays) -> Arrays:
    """What sites need of what the coordinator knows."""
    return {
        name: array
        for name, array in shared.items()
        if not name.startswith((PRIVATE, UNFINISHED, UNTOLD))
    }


def _of_panels(panels: Mapping[str, Panel]) -> dict[str, dict[str, str]]:
    return {key: keys_document(panel.keys) for key, panel in sorted(panels.items())}


def _part(body: Body, name: str) -> Any:
    return body.document.get(name) if isinstance(body.document, dict) else None
