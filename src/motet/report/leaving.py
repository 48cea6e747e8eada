"""What left each hospital, array by array, as the coordinator received it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet.report.read import StudyFiles
from motet.report.words import shape, size

CLASSES = {
    "schema": "Names and types: features, units, covariates with their levels, batches; where sums "
    "are masked, to a factor of 4, the number of rows and the largest value of every feature and "
    "covariate. No other value, and no other count.",
    "sum": "Sums over a hospital's people: counts, totals, products. Only the total over hospitals "
    "is used and only what is concluded from it is shared; the coordinator receives each "
    "hospital's own part and does not pass it on.",
    "masked": "Sums over a hospital's people behind masks that come off together only: the "
    "coordinator received numbers that say nothing of one hospital, and read what they come to "
    "over all of them. What is of one scanner alone is its hospital's all the same.",
    "update": "Of a training: gradients of networks, summed over a hospital's people, or what its "
    "own steps changed in the networks. Weaker than a sum: such numbers can reflect single people.",
    "published": "A hospital's own estimates, sent on as they are, such as those of a scanner that "
    "the others are brought to.",
    "sealed": "A hospital's own estimates, sealed for one other hospital, which alone can read "
    "them: the coordinator passed on what it could not read.",
    "personal": "One traveler's own anatomy or quantiles. It leaves with that person's recorded "
    "consent only.",
}
"""Classes of releases in a sentence each, weakest promise last but for what is sealed."""

TRAINED = (
    " Those of a training are gradients or changes of networks: what they come to is read after "
    "every exchange, and the networks made of it go to every hospital."
)
"""What masked updates add to what is said of masked sums."""

PROBE = (
    " One conclusion tells more than a total: the weights of the site probe (evaluation_probes) go "
    "to every hospital. With few features each can compute from them the other scanners' mean "
    "values of the standardized features; with more, nearly, from the spread of its own people."
)
"""What a judgement from sums adds to what is said of sums."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One array as the sites sent it; shapes that differ between sites are rows of their own."""

    phase: str
    leaves: str
    array: str
    meaning: str
    shape: str
    dtype: str
    bytes: str
    times: int
    sites: str


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """The whole account."""

    classes: tuple[tuple[str, str], ...]
    arrays: tuple[Sent, ...]
    header: tuple[str, ...]
    by_site: tuple[tuple[str, tuple[str, ...], str], ...]
    total: str
    most: str
    fit: str
    evaluation: str
    readers: tuple[tuple[str, str], ...]


def leaving(study: StudyFiles) -> Leaving:
    """Account of what left; empty where the run kept no record."""
    received = received_of(study)
    present = [c for c in CLASSES if any(str(r["class"]) == c for r in received)]
    added = {
        c: PROBE
        for c in ("sum", "masked")
        if any(_last(r) == "evaluation_probes" for r in received)
    }
    if any(_last(r) in study.plan.get("trained", {}) for r in received):
        added["masked"] = TRAINED + added.get("masked", "")
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in received:
        sums[str(entry["site"])][str(entry["class"])] += _bytes(entry)
    whole = {site: sum(of_site.values()) for site, of_site in sums.items()}
    parts = _parts(received, {str(step["name"]) for step in study.plan.get("evaluation", ())})
    return Leaving(
        classes=tuple((c, CLASSES[c] + added.get(c, "")) for c in present),
        arrays=_arrays(received, study.plan),
        header=tuple(present),
        by_site=tuple(
            (site, tuple(size(sums[site][c]) if sums[site][c] else "–" for c in present), size(n))
            for site, n in sorted(whole.items())
        ),
        total=size(sum(whole.values())),
        most=size(max(whole.values(), default=0)),
        fit=size(max(parts["fit"].values(), default=0)),
        evaluation=size(max(parts["evaluation"].values())) if parts["evaluation"] else "",
        readers=tuple(study.plan.get("readers", {}).items()) if received else (),
    )


def received_of(study: StudyFiles) -> list[Mapping[str, Any]]:
    """What the coordinator received, array by array; what a plan seals has a class of its own."""
    steps = _steps(study.plan.get("steps", ()))
    sealed = {str(step["name"]) for step in steps if step.get("sealed")}
    return [
        {**e, "class": "sealed"} if e["class"] == "published" and _last(e) in sealed else e
        for e in study.run.get("received", ())
    ]


