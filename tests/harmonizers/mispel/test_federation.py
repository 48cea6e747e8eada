"""What leaves, who can read it, how much it is, and what it comes to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from conformance.brains import run, study_of, write_brains
from conformance.travelers import (
    SCANNERS,
    SITES,
    TRAVELERS,
    at_hub,
    images_of,
    in_pairs,
    local_sites,
    own,
    params_of,
    refreshed,
    schema_of,
)
from motet.flower.inprocess import InProcessGrid
from motet.flower.records import Body, decode
from motet.harmonizers.mispel.consensus import Consensus
from motet.harmonizers.mispel.losses import Together
from motet.harmonizers.mispel.params import MispelParams
from motet.harmonizers.mispel.training import Training
from motet.images.images import Images
from motet.releases import Leaves
from motet.report import write_study_report
from motet.report.training import own_losses
from motet.simulation import simulate
from motet.store import canonical_json
from motet.training.feed import Feed
from motet.training.log import LOG, losses, read_log

HUB = {"mode": "hub", "hub": "hub"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("brains")
    return write_brains(made, batches=dict.fromkeys(SCANNERS, 1), travelers=TRAVELERS)


@pytest.fixture(scope="module")
def images(folder: Path) -> Images:
    return images_of(folder)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Body, Body]]:
    """Every message of a run: its kind, the request, the reply."""
    found: list[tuple[str, Body, Body]] = []
    answered = InProcessGrid._call

    def listening(self: InProcessGrid, message: Any) -> Any:
        _, asked = decode(message.content)
        reply = answered(self, message)
        if reply.has_content():
            found.append((message.metadata.message_type, asked, decode(reply.content)[1]))
        return reply

    monkeypatch.setattr(InProcessGrid, "_call", listening)
    return found


def test_the_coordinator_stores_noise_and_holders_agree(
    images: Images, seen: list[tuple[str, Body, Body]]
) -> None:
    """Catches anatomy that the coordinator could read, in a part, in a sum or in the shared model;
    and a consensus that differs between those who scanned the person."""
    result, _ = run(study_of("mispel", SITES), own(images))
    assert not result.shared
    sent = [a for kind, _, body in seen if kind == "train.phase" for a in body.arrays.values()]
    every = np.concatenate([a.reshape(-1).view(np.uint8) for a in sent])
    assert stats.chisquare(np.bincount(every, minlength=256)).pvalue > 0.01
    models = [result.models[site].arrays for site in SCANNERS]
    for name in ("consensus/T1", "consensus/T2", "values/T1"):
        assert len({model[name].tobytes() for model in models}) == 1


def test_the_plan_says_whose_anatomy_goes_where(images: Images) -> None:
    """Catches a consent that does not name anatomy, or not those who read it."""
    result, _ = run(study_of("mispel", SITES), own(images))
    personal = [r for r in result.plan.releases() if r.leaves is Leaves.PERSONAL]
    assert {r.phase for r in personal} == {"consensus", "values", "signs"}
    assert all(r.spec.support == "person" and r.who == "holders traveler" for r in personal)
    said = "exchanged among the sites that scanned this person"
    assert all(said in r.spec.meaning for r in personal)
    (consensus,) = [r for r in personal if r.phase == "consensus"]
    assert "anatomy of this person" in consensus.spec.meaning
    for phase in result.plan.phases:
        if phase.name in ("consensus", "values", "signs"):
            assert "coordinator and other sites read nothing" in result.plan.readers(phase)


def test_the_plan_says_that_all_pixels_leave_in_the_end(images: Images) -> None:
    """Catches a consent to 1 pixel in 4 where others leave in every exchange, until all have."""
    options = {"stride": 2, "embedding_epochs": 4, "harmonization_epochs": 3}
    params, schema = params_of(**SITES, **options), schema_of(local_sites(own(images)))
    of = Consensus(params, schema)
    (consensus,), (values,), (signs,) = (
        phase.arrays for phase in (of.embeddings(), of.values(), of.signs())
    )
    assert "(1 of 4 pixels in each of 4 exchanges, all of them in the end)" in consensus.meaning
    for spec in (values, signs):
        assert "(1 of 4 pixels in each of 3 exchanges, 3 of 4 in the end)" in spec.meaning


def test_a_hub_sends_each_site_its_own_unit_and_no_other(
    images: Images, seen: list[tuple[str, Body, Body]]
) -> None:
    """Catches a unit that reaches another site or the coordinator, and a hub's anatomy."""
    result, _ = run(study_of("mispel", HUB), at_hub(images))
    at_the_hub = result.models["hub"].arrays
    for site in SCANNERS:
        own_unit = result.models[site].arrays
        assert set(own_unit) == {f"unit.{site}"}
        assert np.array_equal(own_unit[f"unit.{site}"], at_the_hub[f"unit.{site}"])
    sent = {n: a for kind, _, body in seen if kind == "train.phase" for n, a in body.arrays.items()}
    assert set(sent) == {f"unit.{site}" for site in SCANNERS}
    size = params_of(**HUB).sizes.unit
    assert all(array.shape == (8 * size + 16,) for array in sent.values())


