"""The phase ``Train``: which turns there are, and what leaves in each. Plain data, no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from motet.errors import PlanError
from motet.phases import Phase
from motet.releases import Arrays, ArraySpec, Leaves
from motet.site import Site
from motet.training.options import TrainOptions
from motet.training.privacy import Private
from motet.training.summed import check_summed
from motet.training.vocabulary import (
    CONTROL,
    EMA,
    LOSSES,
    MOMENTS,
    OF_SQUARES,
    OF_VALIDATION,
    OF_WEIGHT,
    SAMPLES,
    SQUARES,
    UNFINISHED,
    VALIDATED,
    VALIDATION,
    WEIGHT,
    Group,
    Keeper,
    Losses,
    Turn,
    Update,
)


@dataclass(frozen=True, kw_only=True)
class Train(Phase):
    """Gradient training of networks by all sites.

    Parameters
    ----------
    build : callable
        ``(sizes) -> torch.nn.Module``, whose children are the groups. Random weights are drawn
        from torch's generator, which the platform seeds.
    samples : callable
        ``(site, shared) -> Samples``: what a site trains on, made once.
    groups : tuple of Group
    updates : tuple of Update
    options : TrainOptions
        The study's ``train:``, complete.
    validate : callable, optional
        ``(networks, batch, draws) -> (B,)``: what is smallest for the best networks.
    first : callable, optional
        ``(networks, train, shared, seed)``: makes other first weights of what is shared, at the
        coordinator.
    counted : str
        The shared number of samples of the fit.
    strata : {"", "batch"}
        ``batch``: every scanner has equal shares of a step's samples, however many people it has.
    masked : bool
        Whether sums are masked, which takes 64 bits a number. The platform sets it.
    largest : float
        Public bound on a number that leaves, where sums are masked; in units of a sample's
        gradient, or of a step of a parameter, times samples.
    dp : bool, optional
        Whether every loss is of one sample alone, with gradients that can be clipped: no norms or
        negatives over a batch, no gradients of gradients. Where nobody says so, privacy is refused.
        The platform forgets it in studies that do not ask for noise.
    private : Private, optional
        What the study asks of it. The platform sets it.
    """

    build: Callable[[Mapping[str, int]], Any]
    samples: Callable[[Site, Arrays], Any]
    groups: tuple[Group, ...]
    updates: tuple[Update, ...]
    options: TrainOptions
    validate: Callable[[Any, Mapping[str, Any], Any], Any] | None = None
    first: Callable[[Any, Any, Arrays, int], None] | None = None
    counted: str = "people"
    strata: Literal["", "batch"] = ""
    masked: bool = False
    largest: float = 2.0**20
    dp: bool | None = None
    private: Private | None = None

    def __post_init__(self) -> None:
        known = {group.name for group in self.groups}
        for update in self.updates:
            if unknown := set(update.groups) - known:
                raise PlanError(f"Update '{update.name}' names unknown groups {sorted(unknown)}.")
            if not 0 <= update.offset < update.period:
                raise PlanError(f"Update '{update.name}' never runs: offset >= period.")
            if not update.weights:
                raise PlanError(f"Update '{update.name}' has no loss.")
        moved = [name for update in self.updates for name in update.groups]
        if left := known - set(moved):
            raise PlanError(f"Train '{self.name}': no update moves {sorted(left)}.")
        if len(set(moved)) < len(moved) or len(known) < len(self.groups):
            raise PlanError(f"Train '{self.name}': a group has one update, and a name of its own.")
        for group in self.groups:
            if group.summed:
                check_summed(self, group)
            every = self.every(group)
            if every % self.interval or self.longest % every:
                raise PlanError(
                    f"Train '{self.name}': exchanges of '{group.name}' every {every} steps "
                    f"do not fit those of {self.interval} and {self.longest}."
                )
        if self.options.validation and self.validate is None:
            raise PlanError(f"Train '{self.name}' does not say how it is validated.")

    @property
    def leaves(self) -> Leaves | None:
        return Leaves.UPDATE

    @property
    def readers(self) -> str:
        return "the coordinator reads each site's; all sites read the networks made of all"

    @cached_property
    def leaving(self) -> tuple[Group, ...]:
        """The groups that leave their sites, sorted by name."""
        kept = [group for group in self.groups if group.keeper != "local"]
        return tuple(sorted(kept, key=lambda group: group.name))

    def controls(self, group: Group) -> bool:
        """Whether a group's gradients are corrected by what all sites' were on average."""
        how = self.options
        return how.mode == "local" and how.server == "scaffold" and group.keeper == "shared"

    def averaged(self, turn: Turn) -> tuple[str, ...]:
        """The groups that leave in a turn of local mode and are averaged over sites."""
        return tuple(name for name in turn.leaving if self.group(name).keeper == "shared")

    def group(self, name: str) -> Group:
        """The group of this name."""
        return next(group for group in self.groups if group.name == name)

    def update(self, name: str) -> Update:
        """The update of this name."""
        return next(update for update in self.updates if update.name == name)

    def update_of(self, group: str) -> Update:
        """The update that moves a group."""
        return next(update for update in self.updates if group in update.groups)

    def every(self, group: Group) -> int:
        """Steps between exchanges of a group in local mode."""
        return group.every or self.options.local_steps

    @cached_property
    def judged(self) -> Losses:
        """What validates, as losses: the same object always, so that it is compiled once."""
        validate = self.validate
        assert validate is not None

        def losses(networks: Any, batch: Mapping[str, Any], draws: Any) -> Mapping[str, Any]:
            return {VALIDATION: validate(networks, batch, draws)}

        return losses

    @cached_property
    def interval(self) -> int:
        """Steps between exchanges in local mode: of the group that is exchanged most often."""
        return min(map(self.every, self.groups))

    @cached_property
    def longest(self) -> int:
        """Steps between exchanges of the group that is exchanged least often."""
        return max(map(self.every, self.groups))

    @cached_property
    def _cycle(self) -> tuple[int, tuple[tuple[int, Update], ...]]:
        """After how many steps updates repeat, and the updates of these steps."""
        length = math.lcm(*(update.period for update in self.updates))
        steps = range(length)
        return length, tuple((s, u) for s in steps for u in self.updates if u.runs(s))

    def trained_of(self, samples: int) -> int:
        """Of so many samples, those that do not validate."""
        return max(1, round(samples * (1.0 - self.options.validation)))

    def per_epoch(self, samples: int) -> float:
        """Steps in which everybody is seen once, where samples come equally often."""
        return float(max(1, math.ceil(samples / (self.options.batch or samples))))

    def samples_a_step(self, samples: int) -> float:
        """Samples of all sites that a step takes on average, if every scanner has some."""
        if self.strata:
            return float(self.options.batch or samples)
        return samples / self.per_epoch(samples)

    def asked(self, samples: int) -> int:
        """Steps that the study asks for, of so many samples."""
        how = self.options
        if not how.epochs:
            return how.steps
        return min(how.steps, math.ceil(how.epochs * self.per_epoch(samples)))

    def steps(self, samples: int) -> int:
        """Steps of a training on so many samples, to the end of an exchange."""
        return self._whole(self.asked(samples))

    def _whole(self, steps: int) -> int:
        """As many steps, rounded up to where all groups are exchanged."""
        cycle, how = self._cycle[0], self.options
        if how.mode == "exact":
            return -(-steps // cycle) * cycle
        rounds = -(-max(1, steps - self.warm_up) // self.longest)
        return self.warm_up + rounds * self.longest

    @property
    def warm_up(self) -> int:
        """Steps of exact mode before local mode."""
        cycle = self._cycle[0]
        return -(-self.options.warm_up // cycle) * cycle

    def exchanges(self, steps: int) -> int:
        """Turns that `steps` steps take, without the last validation."""
        cycle, updates = self._cycle
        if self.options.mode == "exact":
            return steps // cycle * len(updates)
        return self.warm_up // cycle * len(updates) + (steps - self.warm_up) // self.interval

    def turn(self, number: int) -> Turn:
        """What is done in exchange `number`."""
        cycle, updates = self._cycle
        exact = self.warm_up // cycle * len(updates)
        if self.options.mode == "exact" or number < exact:
            times, which = divmod(number, len(updates))
            within, update = updates[which]
            step = times * cycle + within
            names = {group.name for group in self.leaving} & set(update.groups)
            first_of_step = which == 0 or updates[which - 1][0] != within
            return Turn(
                number=number,
                first=step,
                after=step + 1,
                update=update.name,
                leaving=tuple(sorted(names)),
                validates=first_of_step and self._validates(step, step + 1),
            )
        first = self.warm_up + (number - exact) * self.interval
        after = first + self.interval
        due = [g for g in self.leaving if self._exchanged(g, after)]
        return Turn(
            number=number,
            first=first,
            after=after,
            leaving=tuple(group.name for group in due),
            validates=self._validates(first, after),
        )

    def _exchanged(self, group: Group, after: int) -> bool:
        return (after - self.warm_up) % self.every(group) == 0

    def _validates(self, first: int, after: int) -> bool:
        how = self.options
        return bool(how.validation) and -first % how.validate_every < after - first

    def closing(self, steps: int) -> Turn:
        """The exchange after the last: the networks are judged, and nothing else."""
        return Turn(number=self.exchanges(steps), first=steps, after=steps, validates=True)

    @property
    def stateless(self) -> bool:
        """Whether sites keep nothing of it between exchanges, so that any can be done again.

        Of a private one the last can, and gives the same bytes: noise is drawn once.
        """
        how, groups = self.options, self.groups
        if any(group.keeper == "local" for group in groups):
            return False
        return how.mode == "exact" or (
            how.moments != "kept"
            and how.server != "scaffold"
            and all(self.every(group) == self.interval for group in groups)
        )

    @property
    def longest_training(self) -> int:
        """The most steps that consent is given to."""
        return self._whole(self.options.steps)

    def times(self, array: str) -> int:
        """The most exchanges in which `array` leaves."""
        steps, how = self.longest_training, self.options
        if array in (VALIDATION, VALIDATED):
            return min(self.exchanges(steps), -(-steps // how.validate_every)) + 1
        group = array.partition(".")[0]
        if group not in {one.name for one in self.leaving}:
            return self.exchanges(steps)
        update = self.update_of(group)
        if how.mode == "exact":
            return update.ran(steps)
        every = self.every(self.group(group))
        return update.ran(self.warm_up) + (steps - self.warm_up) // every

    def names(self, turn: Turn) -> tuple[tuple[str, str], ...]:
        """(update, loss) of everything that `turn` makes a sum of."""
        updates = (self.update(turn.update),) if turn.exact else self.updates
        return tuple((u.name, name) for u in updates for name in sorted(u.weights))

    def arrays(self, turn: Turn) -> tuple[ArraySpec, ...]:
        """What leaves each site in a turn."""
        found = [spec for name in turn.leaving for spec in self._of_group(name, exact=turn.exact)]
        if turn.after > turn.first and self.private is None:
            terms, updates = len(self.names(turn)), 1 if turn.exact else len(self.updates)
            found += [
                ArraySpec(
                    name=LOSSES, shape=(terms,), meaning="sum of every loss over the samples"
                ),
                ArraySpec(
                    name=SAMPLES,
                    shape=(updates,),
                    dtype="int64",
                    least=0,
                    meaning="samples of every update",
                ),
            ]
            if not turn.exact:
                found.append(replace(OF_WEIGHT, shape=(len(turn.leaving),)))
                if self.options.extrapolate:
                    found.append(replace(OF_SQUARES, shape=(len(self.averaged(turn)),)))
        if turn.validates:
            found += OF_VALIDATION
        return tuple(found)

    def _of_group(self, name: str, *, exact: bool) -> list[ArraySpec]:
        group, how = self.group(name), self.options
        shape = ("batches", group.size) if group.keeper == "owned" else (group.size,)
        dtype: str = "float64" if self.masked else how.transfer
        dtype = "uint16" if dtype == "bfloat16" else dtype
        what = "gradient, summed over samples" if exact else _changed(group)
        if not exact and self.warm_up:
            what = f"gradients, summed over samples, of {self.warm_up} single steps; then {what}"
        if self.private is not None:
            what = "gradient, clipped by person and summed over people drawn in secret, with noise"
        specs = [ArraySpec(name=name, shape=shape, dtype=dtype, meaning=f"{name}: {what}")]
        if not exact and how.moments == "averaged":
            specs += [
                replace(
                    specs[0], name=f"{name}.{moment}", meaning=f"{name}: the optimizer's {moment}"
                )
                for moment in self.update_of(name).moments
            ]
        if not exact and self.controls(group):
            control = f"{name}: weighted mean gradient of the steps between exchanges, by samples"
            specs.append(replace(specs[0], name=f"{name}.{CONTROL}", meaning=control))
        return specs

    @property
    def releases(self) -> tuple[ArraySpec, ...]:
        """Everything that leaves each site in one turn or another."""
        found: dict[str, ArraySpec] = {}
        if self.options.mode == "local":
            # All groups at once: no exchange sends more.
            names = tuple(group.name for group in self.leaving)
            turns = [Turn(number=0, first=0, after=1, leaving=names)]
        else:
            turns = [self.turn(number) for number in range(len(self._cycle[1]))]
        for turn in turns:
            for spec in self.arrays(replace(turn, validates=bool(self.options.validation))):
                known = found.get(spec.name)
                if known is None or spec.shape > known.shape:
                    found[spec.name] = spec
        return tuple(found.values())


def _changed(group: Group) -> str:
    """What leaves of a group in local mode, for the hospital that reads its plan."""
    if group.keeper != "owned":
        return "change of the parameters, by samples"
    return f"change of the parameters of {'every batch' if group.summed else 'own batches'}"


__all__ = [
    "CONTROL",
    "EMA",
    "LOSSES",
    "MOMENTS",
    "SAMPLES",
    "SQUARES",
    "UNFINISHED",
    "VALIDATED",
    "VALIDATION",
    "WEIGHT",
    "Group",
    "Keeper",
    "Losses",
    "Train",
    "Turn",
    "Update",
]
