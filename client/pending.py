"""Studies that a site was asked for: kept, so that its data manager can look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet.bids.table import Table
from motet.client.counts import Counts, groups
from motet.client.local_site import silent
from motet.client.opening import open_site
from motet.cohort import seen_by_fit
from motet.config import parse_study
from motet.errors import DeploymentError, listed
from motet.params import parse_params
from motet.plan import Plan, biology, build_plan
from motet.schema import Schema
from motet.store import read_json, write_json
from motet.version import __version__


@dataclass(frozen=True)
class Pending:
    """One plan that was asked for.

    Attributes
    ----------
    plan : str
        Its hash.
    study : str
    document : mapping
        What the coordinator sent of the study, and what the sites agreed on.
    """

    plan: str
    study: str
    document: Mapping[str, Any]

    def build(self) -> Plan:
        """The plan, made by this site's own package.

        Raises
        ------
        DeploymentError
            When another version of Motet was asked.
        """
        study = parse_study(self.document["study"])
        made = build_plan(study, Schema.from_json(self.document["schema"]))
        if made.hash != self.plan:
            raise DeploymentError(
                f"This version of Motet ({__version__}) makes another plan of the study than the "
                f"one that asked ({self.document.get('motet')}).",
                do="Have the coordinator ask again.",
            )
        return made

    def behind(self, data: Path, site: str, say: Callable[[str], None] = silent) -> list[Counts]:
        """The counts of people here that would stand behind its sums; `say` is told of oddities."""
        plan = self.build()
        study = parse_study(self.document["study"])
        table: Table = open_site(
            data, site=site, params=parse_params(study), biology=biology(study), say=say
        )
        fit = seen_by_fit(table, held_out=plan.held_out, seed=plan.seed, params=plan.params)
        masks = {"fit": fit & (site not in plan.unseen)}
        if plan.evaluation:
            masks["held out"] = ~masks["fit"]
        return groups(table, plan.schema, {name: m for name, m in masks.items() if m.any()})


KEPT = 500
"""Plans that stay to be looked at: a coordinator that asks without end fills no disk."""


class PendingStudies:
    """The folder of plans that were asked for.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, plan: Plan, study: Mapping[str, Any]) -> None:
        """Keep what is needed to build a plan again; one that is there already stays."""
        file = self._folder / f"{plan.hash}.json"
        if not file.is_file():
            document = {
                "study": dict(study),
                "schema": plan.schema.to_json(),
                "name": plan.study,
                "motet": __version__,
            }
            write_json(file, document)
            kept = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
            for old in kept[:-KEPT]:
                old.unlink(missing_ok=True)

    def all(self) -> Iterator[Pending]:
        """Every plan that was ever asked for, by the time of its file."""
        for file in sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime):
            document = read_json(file)
            yield Pending(plan=file.stem, study=str(document["name"]), document=document)

    def find(self, name: str) -> Pending:
        """The plan of a hash or of its beginning, or the only one of a study.

        Raises
        ------
        DeploymentError
            When there is none, or the beginning is that of several.
        """
        every = list(self.all())
        # A study may be called as a plan's hash begins: what was typed is the hash.
        found = [one for one in every if len(name) >= 6 and one.plan.startswith(name)]
        found = found or [one for one in every if one.study == name]
        if len(found) != 1:
            there = listed(f"{one.plan[:12]} ({one.study})" for one in reversed(every))
            raise DeploymentError(
                f"'{name}' is {'no plan' if not found else 'what several plans are called'} that "
                "was asked for.",
                do=f"Name it by its hash: there is {there}."
                if every
                else "Nothing was asked for yet.",
            )
        return found[0]