def test_pairs_send_units_too(images: Images) -> None:
    result, volumes = run(study_of("mispel", {"mode": "pairs", "hub": "ref"}), in_pairs(images))
    for site in ("b1", "b2"):
        assert set(result.models[site].arrays) == {f"unit.{site}"}
    assert all(np.isfinite(volume).all() for volume in volumes.values())


def test_a_consensus_moves_a_fiftieth_of_an_exchange_a_step(
    images: Images, seen: list[tuple[str, Body, Body]]
) -> None:
    """Catches an exchange that is more than was said: all arrays, both ways, beside those
    of embeddings (float32) that every step sends and gets; with the refresh, stride and shares of
    epochs of `small`. What is said beside arrays does not grow with images."""
    small = MispelParams()
    first, then = small.embedding_epochs // 2, small.harmonization_epochs // 2
    options = {**SITES, "stride": small.stride, "sent": small.sent, "refresh": small.refresh}
    options |= {"embedding_epochs": first, "harmonization_epochs": then}
    result, _ = run(study_of("mispel", options), own(images))
    kinds = ("train.phase", "query.conclude")
    parts = [part for kind, *both in seen if kind in kinds for part in both]
    moved = sum(array.nbytes for part in parts for array in part.arrays.values())
    assert max(len(canonical_json(part.document).encode()) for part in parts) < 2000
    params = result.plan.params
    rows, columns, slices = 20, 20, 15
    pixels = len(SCANNERS) * len(TRAVELERS) * slices * rows * columns
    # Step 1: embeddings up, their mean down; step 2: images up, their mean down.
    each_step = 2 * 4 * pixels * (first * params.sizes.maps + then)
    assert moved <= each_step / 50


def objective(training: Training, vectors: dict[str, np.ndarray], hub: Any, stage: Any) -> float:
    """The true loss of some units over all travelers, and all pixels."""
    hub.keep.update(vectors)
    bench = training.bench(hub)
    samples = training.samples(bench, {}, stage, seed=hub.seed, turn=0)
    nets = bench.networks
    feed = Feed(samples, samples.keys(0), dtype=nets.dtype, device=nets.device)
    (portion,) = feed.due(np.arange(len(samples)), 0).portions()
    losses = getattr(Together(), stage)(nets.module, portion.seen, portion.draws)
    weights = training.weights(stage)
    return sum(weights[name] * float(loss.detach().mean()) for name, loss in losses.items())


def test_step_two_by_its_surrogate_comes_as_far(images: Images) -> None:
    """Catches a surrogate that leads elsewhere: the loss itself, reached by the sites with two sums
    a turn, beside the loss that a hub reaches from the same encoders. With a stride: a grid that
    stays (0.7 % above a hub's), and pixels that are compared with the mean of others (8 %)."""
    changes = {"embedding_epochs": 20, "harmonization_epochs": 20, "refresh": 2}
    changes |= {"learning_rate": 0.02, "slices": [4, 10]}
    params = params_of(**HUB, **changes)
    hub_sites = local_sites(at_hub(images))
    hub, training = hub_sites["hub"], Training(params, schema_of(hub_sites))
    for _ in range(training.turns("embedding")):
        training.embed(hub, {})
    encoders = {name: np.array(a) for name, a in hub.keep.items() if name.startswith("unit.")}
    before = objective(training, encoders, hub, "harmonization")
    for _ in range(training.turns("harmonization")):
        training.harmonize(hub, {})
    units = {name: np.array(a) for name, a in hub.keep.items() if name.startswith("unit.")}
    by_hub = objective(training, units, hub, "harmonization")

    assert by_hub < before * 0.99
    for stride in (1, 4):
        each, asked = local_sites(own(images)), params_of(**SITES, **changes, stride=stride)
        apart = Training(asked, schema_of(each))
        for name, site in each.items():
            site.keep[f"unit.{name}"] = encoders[f"unit.{name}"]
        for _ in range(apart.turns("harmonization")):
            refreshed(each, asked, "values", "signs")
            for site in each.values():
                apart.harmonize(site, {})
        units = {f"unit.{name}": np.array(site.keep[f"unit.{name}"]) for name, site in each.items()}
        by_sites = objective(training, units, hub, "harmonization")
        assert by_sites <= 1.005 * by_hub, stride


