"""The specification that every method fulfils; the registry checks it when a method registers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from motet.config import is_saved
from motet.errors import MotetError, nearest
from motet.phases import Step
from motet.releases import Arrays
from motet.schema import Batch, Schema
from motet.site import Site
from motet.spline import Spline

TYPES = ("auto", "continuous", "categorical")
CovariateType = Literal["auto", "continuous", "categorical"] | tuple[str, ...] | Spline


def _covariate_type(kind: Any) -> Any:
    if isinstance(kind, list | tuple):
        return tuple(_level(value) for value in kind)
    if isinstance(kind, Mapping):
        return Spline.from_json(kind)
    if isinstance(kind, Spline) or kind in TYPES:
        return kind
    raise ValueError(
        f"'{kind}' is no type of a covariate: it is continuous, categorical, the list of its "
        f"levels, or a spline's knots and bounds. {nearest(str(kind), TYPES)}".rstrip()
    )


def _level(value: Any) -> str:
    """YAML reads ``[1, 2]`` as numbers and ``[no, yes]`` as booleans; levels are text."""
    if isinstance(value, bool):
        raise ValueError(f"a level reads as the boolean {value}: put it in quotes")
    return str(value)


class Params(BaseModel):
    """Base of a method's parameters: frozen, unknown keys refused.

    Parameters
    ----------
    covariates : dict or list
        What to keep: name -> ``"continuous"``, ``"categorical"``, the list of its levels, or, for
        a natural cubic spline, ``{knots: [30, 50, 70], bounds: [18, 90]}``. In a list, and as
        ``"auto"``, a column of numbers is continuous and any other categorical.
    batch : str
        Column of participants.tsv that names the scanner or protocol. Absent: one batch a site.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    retargets: ClassVar[bool] = False
    """Whether a finished model can bring people to another target: its parameter ``to``."""
    models_covariates: ClassVar[bool] = False
    """Whether the method makes anything of ``covariates``; otherwise they are refused, so that no
    report says of effects that they were kept by a method that does not know of them."""

    covariates: dict[str, Annotated[CovariateType, BeforeValidator(_covariate_type)]] = Field(
        default_factory=dict
    )
    batch: str = "scanner"

    @property
    def target(self) -> str:
        """Whom people are brought to, as it is written down; empty where there is one target."""
        if not self.retargets:
            return ""
        to = getattr(self, "to", None)
        return self.recorded(to) if to else "mean"

    def recorded(self, to: str) -> str:
        """What is written down of another target `to`: of files their names, not their folders."""
        return to

    @property
    def unread(self) -> tuple[str, ...]:
        """Options that have no effect beside the others: reports do not speak of them."""
        return ()

    @property
    def keyed(self) -> tuple[str, ...]:
        """Keys of travelers of whom there are sums of their own: sites say whom they scanned."""
        return ()

    @property
    def everywhere(self) -> bool:
        """Whether every site of the fit has to have scanned all of `keyed`."""
        return False

    @property
    def needed(self) -> tuple[str, ...]:
        """Keys of travelers without whom there is no fit: they are never held out."""
        return ()

    @property
    def holder(self) -> str:
        """The one site that holds all travelers of the fit, if one does: empty where none does.

        Where none are named as `needed`, nobody there is held out.
        """
        return ""

    @field_validator("covariates", mode="before")
    @classmethod
    def _names_alone(cls, value: Any, info: ValidationInfo) -> Any:
        """``[age, sex]`` leaves types and levels to the sites' agreement."""
        if value and not cls.models_covariates and not is_saved(info):
            raise ValueError(
                "this method models no covariates: they would change nothing. Take them out; a "
                "study file can have it judged whether their effects are kept: 'evaluation: "
                "{biology: [...]}'"
            )
        if value is None:
            return {}
        if isinstance(value, list | tuple):
            if len(set(map(str, value))) < len(value):
                raise ValueError("a covariate is listed twice")
            return {str(name): "auto" for name in value}
        if isinstance(value, dict):
            return {str(name): kind for name, kind in value.items()}
        raise ValueError("covariates are a list of names, or names with their types")


