"""What sites agree on before anything else: features, covariates, batches.

A :class:`SiteSchema` is one site's public description of its data; :func:`motet.agreement.agree`
makes the study's :class:`Schema` from all of them. Neither holds a count of people or a value of
anybody.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

from motet.errors import SchemaError
from motet.scale import Magnitudes, Scale, magnitudes
from motet.spline import Spline

Kind = Literal["continuous", "categorical"]


@dataclass(frozen=True, kw_only=True)
class SiteCovariate:
    """A covariate as one site has it.

    ``varies`` says whether it takes more than one value within at least one batch of the site;
    ``spline`` is how the study wants a continuous one.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    varies: bool = True
    spline: Spline | None = None


@dataclass(frozen=True, kw_only=True)
class SiteSchema:
    """One site's public description of its data.

    ``grid`` is given where images of all sites have to lie on one: shape (3), then the affine's
    three rows (12), canonical axes, mm. ``scale`` is told where sums are to be masked; ``holds``,
    where there are sums of single travelers: the keys of those who were scanned here and consented.
    """

    site: str
    features: tuple[str, ...]
    units: tuple[str, ...]
    covariates: tuple[SiteCovariate, ...]
    batches: tuple[str, ...]
    grid: tuple[float, ...] = ()
    scale: Scale | None = None
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Covariate:
    """A covariate of the study. A categorical one drops its first level in the design.

    A continuous one is a straight line, or a curve where there is a ``spline``.

    ``sites_with_level`` says where each level occurs, for the coordinator's errors. It is not
    stored, and not sent to the sites: which hospital has a rare diagnosis is nobody else's.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    sites_with_level: tuple[tuple[str, ...], ...] = field(default=(), compare=False)
    spline: Spline | None = None

    def __str__(self) -> str:
        """``age (continuous)``, ``sex (F, M)``."""
        said = str(self.spline) if self.spline else ", ".join(self.levels) or self.kind
        return f"{self.name} ({said})"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its design columns: ``('age',)``, ``('sex=M',)`` or ``('age', 'age@50')``."""
        if self.spline:
            return self.spline.columns(self.name)
        if self.kind == "continuous":
            return (self.name,)
        return tuple(f"{self.name}={level}" for level in self.levels[1:])

    def largest(self, size: float) -> tuple[float, ...]:
        """Bounds on absolute values of its columns where those of the covariate have `size`."""
        return self.spline.largest(size) if self.spline else (size,) * len(self.columns)


@dataclass(frozen=True, order=True)
class Batch:
    """A scanner or protocol within a site; its identity is the pair (site, batch)."""

    site: str
    name: str

    def __str__(self) -> str:
        return self.site if self.name == self.site else f"{self.site}/{self.name}"


