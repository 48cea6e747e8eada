"""Which scanners have units, and where these are trained: decided by the plan, from public names.

A hub's own folder names, session by session, the scanner of each scan. A name stands for the
scanner of another site where it is that of the site (with one scanner), of the scanner, or both:
``<site>-<scanner>``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from motet.errors import DesignError, StudyFileError, listed, nearest
from motet.harmonizers.mispel.params import MispelParams
from motet.schema import Batch, Schema

ALONE = (
    "MISPEL learns from people who were scanned on several scanners; without such travelers there "
    "is nothing to learn from."
)

ALIKE = 0.75
"""How much of a name has to be another's for it to be taken for a slip."""


@dataclass(frozen=True)
class Scanners:
    """The scanners of a study.

    Parameters
    ----------
    params : MispelParams
    schema : Schema
    """

    params: MispelParams
    schema: Schema

    @cached_property
    def _in_one_place(self) -> bool:
        """Whether this is a control: all sites' people at one, whose scanners say the sites."""
        return len(self.schema.sites) == 1 and self.params.hub not in self.schema.sites

    def _of(self, name: str, site: str) -> Batch:
        """A scanner by its site in the study; in one place its name says both."""
        if not self._in_one_place:
            return Batch(site, name)
        where, _, own = name.partition("/")
        return Batch(where, own or where)

    @cached_property
    def everybody(self) -> tuple[Batch, ...]:
        """All scanners, by the sites of the study."""
        return tuple(self._of(batch.name, batch.site) for batch in self.schema.batches)

    @cached_property
    def hub(self) -> str:
        """The site where units are trained.

        Raises
        ------
        StudyFileError
        """
        if not self.params.hub:
            raise StudyFileError(
                f"The study does not say which site holds the travelers' scans. {ALONE}",
                do="Name it: params: {hub: SITE}. Where each site has its own scans: {mode: sites, "
                "travelers: […]}.",
                key="params.hub",
            )
        sites = self.schema.sites
        if self.params.hub in sites:
            return self.params.hub
        if self._in_one_place:
            return sites[0]
        raise StudyFileError(
            f"The hub '{self.params.hub}' is not a site of the study.",
            do=f"The sites are {listed(sites)}. {nearest(self.params.hub, sites)}".rstrip(),
            key="params.hub",
        )

    @cached_property
    def trained(self) -> dict[str, str]:
        """At the hub: what a scanner is called there -> name of its batch, sorted."""
        return {
            self._of(batch.name, batch.site).name: batch.name
            for batch in self.schema.batches
            if self._of(batch.name, batch.site).site == self.params.hub
        }

    @cached_property
    def others(self) -> tuple[Batch, ...]:
        """Scanners of sites that are not the hub."""
        return tuple(batch for batch in self.everybody if batch.site != self.params.hub)

    def stands_for(self, batch: Batch) -> str:
        """What the hub calls a scanner.

        Raises
        ------
        DesignError
            When it has no scans of it, or calls two so.
        """
        own = self.trained
        if batch.site == self.params.hub:
            return batch.name
        of_site = [other for other in self.others if other.site == batch.site]
        alike = [other for other in self.others if other.name == batch.name]
        names = [f"{batch.site}-{batch.name}"]
        names += [batch.name] if len(alike) == 1 else []
        names += [batch.site] if len(of_site) == 1 else []
        found = [name for name in names if name in own]
        if found:
            return found[0]
        raise DesignError(
            f"'{self.params.hub}' has no scans of travelers on the scanner of {batch}, so that "
            "there is no unit for it.",
            do=f"Call the sessions there '{names[-1]}' in the column '{self.params.batch}' of "
            "sub-*_sessions.tsv. It has scans of: "
            f"{listed(sorted(own)) or 'none'}. {nearest(names[-1], own, cutoff=ALIKE)}".rstrip(),
        )

    def unit_of(self, name: str, site: str) -> str:
        """Name of the unit of a batch of a site, as it is kept."""
        if self.params.mode == "sites":
            return name
        return self.stands_for(self._of(name, site))

    def check(self) -> None:
        """Refuse a study in which a scanner would have no unit.

        Raises
        ------
        StudyFileError, DesignError
        """
        if self.params.mode == "sites":
            self._check_travelers()
            return
        _ = self.hub
        if len(self.trained) < 2:
            raise DesignError(
                f"'{self.params.hub}' has scans of {listed(sorted(self.trained)) or 'no scanner'}. "
                f"{ALONE}",
                do="Give every session its scanner: sub-*/sub-*_sessions.tsv with session_id and "
                f"{self.params.batch}.",
            )
        for batch in self.others:
            self.stands_for(batch)
        if self.params.mode == "pairs":
            _ = self.reference

    def _check_travelers(self) -> None:
        sites, named = self.schema.sites, self.params.travelers
        if not named:
            raise StudyFileError(
                f"The study names no traveler. {ALONE}",
                do="Name those who were scanned on every scanner, by their keys in travelers.tsv: "
                "params: {travelers: […]}; or a site that holds all of their scans: {mode: hub, "
                "hub: SITE}.",
                key="params.travelers",
            )
        if len(self.schema.batches) < 2:
            raise DesignError(f"There is one scanner here. {ALONE}")
        if len(sites) == 1:
            return  # a control: its own folder has everybody
        holders = dict(self.schema.holders)
        for key in named:
            if missing := sorted(set(sites) - set(holders.get(key, ()))):
                raise DesignError(
                    f"The traveler '{key}' is missing at {listed(missing)}: travelers.tsv in that "
                    "folder does not list the key, or has no consent beside it; which of both the "
                    "site alone knows. Every traveler has to be scanned on every scanner.",
                    do="Add the person with the date of the consent (column 'consent' of "
                    "travelers.tsv), take the key out of params.travelers, or leave the site out.",
                )

    @cached_property
    def reference(self) -> str:
        """In pairs: what the hub calls its own scanner, which all others are paired with.

        Raises
        ------
        DesignError
        """
        taken = {self.stands_for(batch) for batch in self.others}
        left = sorted(set(self.trained) - taken)
        if len(left) != 1:
            raise DesignError(
                f"In pairs '{self.params.hub}' has one scanner of its own; it has "
                f"{listed(left) or 'none'} beside those of other sites.",
                do="Call the sessions on other sites' scanners as those sites are called.",
            )
        return left[0]