Keeps = Literal["always", "monotone", "registered", "never"]
KEEPS: Mapping[Keeps, str] = {
    "always": "kept on all images",
    "monotone": "kept where scanners differ by a monotone curve of intensities",
    "registered": "kept where images are registered to one template",
    "never": "no claim that they are kept",
}
"""When a method claims that CSF, GM and WM, told by the one k-means, are no further from the truth
after it than before it; and the words for that."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What ``motet methods`` prints about a method, and what it assumes.

    Attributes
    ----------
    by_batch : bool
        Whether it estimates effects of batches: then a site of one batch has nothing to bring
        together alone.
    tissues : {"always", "monotone", "registered", "never"}
        When it claims to keep the tissues of an image (see ``KEEPS``).
    beside_combat : bool
        Whether a simulation judges ComBat, of the same batches and covariates, beside it.
    """

    title: str
    summary: str
    data: Literal["table", "images", "registered images"]
    papers: tuple[str, ...]
    leaves: str
    limits: tuple[str, ...] = ()
    by_batch: bool = True
    tissues: Keeps = "never"
    beside_combat: bool = False

    def keeps_tissues(self, *, monotone: bool, registered: bool) -> bool:
        """Whether the method claims to keep tissues on such images.

        Parameters
        ----------
        monotone : bool
            Whether scanners differ by nothing but a monotone curve of intensities.
        registered : bool
            Whether the images are registered to one template.
        """
        if self.data == "registered images" and not registered and self.tissues != "always":
            return False
        return {
            "always": True,
            "monotone": monotone,
            "registered": registered,
            "never": False,
        }[self.tissues]


@dataclass(frozen=True, kw_only=True)
class SiteModel:
    """What one site alone needs to harmonize its people. It stays at the site.

    ``batches`` names the batches it knows, in the order of the arrays' batch axis.
    """

    site: str
    batches: tuple[str, ...]
    arrays: Arrays


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Some numbers of several targets, side by side.

    Attributes
    ----------
    title : str
    columns : tuple of str
        What each number is.
    values : mapping of str to (m,) float64
    """

    title: str
    columns: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a method says of its shared model in the study report: released numbers, public facts.

    Attributes
    ----------
    title : str
    facts : tuple of (str, str)
    curves, tables : tuple of Profile
        Curves are drawn, a line a target, beside their tables.
    remarks : tuple of str
        Sentences that a reader needs at once: they stand in the summary.
    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    curves: tuple[Profile, ...] = ()
    tables: tuple[Profile, ...] = ()
    remarks: tuple[str, ...] = ()


@runtime_checkable
class Telling(Protocol):
    """A method whose shared model has more to be told of than its arrays."""

    def findings(self, params: Any, schema: Schema, shared: Arrays) -> Findings:
        """What the study report says of a finished model."""
        ...


def findings_of(method: Any, params: Any, schema: Schema, shared: Arrays) -> Findings | None:
    """What a method says of a finished model; None of one that has no more to say."""
    if not isinstance(method, Telling):
        return None
    try:
        return method.findings(params, schema, shared)
    except MotetError:
        return None


@runtime_checkable
class Cautious(Protocol):
    """A method that knows what kind of people its model was fitted on."""

    def cautions(self, params: Any, data: Any, shared: Arrays, schema: Schema) -> Sequence[str]:
        """What has to be said of new people before a model of others is applied to them."""
        ...


@runtime_checkable
class Sharing(Protocol):
    """A method that learns of a site's scanner from scans that another site has."""

    def twins(self, params: Any, schema: Schema) -> Mapping[Batch, Batch]:
        """Batch of a site -> the other site's batch, whose scanner it is of."""
        ...


class Harmonizer(Protocol):
    """A harmonization method.

    Three entry points: :meth:`plan` (fit), :meth:`join` (an unseen site, shared model frozen)
    and :meth:`apply`.
    """

    name: ClassVar[str]
    card: ClassVar[Card]
    params_type: ClassVar[type[Params]]

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """The steps of a fit, after the platform's agreement on `schema`."""
        ...

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """The steps of an unseen site, shared model frozen; ``()`` means nothing leaves."""
        ...

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """What this site alone needs to harmonize its batches.

        It must work with an empty ``site.keep`` too: that is an unseen site or batch.
        """
        ...

    def apply(
        self, params: Any, data: Any, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Harmonize `data`, some people at a time: yields (rows, values (r, p))."""
        ...
