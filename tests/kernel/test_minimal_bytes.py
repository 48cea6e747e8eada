"""A ComBat fit costs one message a site, and its size is that of the sums: measured on the wire."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pandas as pd
import pytest
from flwr.app import Message
from flwr.common.serde import message_to_proto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from conformance.cases import Case, case
from conformance.federation import Federation

ENVELOPE = 2048
"""Bytes for envelope, names and metadata, whatever p and q are."""


def study(p: int, q: int, n: int) -> Case:
    """A complete table with q continuous covariates at two sites of n people."""
    rng = np.random.default_rng(0)
    made = case(n=(n, n), p=p, covariates=())
    frame = pd.DataFrame({f"w{i}": rng.standard_normal(2 * n) for i in range(q)})
    return Case(values=made.values, batch=made.batch, covariates=frame, features=made.features)


def sum_messages(of: Case) -> list[Message]:
    federation = Federation(of)
    federation.run()
    assert federation.asked("train.phase") in (
        [("site-b0", "moments"), ("site-b1", "moments")],
        [("site-b1", "moments"), ("site-b0", "moments")],
    )
    for action in ("query.hello", "query.agree", "query.prepare", "query.finish", "query.close"):
        assert len(federation.asked(action)) == 2, action
    assert len(federation.sent) == 12
    return [sent.reply for sent in federation.sent if sent.action == "train.phase"]


def on_the_wire(message: Message) -> int:
    return len(message_to_proto(message).SerializeToString())


def deflated(message: Message) -> int:
    """Bytes of all objects that a SuperNode pushes for a message."""
    return sum(len(part.deflate()) for part in get_all_nested_objects(message).values())


SIZES = [(68, 3), (1000, 3), (1000, 10), (5, 1)]


@pytest.mark.parametrize(("p", "q"), SIZES)
def test_sum_message_is_as_small_as_the_sums(p: int, q: int) -> None:
    """Catches a second round, per-batch rows, float copies of flags, text in the place of bytes."""
    bound = 8 * p * (q + 3) + 8 * q**2 + ENVELOPE
    sizes = {n: [on_the_wire(m) for m in sum_messages(study(p, q, n))] for n in (20, 200)}
    assert max(sizes[20] + sizes[200]) <= bound
    # Times of creation are floats in the metadata; their text does not change a length.
    assert len(set(sizes[20] + sizes[200])) == 1


@pytest.mark.parametrize(("p", "q"), SIZES)
def test_deflated_message_is_as_small_too(p: int, q: int) -> None:
    """Catches overhead of Flower's object form, in which messages really travel."""
    bound = 8 * p * (q + 3) + 8 * q**2 + ENVELOPE
    for message in sum_messages(study(p, q, 20)):
        assert deflated(message) <= bound


def test_a_round_in_process_takes_about_a_millisecond() -> None:
    """Catches polling with a pause, or a thread pool made anew each round."""
    made = study(5, 1, 20)
    times = []
    for _ in range(7):
        federation = Federation(made)
        start = time.perf_counter()
        federation.run()
        times.append((time.perf_counter() - start) / 6)
    assert statistics.median(times) < 0.020
