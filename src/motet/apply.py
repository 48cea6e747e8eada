"""Applying a model to new people: of a known site, or of a site that was never part of the study.

Nothing leaves: an unseen site needs the shared model alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motet.bids.covariates import CovariateRequest
from motet.bids.joining import check_replaceable
from motet.bids.read import read_people
from motet.bids.table import Table
from motet.client.apply import Rows, harmonized
from motet.client.below_zero import BelowZero
from motet.client.opening import open_as
from motet.config import checked
from motet.errors import DataError, ModelError, is_plain_name, listed, nearest
from motet.harmonizer import Cautious, Harmonizer, Params, SiteModel
from motet.images.derivatives import derivative_writer
from motet.images.images import compared_in
from motet.registry import methods
from motet.schema import Schema
from motet.store import load_model


@dataclass(frozen=True, kw_only=True)
class SharedModel:
    """A shared model as it was read, with the method that understands it."""

    folder: Path
    method: Harmonizer
    params: Params
    schema: Schema
    arrays: dict[str, NDArray[Any]]
    document: dict[str, Any]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What was done: for whom, with which batches known and which fitted on the spot."""

    out: Path
    site: str
    people: int
    known: tuple[str, ...]
    unseen: tuple[str, ...]
    warnings: tuple[str, ...]


def load_shared(folder: Path) -> SharedModel:
    """Read a shared model: the folder ``shared/`` of a study, or the study's folder.

    Raises
    ------
    ModelError
        When files are missing, corrupt or edited.
    """
    home = folder / "shared" if (folder / "shared").is_dir() else folder
    arrays, document, sha256 = load_model(home)
    if document.get("kind") != "shared":
        raise ModelError(
            "This is a site model, not a shared model.",
            do="Name the study's folder, or the site's folder within it.",
            file=home,
        )
    method = methods().get(str(document["method"]))
    return SharedModel(
        folder=home,
        method=method,
        params=checked(
            method.params_type, document["params"], file=home / "manifest.json", saved=True
        ),
        schema=Schema.from_json(document["schema"]),
        arrays=arrays,
        document=document,
        sha256=sha256,
    )


def load_site_model(folder: Path, shared: SharedModel) -> SiteModel:
    """Read a site's own model and check that it belongs to `shared`."""
    arrays, document, _ = load_model(folder)
    if document.get("model") != shared.sha256:
        raise ModelError(
            "The site model was made with another shared model.",
            do="Use the site model and the shared model of one study.",
            file=folder,
        )
    return SiteModel(site=str(document["site"]), batches=tuple(document["batches"]), arrays=arrays)


def apply_model(
    model: Path,
    data: Path,
    out: Path,
    *,
    site: str = "",
    participants: Sequence[str] = (),
    to: str = "",
    say: Callable[[str], None] = lambda sentence: None,
    workers: int = 1,
) -> Applied:
    """Harmonize the people of a folder and write a BIDS derivative.

    Parameters
    ----------
    model : Path
        A study's output folder, a site's folder within it, or a ``shared/`` folder.
    data : Path
        A site's folder.
    out : Path
        Where the derivative goes.
    site : str
        Whose people these are; default: the name of the folder `data`. A name that the study
        does not know is an unseen site.
    participants : sequence of str
        Whom to write, with or without ``sub-``; default: everybody. Effects of unseen batches are
        estimated from everybody in `data` all the same. People whom other runs with the same model
        wrote to `out` stay there.
    to : str
        Another target than the study's, of methods that can: a batch that published its style,
        ``mean``, or reference images, with commas between contrasts.
    workers : int
        Images worked on side by side.

    Raises
    ------
    ModelError, DataError, OutputFolderError
    """
    site_folder = model if (model / "model").is_dir() else None
    shared = load_shared(model.resolve().parent.parent if site_folder else model)
    if to:
        shared = _retargeted(shared, to)
    if site and site not in shared.schema.sites:
        if close := nearest(site, shared.schema.sites, cutoff=0.75):
            raise ModelError(
                f"'{site}' is not a site of the study ({listed(shared.schema.sites)}).",
                do=f"{close} A site that was never part of it needs a name of its own.",
            )
        if not is_plain_name(site):
            raise ModelError(f"'{site}' cannot be the name of a site.")
    named = data.resolve().name
    if not site:
        # A folder that is called like another site of the study is that site's, not this one's.
        other = named in shared.schema.sites
        site = named if other or not site_folder else model.resolve().name
    found = own = _own_model(model, site_folder, site, shared)
    if to and found is not None and site not in shared.schema.sites and not found.arrays:
        # An unseen site was brought to the study's target without learning anything of its own:
        # another target may need what a site that was never met learns of it.
        own = None
    warnings: list[str] = []

    def note(sentence: str) -> None:
        if sentence not in warnings:
            warnings.append(sentence)
            say(sentence)

    table = open_as(
        data,
        site=site,
        params=shared.params,
        covariates=_requests(shared.schema),
        say=note,
        workers=workers,
        only=_alone(data, site, participants, shared, own),
    )
    if named != site and named in shared.schema.sites:
        note(f"the folder has the name of another site, '{named}': are these people of '{site}'?")
    chosen = _chosen(table, participants)
    part = table if chosen.all() else table.where(chosen)
    if isinstance(shared.method, Cautious):
        for sentence in shared.method.cautions(shared.params, part, shared.arrays, shared.schema):
            note(sentence)
    if found is None:
        sites = listed(shared.schema.sites)
        note(
            f"'{site}' took part in the study, but its own model is not in {model}: name the "
            "study's folder or the site's, and its scanners are adjusted as they were."
            if site in shared.schema.sites
            else f"'{site}' is not a site of the study ({sites}). If these people are of one of "
            "them, name it with --site."
        )

    blocks = harmonized(
        table,
        method=shared.method,
        params=shared.params,
        schema=shared.schema,
        shared=shared.arrays,
        model=own,
        seed=int(shared.document.get("seed", 0)),
        say=note,
        workers=workers,
    )
    # Some people of a folder, in a run of their own: those of other runs stay beside them.
    others: Literal["kept", "replaced"] = "kept" if participants else "replaced"
    about = {
        "method": shared.document["method"],
        "study": shared.document["study"],
        "plan": shared.document["plan"],
        "model": shared.sha256,
        **({"target": shared.params.target} if shared.params.target else {}),
    }
    like = compared_in(part, shared.arrays)
    if others == "replaced":
        check_replaceable(out, about)
    with derivative_writer(out, like, description=about, others=others) as writer:
        for rows, values in BelowZero(part).watched(_only(blocks, chosen), note):
            writer.write(rows, values)
    known = tuple(b for b in part.batches if own and b in own.batches)
    return Applied(
        out=out,
        site=site,
        people=len(set(part.people.tolist())),
        known=known,
        unseen=tuple(b for b in part.batches if b not in known),
        warnings=tuple(warnings),
    )