def test_a_turn_goes_on_from_what_was_kept(images: Images) -> None:
    """Catches a process that is started anew between turns and comes to another unit: moments of
    the optimizer, steps or slices that were in memory alone."""
    params = params_of(**HUB, embedding_epochs=3, harmonization_epochs=2)
    found = []
    for forgets in (False, True):
        sites = local_sites(at_hub(images))
        hub, training = sites["hub"], Training(params, schema_of(sites))
        for turn in (*[training.embed] * 3, *[training.harmonize] * 2):
            turn(hub, {})
            if forgets:
                hub.scratch.clear()
        found.append({name: np.asarray(a).tobytes() for name, a in hub.keep.items()})
    assert found[0] == found[1]


@pytest.mark.parametrize("mode", ["sites", "hub"])
def test_a_simulation_is_judged_with_its_controls(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a pooled or a local-only control that fails since a hub, or a consensus, is elsewhere
    then: the whole command with all metrics, and what it writes."""
    pytest.importorskip("sklearn")
    monkeypatch.setattr("motet.evaluation.battery.probes.TREES", 10)
    monkeypatch.setattr("motet.evaluation.battery.batch_effect.NOISE", 200)
    options = SITES if mode == "sites" else HUB
    study = study_of("mispel", {**options, "slices": [6, 8], "embedding_epochs": 1})
    homes = {}
    for k, site in enumerate(SCANNERS):
        homes[site] = write_brains(
            tmp_path / site,
            batches={site: 5},
            seed=k,
            travelers=TRAVELERS if mode == "sites" else ("L1",),
        )
    if mode == "hub":
        homes["hub"] = write_brains(
            tmp_path / "hub", batches=dict.fromkeys(SCANNERS, 0), travelers=("T1", "T2", "T3")
        )
    evaluation = study.evaluation.model_copy(update={"metrics": "full", "permutations": 20})
    result = simulate(
        study.model_copy(update={"sites": homes, "evaluation": evaluation}),
        out=tmp_path / "out",
        reports="later",
    )
    assert set(result.judgements) == {"sums", "simulation"}
    made = sorted((tmp_path / "out/sites/b1/harmonized").rglob("*_desc-mispel_T1w.nii.gz"))
    assert len(made) == (7 if mode == "sites" else 6)
    page = write_study_report(tmp_path / "out", site_pages="left out").read_text()
    words = re.sub(r"\s+", " ", page.replace("\u00a0", " "))
    assert f"{'3 hospitals' if mode == 'sites' else '4 hospitals'} with 3 scanners" in words
    assert ("scans on the scanner of b1" in words) == (mode == "hub")
    assert ("in the fit by its scans at hub" in words) == (mode == "hub")
    assert "no gradient was exchanged (preset tiny, batches of 4, float64 arithmetic)" in words
    assert "PyTorch" in words
    assert "preset tiny, which is for tests" in words


@pytest.mark.parametrize(("mode", "trains"), [("sites", SCANNERS), ("hub", ("hub",))])
def test_who_trains_units_sees_whether_they_converge(
    mode: str, trains: tuple[str, ...], images: Images, tmp_path: Path
) -> None:
    """Catches losses that nobody sees, a site's that its coordinator sees, and steps that are not
    those of the schedule."""
    epochs = {"embedding_epochs": 5, "harmonization_epochs": 2, "refresh": 2, "slices": [6, 8]}
    study = study_of("mispel", {**(SITES if mode == "sites" else HUB), **epochs})
    tables = own(images) if mode == "sites" else at_hub(images)
    told: list[Any] = []
    result, _ = run(study, tables, folder_of=lambda site: tmp_path / site, log=told.extend)
    assert not told
    assert sorted(path.parent.name for path in tmp_path.glob(f"*/{LOG}")) == sorted(trains)
    rows = read_log(tmp_path / trains[0] / LOG)
    assert [row["phase"] for row in rows] == ["embedding"] * 3 + ["harmonization"]
    assert [row["step"] / row["steps"] for row in rows] == [0.4, 0.8, 1.0, 1.0]
    kept = result.models[trains[0]].arrays
    assert [row["embedding.coupling"] for row in rows[:3]] == kept["losses.embedding"][
        :, 0
    ].tolist()
    assert set(losses(rows[3])) == {"harmonization.harmonization", "harmonization.reconstruction"}
    assert (tmp_path / trains[0] / LOG).stat().st_mode & 0o077 == 0
    figures = own_losses(tmp_path / trains[0], trains[0])
    assert len(figures) == 2
    assert "Losses of embedding" in figures[0]
