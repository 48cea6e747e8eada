"""A made-up consortium on disk, and the command line as a user runs it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import yaml

from motet.cli import main

SITES = ("ash", "birch", "cedar")
FEATURES = ("lh_cuneus", "lh_insula", "rh_cuneus", "rh_insula")


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str


def motet(*words: object) -> Ran:
    """Run ``motet WORDS`` in this process, with everything that the real entry point does."""
    if words[:1] == ("simulate",) and "--reports" not in words:
        words = (*words, "--reports", "later")  # pages take seconds; their own tests ask for them
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        mock.patch.object(sys, "argv", ["motet", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return Ran(code=int(code or 0), out=out.getvalue(), err=err.getvalue())


def succeeded(*words: object) -> str:
    """Run a command that has to work; what it printed."""
    ran = motet(*words)
    assert ran.code == 0, ran.err
    assert ran.err == ""
    return ran.out


def refused(ran: Ran, *named: str) -> str:
    """Assert that a command was refused in one line that names all of `named`; the line."""
    assert ran.code == 2, f"exit code {ran.code}: {ran.out}{ran.err}"
    assert "Traceback" not in ran.err + ran.out
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1, f"more than a line: {ran.err}"
    for word in named:
        assert word in ran.err, f"does not name '{word}': {ran.err}"
    # A sentence of ours, not the text of somebody's exception.
    assert not re.search(r"\b(KeyError|ValueError|TypeError|IndexError|nan\b)", ran.err), ran.err
    return ran.err


def applied(folder: Path, site: str = "dune", model: str = "out", *more: object) -> Ran:
    """Apply the model of a finished study to a site's folder, into ``new/``."""
    data = folder / site if site == "dune" else folder / "data" / site
    return motet("apply", data, folder / "new", "participant", "--model", folder / model, *more)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too: relative path -> content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def people_of(
    site: str, n: int, *, scanners: Sequence[str] = (), seed: int = 0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Participants and (n, 4) values: age and sex effects, and a shift and scale of each scanner.

    The anatomy is the same for every seed; the people differ.
    """
    rng = np.random.default_rng([seed, *site.encode()])
    names = list(scanners) or [site]
    scanner = np.array(names)[np.arange(n) % len(names)]
    age, male = rng.uniform(20, 80, n).round(1), rng.integers(0, 2, n)
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{site}{i + 1:02d}" for i in range(n)],
            "age": age,
            "sex": np.where(male == 1, "M", "F"),
        }
    )
    if scanners:
        people["scanner"] = scanner
    values = np.array([2.0, 2.5, 3.0, 3.5]) + rng.normal(0, 0.1, (n, len(FEATURES)))
    values += np.outer(age - 50, [-0.004, -0.002, -0.005, -0.003]) + 0.03 * male[:, None]
    for name in names:
        effect = np.random.default_rng([7, *f"{site}/{name}".encode()])
        shift, scale = effect.normal(0, 0.3, 4), effect.uniform(0.7, 1.4, 4)
        values[scanner == name] = (values * scale + shift)[scanner == name]
    return people, values


def write_site(
    folder: Path,
    people: pd.DataFrame,
    values: np.ndarray,
    *,
    form: str = "tsv",
    features: Sequence[str] = FEATURES,
) -> Path:
    """Write a site's folder, the measures as tsv or npy."""
    folder.mkdir(parents=True, exist_ok=True)
    people.to_csv(folder / "participants.tsv", sep="\t", index=False, na_rep="n/a")
    if form == "npy":
        np.save(folder / "features.npy", np.ascontiguousarray(values))
        names = {"features": list(features), "units": dict.fromkeys(features, "mm")}
        (folder / "features.json").write_text(json.dumps(names))
        return folder
    units = {feature: {"Units": "mm"} for feature in features}
    (folder / "features.json").write_text(json.dumps(units))
    frame = pd.DataFrame(values, columns=list(features))
    frame.insert(0, "participant_id", people["participant_id"])
    frame.to_csv(folder / "features.tsv", sep="\t", index=False, na_rep="n/a")
    return folder


def write_study(path: Path, sites: Mapping[str, str], **changes: Any) -> Path:
    """Write a study file: age and sex kept, everything else as in `changes`.

    Nothing is judged but what `changes` asks for: tests that look at no metrics are fast.
    """
    if isinstance(asked := changes.get("evaluation", {}), dict):
        changes["evaluation"] = {"metrics": "none", **asked}
    study = {
        "study": "made-up",
        "method": "combat",
        "params": {"covariates": ["age", "sex"]},
        "sites": dict(sites),
        "seed": 1,
    }
    path.write_text(yaml.safe_dump({**study, **changes}, sort_keys=False))
    return path


def consortium(
    folder: Path,
    *,
    sites: Sequence[str] = SITES,
    n: int = 16,
    form: str = "tsv",
    scanners: Mapping[str, Sequence[str]] | None = None,
    **changes: Any,
) -> Path:
    """Write the sites' folders under ``data/`` and a study file; its path."""
    for site in sites:
        people, values = people_of(site, n, scanners=(scanners or {}).get(site, ()))
        write_site(folder / "data" / site, people, values, form=form)
    return write_study(folder / "study.yaml", {s: f"data/{s}" for s in sites}, **changes)


def read_values(folder: Path) -> pd.DataFrame:
    """features.tsv or features.npy of a folder; the index holds the people."""
    if (folder / "features.npy").exists():
        people = pd.read_csv(folder / "participants.tsv", sep="\t")["participant_id"]
        names = json.loads((folder / "features.json").read_text())["features"]
        return pd.DataFrame(np.load(folder / "features.npy"), index=people, columns=names)
    return pd.read_csv(folder / "features.tsv", sep="\t", index_col="participant_id")


def pooled_table(path: Path) -> pd.DataFrame:
    parts = []
    for site in (*SITES, "dune"):
        people, values = people_of(site, 20)
        frame = people.assign(hospital=site, **dict(zip(FEATURES, values.T, strict=True)))
        parts.append(frame)
    table = pd.concat(parts)
    table.to_csv(path, index=False)
    return table