def _retargeted(shared: SharedModel, to: str) -> SharedModel:
    """The model with another target."""
    if not shared.params.retargets:
        can = [name for name in methods().names() if methods().get(name).params_type.retargets]
        raise ModelError(
            f"'{shared.method.name}' knows the study's target alone.",
            do=f"Leave --to out. Methods that can be brought to another: {listed(can)}.",
        )
    named = None if to == "mean" else to
    return replace(shared, params=shared.params.model_copy(update={"to": named}))


def _alone(
    data: Path, site: str, participants: Sequence[str], shared: SharedModel, own: SiteModel | None
) -> list[str]:
    """Whom of the participants nobody else here is needed for; nobody where others are.

    Effects of a batch that the model does not know are estimated from all of its people.
    """
    if not participants or own is None:
        return []
    here = read_people(
        data, site=site, covariates=_requests(shared.schema), batch=shared.params.batch
    )
    labels = {name.removeprefix("sub-") for name in participants}
    asked = [person for person in here.people if _label(person) in labels]
    return asked if here.batches_of(asked) <= set(own.batches) else []


def _label(person: str) -> str:
    return person.removeprefix("sub-")


def _own_model(
    model: Path, site_folder: Path | None, site: str, shared: SharedModel
) -> SiteModel | None:
    if site_folder is not None:
        own = load_site_model(site_folder / "model", shared)
        if own.site != site:
            raise ModelError(
                f"The model belongs to site '{own.site}', the data to '{site}'.", file=site_folder
            )
        return own
    folder = model / "sites" / site / "model"
    if folder.is_dir():
        return load_site_model(folder, shared)
    if site in shared.schema.sites and model != shared.folder:
        raise ModelError(
            f"'{site}' took part in the study, but its own model is not here.",
            do=f"Copy it to {folder}, or name another site.",
            file=folder,
        )
    return None


def _requests(schema: Schema) -> dict[str, CovariateRequest]:
    return {
        c.name: CovariateRequest(kind=c.kind, levels=c.levels, spline=c.spline)
        for c in schema.covariates
    }


def _chosen(table: Table, participants: Sequence[str]) -> NDArray[np.bool_]:
    if not participants:
        return np.ones(len(table), dtype=bool)
    labels = {name.removeprefix("sub-") for name in participants}
    here = np.array([name.removeprefix("sub-") for name in table.people.tolist()])
    if unknown := sorted(labels - set(here.tolist())):
        raise DataError(
            f"There is no participant {listed(unknown)}.",
            do="Check --participant-label against participants.tsv.",
            site=table.site,
            file=table.source,
        )
    return np.isin(here, sorted(labels))


def _only(
    blocks: Iterator[tuple[Rows, NDArray[Any]]], chosen: NDArray[np.bool_]
) -> Iterator[tuple[Rows, NDArray[Any]]]:
    """Keep the chosen rows, numbered among themselves."""
    position = np.cumsum(chosen) - 1
    for rows, values in blocks:
        kept = chosen[rows]
        if kept.any():
            yield position[rows][kept], values[kept]