def by_label(batches: Sequence[Batch]) -> list[int]:
    """Numbers of batches in the order of labels, (K,).

    By the batch's name before its site's: which hospital sends a scanner's people is to change
    nothing where a label is a number, or is drawn.
    """
    return sorted(range(len(batches)), key=lambda k: (batches[k].name, batches[k].site))


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What all sites of a study have in common, and the batches that take part.

    Attributes
    ----------
    features, units : tuple of str
    covariates : tuple of Covariate
        What the method keeps: the columns of its design.
    batches : tuple of Batch
        Those of the fit.
    biology : tuple of Covariate
        Columns that the evaluation reads beside the covariates; the method does not see them.
    unseen : tuple of Batch
        Batches of sites that take no part in the fit and are judged all the same.
    grid : tuple of float
        The grid of all images, where they have to lie on one: see :class:`SiteSchema`.
    scale : Scale, optional
        What bounds everybody's numbers, where sums are masked. Who takes part changes it, so no
        digest covers it; all sites of a sum have to have the same.
    holders : tuple of (str, tuple of str)
        Key of a traveler -> sites that scanned this person, where they are two or more. No digest
        covers it either.
    """

    features: tuple[str, ...]
    units: tuple[str, ...]
    covariates: tuple[Covariate, ...]
    batches: tuple[Batch, ...]
    biology: tuple[Covariate, ...] = ()
    unseen: tuple[Batch, ...] = ()
    grid: tuple[float, ...] = ()
    scale: Scale | None = None
    holders: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the part that does not depend on who takes part; the plan hash covers it."""
        document = {
            "features": names_digest(self.features),
            "units": names_digest(self.units),
            "covariates": _plain(self.covariates),
            **({"biology": _plain(self.biology)} if self.biology else {}),
            **({"grid": list(self.grid)} if self.grid else {}),
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the design columns, without intercepts, in order; their number is q."""
        return tuple(column for covariate in self.covariates for column in covariate.columns)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites of the fit, sorted."""
        return tuple(sorted({batch.site for batch in self.batches}))

    def keys_of(self, site: str) -> tuple[str, ...]:
        """Keys of the travelers whose sums a site takes part in, sorted."""
        return tuple(sorted(key for key, sites in self.holders if site in sites))

    @property
    def judged(self) -> tuple[Batch, ...]:
        """The batches of the fit, then those of unseen sites: the batch axis of an evaluation."""
        return self.batches + self.unseen

    @property
    def of_the_fit(self) -> Schema:
        """What the method and its model know: nothing of the evaluation, of sums or of holders."""
        return replace(self, biology=(), unseen=(), scale=None, holders=())

    @property
    def with_biology(self) -> Schema:
        """The schema with the biology columns among the covariates."""
        return replace(self, covariates=self.covariates + self.biology, biology=())

    @property
    def magnitudes(self) -> Magnitudes:
        """How large numbers can be.

        Raises
        ------
        SchemaError
            When nobody was asked.
        """
        if self.scale is None:
            raise SchemaError("The sites did not say how large their numbers are.")
        return magnitudes(
            self.scale,
            covariates=[covariate.largest for covariate in self.covariates],
            biology=[covariate.largest for covariate in self.biology],
        )

    @property
    def sizes(self) -> Mapping[str, int]:
        """The public sizes that shapes of releases may name."""
        return {
            "p": len(self.features),
            "q": len(self.columns),
            "batches": len(self.batches),
            "sites": len(self.sites),
            "judged": len(self.judged),
            "columns": len(self.with_biology.columns),
            **({"grid": int(math.prod(self.grid[:3]))} if self.grid else {}),
        }

    def without_features(self) -> dict[str, Any]:
        """What a site does not know already: it has the features, since all sites' are equal."""
        return {
            "units": list(self.units) if any(self.units) else [],
            "covariates": _plain(self.covariates),
            "batches": [[b.site, b.name] for b in self.batches],
            **({"biology": _plain(self.biology)} if self.biology else {}),
            **({"unseen": [[b.site, b.name] for b in self.unseen]} if self.unseen else {}),
            **({"grid": list(self.grid)} if self.grid else {}),
            **({"scale": self.scale.to_json()} if self.scale else {}),
            **({"holders": {k: list(s) for k, s in self.holders}} if self.holders else {}),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain lists and dictionaries."""
        return {"features": list(self.features), **self.without_features()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Schema:
        """Read what :meth:`to_json` wrote."""
        try:
            return cls(
                features=tuple(document["features"]),
                units=tuple(map(str, document["units"])) or ("",) * len(document["features"]),
                covariates=read_covariates(document["covariates"]),
                batches=tuple(Batch(str(s), str(b)) for s, b in document.get("batches", ())),
                biology=read_covariates(document.get("biology", ())),
                unseen=tuple(Batch(str(s), str(b)) for s, b in document.get("unseen", ())),
                grid=tuple(map(float, document.get("grid", ()))),
                scale=Scale.from_json(document["scale"]) if "scale" in document else None,
                holders=tuple(
                    (str(key), tuple(map(str, sites)))
                    for key, sites in sorted(document.get("holders", {}).items())
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(f"A schema cannot be read: {error!r}.") from error


def _plain(covariates: Sequence[Covariate]) -> list[dict[str, Any]]:
    return [
        {
            "name": c.name,
            "kind": c.kind,
            "levels": list(c.levels),
            # Where there is none nothing is said: digests of other studies stay as they were.
            **({"spline": c.spline.to_json()} if c.spline else {}),
        }
        for c in covariates
    ]


def read_covariates(documents: Sequence[Any]) -> tuple[Covariate, ...]:
    """Covariates of a schema that was written as plain data."""
    return tuple(
        Covariate(
            name=str(c["name"]),
            kind="categorical" if c["kind"] == "categorical" else "continuous",
            levels=tuple(map(str, c["levels"])),
            spline=Spline.from_json(c["spline"]) if "spline" in c else None,
        )
        for c in documents
    )


@lru_cache(maxsize=64)
def names_digest(names: tuple[str, ...]) -> str:
    """SHA-256 over an ordered list of names; kept, since there may be 100,000 of them."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
