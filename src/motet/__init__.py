"""Motet: federated harmonization of brain images and imaging measures across hospitals.

Every site keeps its own data, and one harmonized study comes out. From Python::

    import motet
    harmonized = motet.harmonize(features, batch=scanner, covariates=people[["age", "sex"]])
    result = motet.simulate("study.yaml", out="harmonized_study")
    combat = motet.FeatureHarmonizer().fit(features, batch=scanner, covariates=covariates)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.errors import MotetError, MotetWarning, SourceTreeError
from motet.version import __version__

if TYPE_CHECKING:
    from motet.config import Study
    from motet.estimator import FeatureHarmonizer
    from motet.frame import harmonize
    from motet.simulation import Result, simulate
    from motet.spline import Spline

__all__ = [
    "FeatureHarmonizer",
    "MotetError",
    "MotetWarning",
    "Result",
    "Spline",
    "Study",
    "__version__",
    "harmonize",
    "simulate",
]

_HOME = {
    "FeatureHarmonizer": "motet.estimator",
    "Result": "motet.simulation",
    "Spline": "motet.spline",
    "Study": "motet.config",
    "harmonize": "motet.frame",
    "simulate": "motet.simulation",
}

for _package in ("server", "client", "strategies", "harmonizers"):
    if not (Path(__file__).parent / _package).is_dir():
        raise SourceTreeError(
            f"src/motet/{_package} is not a link to the folder {_package}/ at the top level: this "
            "checkout lost its symbolic links.",
            do="Clone again with 'git clone -c core.symlinks=true'.",
        )


def __getattr__(name: str) -> Any:
    # Loaded on first use: 'motet --help' needs neither Flower nor pandas.
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'motet' has no attribute '{name}'")
