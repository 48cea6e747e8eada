"""What a judgement has to say beside its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from motet.errors import listed
from motet.evaluation.battery.batch_effect import Judged
from motet.evaluation.battery.sample import Sample
from motet.evaluation.battery.splits import Splits


def collapsed(values: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Features that have one value for everybody, though they differed before.

    Parameters
    ----------
    values : mapping of str to (n, p) float64
        Version -> features that vary in raw values.
    """
    after = values.get("harmonized")
    if after is None or not len(after):
        return []
    same = np.ptp(after, axis=0) <= 1e-12 * np.abs(after).max(axis=0)
    if not same.any():
        return []
    return [
        f"{same.sum()} of {same.size} features have one value for everybody after harmonization: "
        "no probe and no test can find anything in these, and that is no success."
    ]


def left_out(sample: Sample, splits: Splits, groups: Sequence[Judged]) -> list[str]:
    """Batches that people do not suffice for, and who else is judged otherwise than expected."""
    notes = []
    few = [sample.batches[k] for k in np.flatnonzero(~splits.probed)]
    if few:
        notes.append(
            f"Too few people for a site probe (two who train and one who is read): {listed(few)}."
        )
    if splits.probed.sum() < 2:
        notes.append("Site probes need two batches with enough people: they were left out.")
    if not groups:
        notes.append("Tests of features were left out: too few people, or only one batch.")
    rows = np.concatenate(list(splits.judged))
    absent = sorted(set(range(len(sample.batches))) - set(sample.batch[rows].tolist()))
    if absent and groups:
        names = [sample.batches[k] for k in absent]
        notes.append(f"Nobody of these batches is judged, feature by feature: {listed(names)}.")
    if sample.unseen.any():
        sites = sorted({sample.batches[k] for k in sample.batch[sample.unseen].tolist()})
        notes.append(
            f"The effects of {listed(sites)}, which joined later, were estimated on their people "
            "without regard to who is held out elsewhere: expect them a little closer to the "
            "others than new people will be."
        )
    if splits.people != "held out":
        notes.append(
            "Nobody was held out: all values but the raw ones were fitted on the very people they "
            "are judged on, and look better than they are. Ask for 'evaluation: {held_out: 0.2}'."
        )
    return notes
