"""Options that all members of the ComBat family have."""

from __future__ import annotations

from typing import Literal, Protocol

from motet.errors import StudyFileError, listed, nearest
from motet.schema import Batch, Schema

Prior = Literal["parametric", "nonparametric", "none"]
Adjust = Literal["location_scale", "location"]


class Options(Protocol):
    """What the shared parts of ComBat read of a method's parameters."""

    @property
    def prior(self) -> Prior:
        """How the batch effects of a batch's features are shrunk towards each other."""
        ...

    @property
    def adjust(self) -> Adjust:
        """Whether variances are adjusted too."""
        ...

    @property
    def reference(self) -> str | None:
        """A batch that stays untouched."""
        ...


def reference_batch(params: Options, schema: Schema) -> Batch | None:
    """The batch that ``reference`` names, or None where there is none."""
    return named_batch(params.reference, schema, key="params.reference")


def named_batch(name: str | None, schema: Schema, *, key: str, or_else: str = "") -> Batch | None:
    """The batch of this name: ``site``, ``site/batch``, or a batch name that is unique.

    Parameters
    ----------
    name : str or None
    schema : Schema
    key : str
        Where it is named.
    or_else : str
        What somebody can do instead, of whom no such batch is known.

    Raises
    ------
    StudyFileError
        When there is none, or several; names `key`.
    """
    if name is None:
        return None
    exact = [b for b in schema.batches if name == str(b)]
    named = exact or [b for b in schema.batches if name in (b.name, b.site)]
    if len(named) == 1:
        return named[0]
    known = [str(b) for b in schema.batches]
    close = nearest(name, known, cutoff=0.7)
    if named:
        raise StudyFileError(
            f"'{name}' can mean {listed(named)}.",
            do=f"Write one of them, e.g. {named[0]}.",
            key=key,
        )
    raise StudyFileError(
        f"The batch '{name}' is not among the batches that take part.",
        do=f"{close} They are: {listed(known, at_most=24)}. {or_else}".strip(),
        key=key,
    )