def kinds(study: StudyFiles) -> frozenset[str]:
    """Classes of what left; changes of networks are ``update``, behind masks too."""
    trained = study.plan.get("trained", {})
    return frozenset(
        "update" if e["class"] == "masked" and _last(e) in trained else str(e["class"])
        for e in received_of(study)
    )


def read_by_holders(study: StudyFiles) -> bool:
    """Whether sums of single travelers left that only the hospitals that scanned them read."""
    steps = _steps(study.plan.get("steps", ()))
    hidden = {str(step["name"]) for step in steps if step.get("read_by") == "holders"}
    return any(_last(entry) in hidden for entry in study.run.get("received", ()))


def _bytes(entry: Mapping[str, Any]) -> int:
    return int(entry["bytes"]) * int(entry.get("times", 1))


def _parts(
    received: list[Mapping[str, Any]], judging: set[str]
) -> dict[str, defaultdict[str, int]]:
    """Bytes by site of what the harmonization needed, and of what the evaluation did."""
    parts: dict[str, defaultdict[str, int]] = {
        "fit": defaultdict(int),
        "evaluation": defaultdict(int),
    }
    for entry in received:
        name = "evaluation" if _last(entry) in judging else "fit"
        parts[name][str(entry["site"])] += _bytes(entry)
    return parts


def _arrays(received: list[Mapping[str, Any]], plan: Mapping[str, Any]) -> tuple[Sent, ...]:
    """Arrays in the plan's order, each once, with the sites that sent it."""
    groups: dict[tuple[Any, ...], dict[str, int]] = {}
    known = {"schema": 0} | {phase: k + 1 for k, phase in enumerate(_phases(plan))}
    for entry in sorted(received, key=lambda e: known.get(_last(e), len(known))):
        key = (
            str(entry["phase"]),
            str(entry["class"]),
            str(entry["array"]),
            tuple(entry.get("shape") or ()),
            str(entry.get("dtype") or "text"),
            int(entry.get("times", 1)),
        )
        groups.setdefault(key, {})[str(entry["site"])] = int(entry["bytes"])
    meanings = _meanings(plan)
    everybody = {str(entry["site"]) for entry in received}
    return tuple(
        Sent(
            phase=phase,
            leaves=leaves,
            array=array,
            meaning=meanings.get(f"{phase.split('/')[-1]}/{array}")
            # An array of one traveler is called <key>/<array>.
            or meanings.get(f"{phase.split('/')[-1]}/{array.partition('/')[2]}", ""),
            shape="text" if leaves == "schema" else shape(dims),
            dtype=dtype,
            bytes=_range(list(by_site.values())),
            times=times,
            sites="all" if set(by_site) == everybody else _named(set(by_site)),
        )
        for (phase, leaves, array, dims, dtype, times), by_site in groups.items()
    )


def _range(counts: list[int]) -> str:
    low, high = size(min(counts)), size(max(counts))
    return low if low == high else f"{low} to {high}"


def _named(sites: set[str]) -> str:
    return ", ".join(sorted(sites)) if len(sites) <= 3 else f"{len(sites)} hospitals"


def _last(entry: Mapping[str, Any]) -> str:
    """The phase's own name, without the turns that a path such as ``refine[2]/gram`` has."""
    return str(entry["phase"]).split("/")[-1]


def _steps(steps: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for step in steps:
        yield step
        yield from _steps(step.get("steps", ()))


def _phases(plan: Mapping[str, Any]) -> list[str]:
    """Names of the plan's phases, in order, those of the evaluation last."""
    steps = [*plan.get("steps", ()), *plan.get("evaluation", ())]
    return [str(step["name"]) for step in _steps(steps)]


def _meanings(plan: Mapping[str, Any]) -> dict[str, str]:
    """``phase/array`` -> what its entries are, as the plan declares it."""
    steps = _steps([*plan.get("steps", ()), *plan.get("evaluation", ())])
    declared = {str(step["name"]): step.get("arrays", ()) for step in steps}
    # A training's arrays follow from its groups: the steps of a plan do not list them.
    return {
        f"{name}/{spec['name']}": str(spec.get("meaning", ""))
        for name, specs in {**declared, **plan.get("trained", {})}.items()
        for spec in specs
    }
