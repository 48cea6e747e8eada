"""The study file: what a consortium wants done, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from motet.errors import MotetError, StudyFileError, nearest


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Evaluation(_Section):
    """How the study is judged.

    Parameters
    ----------
    held_out : float
        Share of people that the fit does not see. Who that is depends on the seed and the person
        only.
    unseen : tuple of str
        Sites that take no part in the fit; they are harmonized with the finished model.
    biology : tuple of str
        Columns of participants.tsv whose effects should survive, beside the covariates.
    metrics : {"full", "uncontrolled", "summed", "none"}
        ``summed``: what can be computed from sums, simulated or deployed. ``full``: in a simulation
        the retrained probes and tests that need everybody in one place, too. ``uncontrolled``:
        these without the sums and without the controls, for each of which a method is fitted
        again: each site alone, everybody pooled, a covariate shuffled. Simulation only.
    by_batch : bool, optional
        Whether sums have a row for every batch: its people, their means, and whom a probe that
        tells scanners apart takes them for. A batch is one site's, so masks do not hide it.
        Default: where sums are not masked.
    permutations : int
        Permutations behind each band of a simulation.
    truth : Path, optional
        Read in simulation only: a BIDS folder with everybody's image as it would be without a
        site effect, called as at the sites.
    """

    held_out: float = Field(default=0.0, ge=0.0, lt=1.0)
    unseen: tuple[str, ...] = ()
    biology: tuple[str, ...] = ()
    metrics: Literal["full", "uncontrolled", "summed", "none"] = "full"
    by_batch: bool | None = None
    permutations: int = Field(default=100, ge=20)
    truth: Path | None = None

    @model_validator(mode="after")
    def _of_sums(self) -> Evaluation:
        if self.by_batch and self.metrics == "uncontrolled":
            raise ValueError(
                "by_batch is of sums, and metrics: uncontrolled has none: take one out"
            )
        return self


class Federation(_Section):
    """How long to wait, and for how many.

    Parameters
    ----------
    quorum : int, optional
        Sites that must take part to the end. Default: all of them in a simulation, 2 deployed.
    timeout : float
        Seconds a phase may take.
    """

    quorum: int | None = Field(default=None, ge=2)
    timeout: float = Field(default=600.0, gt=0)


class DP(_Section):
    """Noise on what a training sends, by person.

    Parameters
    ----------
    epsilon, delta : float
        Of all that a site sends in the training.
    clip : float
        Largest L2 norm of a person's gradient.
    """

    epsilon: float = Field(gt=0.0, allow_inf_nan=False)
    delta: float = Field(default=1e-5, gt=0.0, lt=1.0)
    clip: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)


class Privacy(_Section):
    """Who can read what sites send, and what hides single people.

    Parameters
    ----------
    secure_sum : bool, optional
        Whether the coordinator reads sums over sites only, and no site's own. Default: wherever
        there are three sites or more; with ``true`` fewer are refused.
    dp : DP, optional
        Differential privacy of the training, and of nothing else. Default: none.
    """

    secure_sum: bool | None = None
    dp: DP | None = None

    @model_validator(mode="before")
    @classmethod
    def _section(cls, value: Any) -> Any:
        if value is None:
            return {}  # as YAML writers expect of a section without keys
        if not isinstance(value, Mapping):
            raise ValueError("write it as {secure_sum: true} or {secure_sum: false}")
        return value


class Study(_Section):
    """A study file. ``sites`` (name -> folder) is read in simulation only."""

    study: str = Field(min_length=1)
    method: str = Field(min_length=1)
    params: dict[str, Any] = Field(default_factory=dict)
    target: str = "pooled"
    sites: dict[str, Path] = Field(default_factory=dict)
    evaluation: Evaluation = Evaluation()
    federation: Federation = Federation()
    privacy: Privacy = Privacy()
    train: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)

    @field_validator("sites", mode="before")
    @classmethod
    def _names_and_folders(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | None):
            raise ValueError("sites are names with their folders: {hospital_a: path/to/a}")
        if wrong := [key for key in value or () if not isinstance(key, str)]:
            raise ValueError(f"the site name {wrong[0]!r} is not text to YAML: put it in quotes")
        return value

    @field_validator("params", "sites", "train", mode="before")
    @classmethod
    def _empty_section(cls, value: Any) -> Any:
        """``params:`` with nothing behind it is an empty section, as YAML writers expect."""
        return {} if value is None else value

    def public(self) -> dict[str, Any]:
        """What is sent to the sites: everything but where data lie on somebody's disk."""
        return self.model_dump(mode="json", exclude={"sites": True, "evaluation": {"truth": True}})


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice instead of keeping the last."""


def _unique_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str | int | float | bool | None):
            raise StudyFileError(f"A key is not a name (line {line}).")
        if key in keys:
            raise StudyFileError(f"'{key}' is given twice (line {line}).", key=key)
        keys.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_study(path: Path) -> Study:
    """Read a study file; folders of sites are relative to it.

    Raises
    ------
    StudyFileError
        Names the file and the key, and the nearest right name for an unknown one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise StudyFileError("There is no such study file.", file=path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError(f"The study file cannot be read: {error}.", file=path) from error
    study = parse_study(parse_yaml(text, file=path), file=path)
    base = path.resolve().parent
    sites = {name: base / folder for name, folder in study.sites.items()}
    judged = study.evaluation
    if judged.truth is not None:
        judged = judged.model_copy(update={"truth": base / judged.truth})
    return study.model_copy(update={"sites": sites, "evaluation": judged})


def parse_yaml(text: str, *, file: Path) -> Any:
    """Read YAML safely, refusing a key that is given twice.

    Raises
    ------
    StudyFileError
        Names the file and the line.
    """
    try:
        with naming(file):
            return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it is not valid"
        raise StudyFileError(f"The YAML cannot be read{where}: {problem}.", file=file) from error


@contextmanager
def naming(file: Path | None) -> Iterator[None]:
    """Let errors about a study, or a key of it, name the file it was read from."""
    try:
        yield
    except MotetError as error:
        of_study = isinstance(error, StudyFileError) or "key" in error.where
        if file is None or "file" in error.where or not of_study:
            raise
        raise type(error)(error.what, do=error.do, file=file, **error.where) from error


def parse_study(document: Any, *, file: Path | None = None) -> Study:
    """Validate a study given as a dictionary."""
    if not isinstance(document, Mapping):
        raise StudyFileError("A study file holds keys such as 'study:' and 'method:'.", file=file)
    return checked(Study, document, file=file)


M = TypeVar("M", bound=BaseModel)


SAVED = "saved"
"""In the context of a validation: the document was written by Motet, by this version or another."""


def is_saved(info: ValidationInfo) -> bool:
    """Whether a document is read that Motet wrote down, not what somebody asks for."""
    return bool((info.context or {}).get(SAVED))


def misfit(key: str, said: str) -> PydanticCustomError:
    """A problem of one key that it takes the whole document to see; for a validator to raise.

    Parameters
    ----------
    key : str
        As the section names it; ``train.server`` where it is of a section of its own.
    said : str
        What is wrong, and what to do.
    """
    return PydanticCustomError("misfit", "{key}: {said}", {"key": key, "said": said})


def checked(
    model: type[M],
    document: Mapping[str, Any],
    *,
    file: Path | None = None,
    under: str = "",
    apart: Sequence[str] = (),
    saved: bool = False,
) -> M:
    """Validate `document` as `model`; turn the first problem into a :class:`StudyFileError`.

    Parameters
    ----------
    model : type
    document : mapping
    file : Path, optional
        Where it was read.
    under : str
        The section of the file that it is.
    apart : sequence of str
        Keys that are sections of the file, not of that section.
    saved : bool
        Whether it is what Motet wrote down, complete, and not what somebody asks for.
    """
    try:
        return model.model_validate(dict(document), context={SAVED: saved})
    except ValidationError as error:
        # A misspelled key is two problems: it is not known, and the right one may be missing.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        location = [str(part) for part in first["loc"]]
        message = _in_words(first)
        if first["type"] == "misfit":
            location, message = first["ctx"]["key"].split("."), first["ctx"]["said"]
        at = location if location and location[0] in apart else [under, *location]
        key = ".".join(filter(None, at))
        if first["type"] == "extra_forbidden":
            fields = _fields_at(model, location[:-1])
            suggestion = nearest(location[-1], fields)
            raise StudyFileError(
                f"Unknown key '{location[-1]}'.",
                do=suggestion or f"Known here: {', '.join(fields)}.",
                file=file,
                key=key,
            ) from None
        if first["type"] == "missing":
            raise StudyFileError("This key is missing.", file=file, key=key) from None
        given = repr(first["input"])
        shown = f" (given: {given})" if len(given) < 60 and first["type"] != "misfit" else ""
        stop = "" if f"{message}{shown}".endswith(("?", ".")) else "."
        raise StudyFileError(f"{message}{shown}{stop}", file=file, key=key) from None


WORDS = {
    "greater_than": "It has to be more than {gt:g}",
    "greater_than_equal": "It has to be {ge:g} or more",
    "less_than": "It has to be less than {lt:g}",
    "less_than_equal": "It has to be {le:g} or less",
    "finite_number": "It has to be a finite number",
    "float_parsing": "It has to be a number",
    "float_type": "It has to be a number",
    "int_parsing": "It has to be a whole number",
    "int_from_float": "It has to be a whole number",
    "int_type": "It has to be a whole number",
    "bool_parsing": "It has to be true or false",
    "bool_type": "It has to be true or false",
    "string_type": "It has to be text: put it in quotes",
    "string_too_short": "It is empty",
    "tuple_type": "It has to be a list, as [a, b]",
    "list_type": "It has to be a list, as [a, b]",
    "dict_type": "It has to be keys with values, as {{key: value}}",
    "model_type": "It has to be keys with values, as {{key: value}}",
}
"""What pydantic says in a programmer's words, by its type of problem."""


def _in_words(problem: ErrorDetails) -> str:
    """What is wrong with a value."""
    if problem["type"] == "literal_error":
        expected = str(problem["ctx"]["expected"])
        meant = nearest(str(problem["input"]), re.findall(r"'([^']+)'", expected))
        return f"It has to be {expected}{f'. {meant}' if meant else ''}"
    words = WORDS.get(problem["type"])
    if words is not None:
        return words.format(**problem.get("ctx", {}))
    return str(problem["msg"]).removeprefix("Value error, ")


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Field names of the section that `location` leads to."""
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        kinds = [annotation, *get_args(annotation)]
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)
