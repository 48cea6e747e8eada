"""Errors that speak to the person: what happened, where, and what to do next.

Every error carries a short stable ``code``. Between a site and the coordinator only the code
travels; the sentence, which may name a person or a file, stays in the log of the machine where it
was raised.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class MotetError(Exception):
    """Base of all errors that Motet raises on purpose.

    Parameters
    ----------
    what : str
        One or two sentences: what happened.
    do : str
        What the reader can do next.
    **where : str
        The place, most general first: ``site``, ``file``, ``column``, ``person``, ``feature``,
        ``key``.
    """

    code = "error"

    def __init__(self, what: str, *, do: str = "", **where: object) -> None:
        self.what = what
        self.do = do
        self.where = {key: str(value) for key, value in where.items() if value not in ("", None)}
        super().__init__(what)

    def __str__(self) -> str:
        place = ", ".join(f"{key} {value}" for key, value in self.where.items())
        sentence = f"{place}: {self.what}" if place else self.what
        return f"{sentence} {self.do}".rstrip()


class MotetWarning(UserWarning):
    """Something was done differently from what a reader may expect; the sentence says what."""


class StudyFileError(MotetError):
    """The study file, or a parameter in it, cannot be used as it stands."""

    code = "study-file"


class UnknownMethodError(StudyFileError):
    """The study asks for a method that is not registered."""

    code = "unknown-method"


class DataError(MotetError):
    """A site's files cannot be read as the study needs them."""

    code = "data"


class SchemaError(MotetError):
    """The sites' public descriptions (features, covariates, batches) do not fit together."""

    code = "schema"


class DesignError(MotetError):
    """The pooled design cannot be estimated: collinear, constant or confounded covariates."""

    code = "design"


class PlanError(MotetError):
    """A plan is not well formed, or a site's plan differs from the coordinator's."""

    code = "plan"


class ReleaseRefusedError(MotetError):
    """The outgoing gate refused an array that the plan does not declare."""

    code = "release-refused"


class NotApprovedError(MotetError):
    """Nobody at the site has approved this plan, or no longer."""

    code = "not-approved"


class PolicyError(MotetError):
    """The site's own policy refuses a study or a phase of it."""

    code = "policy"


class ProtocolError(MotetError):
    """A message cannot be decoded, or does not belong to this run."""

    code = "protocol"


class LedgerError(MotetError):
    """A site's ledger cannot be read or written, or is not whole."""

    code = "ledger"


class CountersignatureError(MotetError):
    """The coordinator has not countersigned the entry of a release, so that it does not leave."""

    code = "not-countersigned"


class SecureSumError(MotetError):
    """A secure sum cannot be made: too few sites, another key, or shares that do not fit."""

    code = "secure-sum"


class SubtractionError(SecureSumError):
    """With sums that were read before, another one would give single sites away."""

    code = "subtraction"


class TrainingError(MotetError):
    """Networks cannot be trained here: a loss that is not finite, or no such device."""

    code = "training"


class ConnectionFailedError(MotetError):
    """A site and the coordinator cannot talk: address, certificate, key, clock or network."""

    code = "connection"


class BundleError(MotetError):
    """A run was started with an app that this site does not allow."""

    code = "bundle"


class VersionError(MotetError):
    """Coordinator and site have different versions of Motet."""

    code = "version"


class DeploymentError(MotetError):
    """A coordinator's or a site's folder, port or process is not as it must be."""

    code = "deployment"


class WorkerDiedError(MotetError):
    """The process that works on a site's data ended again and again on one message."""

    code = "worker-died"


class EngineError(MotetError):
    """The engine of a simulation is not installed, or the machine has less than it is to give."""

    code = "engine"


class QuorumError(MotetError):
    """Too few sites are left to go on."""

    code = "quorum"


class ModelError(MotetError):
    """A model folder is incomplete, corrupt, edited, or belongs to other features."""

    code = "model"


class OutputFolderError(MotetError):
    """The output folder holds something else, or cannot be written."""

    code = "output-folder"


class SourceTreeError(MotetError):
    """The checkout lost the symbolic links that the import paths rely on."""

    code = "source-tree"


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that break a line or are no characters."""


def is_plain_name(name: str) -> bool:
    """Whether a site or batch may have this name: it becomes part of paths."""
    return bool(
        name.strip()
        and len(name) <= 100
        and name not in (".", "..")
        and "/" not in name
        and "\\" not in name
        and not CONTROL.search(name)
    )


def known_codes() -> frozenset[str]:
    """The codes that a site may send: those of our errors, and of a failure without one."""
    found, kinds = {"site-failed", "stock-node"}, [MotetError]
    while kinds:
        kind = kinds.pop()
        found.add(kind.code)
        kinds += kind.__subclasses__()
    return frozenset(found)


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """Return the sentence ``Did you mean 'x'?`` for the known word closest to `word`, or ``""``."""
    known = list(known)
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=cutoff)
    return f"Did you mean '{by_lower[close[0]]}'?" if close else ""


def listed(names: Iterable[object], *, at_most: int = 6) -> str:
    """Return ``a, b, c and 4 more`` for use inside a sentence."""
    words = [str(name) for name in names]
    if len(words) <= at_most:
        return ", ".join(words)
    return f"{', '.join(words[:at_most])} and {len(words) - at_most} more"
