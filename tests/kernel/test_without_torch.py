"""What nobody needs is not loaded: torch by the base install, and what takes long to load."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchmetrics", "opacus"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Without())
import motet.cli.main, motet.client.worker, motet.server, motet.simulation, motet.strategies
from motet.registry import methods
from motet.config import parse_study
from motet.params import parse_params

names = methods().names()
for name in names:
    params = methods().get(name).params_type
parse_params(parse_study({"study": "s", "method": "deepcombat", "train": {"preset": "paper"}}))
print(len(names), "torch" in sys.modules, "scipy.stats" in sys.modules)
"""


def test_all_methods_register_and_are_planned_without_torch_and_scipy_stats() -> None:
    """Catches an import of torch at the top of a module that every site loads: hospitals that
    harmonize tables would have to install two gigabytes. And of scipy.stats, which takes as long
    to load as all else together."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    count, *loaded = done.stdout.split()
    assert int(count) >= 12
    assert loaded == ["False", "False"]
