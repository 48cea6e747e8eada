"""What of a training's time is outside of forward and backward passes, where networks see images.

    python benchmarks/training_shares.py [--methods calamiti,murd] [--mode local|exact] [--steps 60]

Preset ``small`` on a made-up consortium of three sites (``motet phantom``, T1w and T2w at 2 mm),
all in one process: sites' steps, exchanges between them, and the coordinator's part, which is no
site's time in a federation. Shares are of the wall's clock (``accounts.py``), one thread; ``once``
is what a site does once in a training. Exits with 1 where more than 0.05 is outside of both passes.
Of a method with several trainings it is the first. DeepComBat's networks, whose passes are over in
a hundredth of the time, have ``training_overhead.py``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from accounts import Accounts
from calamiti_slabs import motet
from training_loops import ENGINE

from motet.client.local_site import LocalSite
from motet.config import parse_study
from motet.plan import build_plan
from motet.sites import agreed, open_sites
from motet.strategies import strategy_for
from motet.strategies.in_place import InPlace
from motet.training import at_site
from motet.training.phase import Train

PASSES = ("forward", "backward")
OUTSIDE = 0.05
"""The most that may be outside of both."""
WATCHED = (*ENGINE, ("once", at_site, "workshop"))


def shares(phantom: Path, method: str, train: dict[str, Any]) -> tuple[dict[str, float], int]:
    """Of a training's time, the part of every purpose; parameters of its networks."""
    study = parse_study(
        {
            "study": "shares",
            "method": method,
            "params": {"planes": ["axial"]},
            "sites": {p.name: str(p) for p in sorted(phantom.glob("*")) if _is_site(p)},
            "evaluation": {"metrics": "none"},
            "privacy": {"secure_sum": False},
            "train": {"preset": "small", **train},
        }
    )
    tables = open_sites(study)
    plan = build_plan(study, agreed(study, tables))
    sites = {
        name: LocalSite(name=name, schema=plan.schema, data=table, seed=plan.seed)
        for name, table in tables.items()
    }
    ask = InPlace(sites=sites, sizes=plan.schema.sizes, seed=plan.seed)
    shared: dict[str, Any] = {}
    for phase in plan.steps[1:]:
        if isinstance(phase, Train):
            accounts = Accounts(WATCHED)
            with accounts.watching():
                strategy_for(phase, plan)(phase, ask, shared)
            batches = plan.schema.sizes["batches"]
            return accounts.shares(), sum(group.numbers(batches) for group in phase.groups)
        shared |= strategy_for(phase, plan)(phase, ask, shared)
    raise SystemExit(f"{method} trains no networks in exchanges.")


def _is_site(folder: Path) -> bool:
    return (folder / "participants.tsv").exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="calamiti,murd")
    parser.add_argument("--mode", default="local", choices=("local", "exact"))
    parser.add_argument("--steps", type=int, default=60)
    asked = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory() as work:
        phantom = Path(work) / "phantom"
        given = ("--sites", 3, "--people", 6, "--contrasts", "T1w,T2w", "--resolution", 2)
        motet("phantom", "--out", phantom, *given)
        for method in asked.methods.split(","):
            train = {"mode": asked.mode, "steps": asked.steps}
            found, parameters = shares(phantom, method, train)
            outside = 1.0 - sum(found[name] for name in PASSES)
            met &= outside <= OUTSIDE
            print(f"{method}, {asked.mode} mode, {parameters} parameters")
            print("  " + ", ".join(f"{name} {share:.4f}" for name, share in found.items()))
            print(f"  outside of forward and backward: {outside:.4f}")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
