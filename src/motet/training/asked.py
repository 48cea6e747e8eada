"""Trainings as a study asks for them: sums that are masked, and noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from motet.config import Study
from motet.phases import Step
from motet.training.phase import Train
from motet.training.privacy import Private, check_private


def as_asked(steps: Sequence[Step], study: Study, *, secure: bool) -> Iterator[Step]:
    """The steps of a method, its trainings as they run where sums are masked, and with noise.

    Raises
    ------
    StudyFileError
        When noise is asked for and the method cannot be trained with it.
    """
    dp = study.privacy.dp
    private = None if dp is None else Private(epsilon=dp.epsilon, delta=dp.delta, clip=dp.clip)
    trainings = [step for step in steps if isinstance(step, Train)]
    if private is not None:
        check_private(study.method, trainings)
    for step in steps:
        made = step
        if isinstance(step, Train) and secure:
            made = replace(step, masked=True)
        if isinstance(made, Train) and private is not None:
            made = replace(made, private=private)
        elif isinstance(made, Train) and made.dp is not None:
            made = replace(made, dp=None)
        yield made
