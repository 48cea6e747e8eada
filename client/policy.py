"""What a site lets leave. A study cannot loosen it; simulation runs with everything open."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

from pydantic import BaseModel, ConfigDict, Field

from motet.bids.table import Table
from motet.client.counts import Counts, counts
from motet.errors import listed
from motet.plan import Plan, of_batches
from motet.releases import Leaves
from motet.schema import Schema


class SitePolicy(BaseModel):
    """The part ``policy`` of ``site.yaml``.

    Parameters
    ----------
    smallest_n : int
        People of the site who must stand behind a sum.
    smallest_cell : int
        People of the site with a level of a categorical covariate, of a batch, and who lack a
        value where sums are made without them; 0 of them is allowed.
    smallest_basis : int
        People of the site, in effect, behind a spline of a covariate wherever its sums could
        single them out (:mod:`motet.client.spline_support`); 0 of them is allowed.
    leverage : float
        Largest leverage of a person in the site's design of batches and covariates, added up over
        the person's rows (of several it can be more than 1): 1 where a person alone makes a sum,
        and the sum is that person's value.
    changed_by : int
        People who must have joined, left or changed between two releases: the difference of two
        sums is the sum of those. The same people may be summed as often as they like.
    most_cohorts : int
        Different sets of people who may be summed in the site's life: many overlapping sums are
        equations, and enough of them have one solution.
    repeats : int
        Times that a phase of one plan may be asked with other numbers of the coordinator: a run
        that starts over without a lost site asks again, and so does who probes people.
    lifetime : int, optional
        Numbers that may leave in the site's life, in all studies together: every entry of a sum is
        an equation. The same bytes sent again count once. Default: as many as studies ask.
    epsilon, delta : float, optional
        Differential privacy that may be spent in the site's life, in all studies together: plain
        sums over the trainings that it covers. Default: as studies ask. A number does not make
        studies private that ask for none: what is sent without noise is not counted here.
    plain_sums : bool
        Whether the coordinator may read this site's own sums: where two sites take part, where a
        study asks for it, and where they follow from others by subtraction. Otherwise it reads
        what sums come to over three sites or more.
    new_keys : bool
        Whether another site's key for secure sums is taken though nobody has compared it.
    methods : list of str
        Methods that this site takes part in; empty: all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smallest_n: int = Field(default=10, ge=1)
    smallest_cell: int = Field(default=5, ge=1)
    smallest_basis: int = Field(default=5, ge=1)
    leverage: float = Field(default=0.5, gt=0.0, le=1.0)
    changed_by: int = Field(default=10, ge=0)
    most_cohorts: int = Field(default=20, ge=1)
    repeats: int = Field(default=3, ge=1)
    lifetime: int | None = Field(default=None, ge=0)
    epsilon: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    delta: float | None = Field(default=None, ge=0.0, lt=1.0)
    plain_sums: bool = False
    new_keys: bool = False
    methods: tuple[str, ...] = ()

    def allows(self, method: str) -> bool:
        """Whether the site takes part in studies with this method."""
        return not self.methods or method in self.methods

    def against_plan(self, plan: Plan) -> str:
        """What stands against the sums of a plan, whoever is behind them; empty: nothing."""
        sums = [p for p in plan.phases if p.leaves is Leaves.SUM]
        read = [p.name for p in sums if not plan.masks(p) or of_batches(p)]
        if self.plain_sums or not read:
            return ""
        return (
            f"the coordinator would read this site's own sums ({listed(read)}), and its policy "
            "does not say plain_sums: true"
        )

    def against(self, behind: Counts, *, alone: bool = False) -> Iterator[str]:
        """Sentences, one for each count of a group that is too small.

        Parameters
        ----------
        behind : Counts
        alone : bool
            Whether what leaves is of single batches, which then count as the group does.
        """
        whose = "" if behind.group == "fit" else f" {behind.group}"
        if behind.people < self.smallest_n:
            people = "person" if behind.people == 1 else "people"
            yield f"{behind.people} {people}{whose}, fewer than {self.smallest_n}"
        for (covariate, level), count in behind.cells.items():
            least = self.smallest_n if alone and covariate == "batch" else self.smallest_cell
            if 0 < count < least:
                yield f"{count}{whose} with {covariate} = {level}, fewer than {least}"
        for (covariate, where), effective in behind.basis.items():
            if 0 < effective < self.smallest_basis * (1 - 1e-9):
                yield (
                    f"{floor(effective * 10) / 10:g}{whose} in effect with {covariate} {where} in "
                    f"its splines so far, fewer than {self.smallest_basis}"
                )
        # Rounding: the two of a pair have a leverage of exactly one half.
        if behind.leverage >= self.leverage * (1 - 1e-9) and self.leverage < 1:
            yield (
                f"a person's rows{whose} add up to a leverage of {behind.leverage:.2f} in the "
                f"design, {self.leverage:g} or more"
            )
        if behind.observed is not None and behind.observed < self.smallest_n:
            yield f"{behind.observed}{whose} with a feature's value, fewer than {self.smallest_n}"
        if behind.missing is not None and behind.missing < self.smallest_cell:
            yield f"{behind.missing}{whose} without it, fewer than {self.smallest_cell}"

    def refusals(self, table: Table, schema: Schema) -> tuple[str, ...]:
        """What stands against sums over the people of a table; empty where all may leave."""
        return tuple(self.against(counts(table, schema, group="fit")))


OPEN = SitePolicy(
    smallest_n=1,
    smallest_cell=1,
    smallest_basis=1,
    leverage=1.0,
    changed_by=0,
    most_cohorts=1_000_000,
    repeats=1_000_000,
    plain_sums=True,
    new_keys=True,
)
"""Everything may leave: of a simulation, whose data are in one place already."""
