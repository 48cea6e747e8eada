"""scikit-learn is asked for when it is needed, not when Motet is imported."""

from __future__ import annotations

from importlib.util import find_spec

from motet.errors import MotetError


class MissingPackageError(MotetError):
    """A package of an extra is not installed."""

    code = "missing-package"


def need_scikit_learn() -> None:
    """Say in a sentence what to install, instead of failing in the middle.

    Raises
    ------
    MissingPackageError
    """
    if find_spec("sklearn") is None:
        raise MissingPackageError(
            "The full evaluation of a simulation needs scikit-learn, which is not installed.",
            do="pip install 'motet[report]', or ask for 'evaluation: {metrics: summed}'.",
        )
