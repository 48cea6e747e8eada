"""What a site lets leave. A study cannot loosen it; simulation runs with everything open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motet.bids.table import Table
from motet.schema import Schema


@dataclass(frozen=True, kw_only=True)
class SitePolicy:
    """The smallest counts that must stand behind a release.

    Parameters
    ----------
    smallest_n : int
        People of the site.
    smallest_cell : int
        People of the site with a level of a categorical covariate; 0 of them is allowed.
    """

    smallest_n: int = 10
    smallest_cell: int = 5

    def refusals(self, table: Table, schema: Schema) -> tuple[str, ...]:
        """Sentences, one for each count that is too small; empty where all may leave."""
        found = []
        people = len(set(table.people.tolist()))
        if people < self.smallest_n:
            found.append(f"{people} people, fewer than {self.smallest_n}")
        for covariate in schema.with_biology.covariates:
            values = table.covariates[covariate.name].to_numpy()
            for level in covariate.levels:
                count = int(np.count_nonzero(values == level))
                if 0 < count < self.smallest_cell:
                    found.append(
                        f"{count} with {covariate.name} = {level}, fewer than {self.smallest_cell}"
                    )
        return tuple(found)
