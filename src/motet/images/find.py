"""Finding a person's images in a BIDS folder, or in a derivative of one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from motet.bids.checks import Place
from motet.bids.description import is_harmonized
from motet.errors import listed, nearest

ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)")
DATATYPES = ("anat", "dwi", "perf")
ENDINGS = (".nii.gz", ".nii")
OF_THE_GRID = ("space", "res", "den")
"""Entities that say on which grid an image lies: those of a mask have to be its image's."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """A BIDS file name, taken apart.

    Attributes
    ----------
    entities : mapping of str to str
        In the order of the name: ``{"sub": "01", "ses": "a", "acq": "mprage"}``.
    suffix : str
        ``T1w``, ``mask`` …
    """

    entities: Mapping[str, str]
    suffix: str

    @classmethod
    def of(cls, file: Path) -> Name | None:
        """The name of an image; None where it is no BIDS name."""
        ending = next((e for e in ENDINGS if file.name.endswith(e)), None)
        if ending is None:
            return None
        *parts, suffix = file.name.removesuffix(ending).split("_")
        found = [ENTITY.fullmatch(part) for part in parts]
        if not suffix or not found or not all(found):
            return None
        return cls(entities={m[1]: m[2] for m in found if m}, suffix=suffix)

    def described(self, desc: str, suffix: str = "", *, resolution: str = "") -> str:
        """The name of a derivative, without ending: ``sub-01_ses-a_res-2mm_desc-nyul_T1w``.

        Parameters
        ----------
        desc, suffix : str
            Suffix: default, its own.
        resolution : str
            Label of the grid where it is not the image's own.
        """
        kept = {key: value for key, value in self.entities.items() if key != "desc"}
        grid = {"res": resolution} if resolution else {}
        parts = [f"{key}-{value}" for key, value in (kept | grid | {"desc": desc}).items()]
        return "_".join([*parts, suffix or self.suffix])


@dataclass(frozen=True, kw_only=True)
class Pick:
    """Which image of a person is meant: one suffix, and entities where there are several.

    Parameters
    ----------
    suffix : str
        ``T1w``, ``T2w``, ``PDw``, ``FLAIR`` …
    entities : mapping of str to str
        ``{"acq": "mprage", "run": "1"}``; an empty value: without this entity.
    """

    suffix: str
    entities: Mapping[str, str]

    def takes(self, name: Name) -> bool:
        """Whether an image is meant."""
        return name.suffix == self.suffix and all(
            name.entities.get(key, "") == value for key, value in self.entities.items()
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """An image of a person."""

    person: str
    session: str
    file: Path
    name: Name


def find_images(folder: Path, people: Sequence[str], pick: Pick, *, site: str) -> list[Found]:
    """Find one image a person and session.

    Parameters
    ----------
    folder : Path
        A BIDS folder: ``sub-*/[ses-*/]anat/``.
    people : sequence of str
        ``participant_id`` of participants.tsv, with or without ``sub-``.
    pick : Pick
    site : str

    Returns
    -------
    list of Found
        In the order of `people`, then of sessions.

    Raises
    ------
    DataError
        Names people without an image, and a person of whom several fit.
    """
    found: list[Found] = []
    without = []
    for person in people:
        own = sorted(_of_person(folder, person, pick), key=lambda image: image.session)
        if not own:
            without.append(person)
        for before, image in itertools.pairwise(own):
            if before.session == image.session:
                _refuse_several(before, image, site)
        found += own
    if without:
        there = sorted(
            {name.suffix for name in _names(folder, without[0]) if name.suffix != "mask"}
        )
        raise Place(site=site, file=folder).error(
            f"{listed(without)} {'has' if len(without) == 1 else 'have'} no {_said(pick)}.",
            do=(f"There is {listed(there)}. " if there else "")
            + _nearest(pick, there)
            + " Take these people out of participants.tsv, or add their images: "
            f"sub-*/[ses-*/]anat/*_{pick.suffix}.nii.gz.",
            person=without[0],
        )
    return found


def find_seconds(folder: Path, found: Sequence[Found], pick: Pick, *, site: str) -> list[Found]:
    """Find the image of a second contrast of every image, in their order.

    Raises
    ------
    DataError
        Names people without one, and what to do where a site has none of this contrast.
    """
    seconds, without = [], []
    for one in found:
        own = [i for i in _of_person(folder, one.person, pick) if i.session == one.session]
        for before, image in itertools.pairwise(own):
            _refuse_several(before, image, site)
        if own:
            seconds.append(own[0])
        else:
            without.append(one.person)
    if without:
        raise Place(site=site, file=folder).error(
            f"{listed(without)} {'has' if len(without) == 1 else 'have'} no {_said(pick)} beside "
            f"{found[0].name.suffix}, and the study takes both of everybody.",
            do="Take these people out of participants.tsv; or train on "
            f"{found[0].name.suffix} alone, at all sites (single-contrast mode: params.second: '' "
            "in the study). A model that was trained on both needs both of everybody.",
            person=without[0],
        )
    return seconds


def find_mask(folder: Path, image: Found) -> Path | None:
    """The mask of an image: beside it, or in ``derivatives/*/``; None where there is none.

    It is called as the image, with ``desc-brain`` or no description and the suffix ``mask``; one
    of several acquisitions or runs may do without these.
    """
    inside = image.file.parent.relative_to(folder)
    # A mask that Motet wrote is one it was given, or a threshold: neither is a source.
    derived = [d for d in sorted(folder.glob("derivatives/*")) if not is_harmonized(d)]
    places = [image.file.parent, *(d / inside for d in derived)]
    fitting = [
        (len(name.entities), file)
        for place in places
        for file in sorted(place.glob("*_mask.nii*"))
        if (name := Name.of(file)) is not None and _masks(name, image.name)
    ]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _masks(mask: Name, image: Name) -> bool:
    own = {key: value for key, value in mask.entities.items() if key != "desc"}
    return (
        mask.entities.get("desc", "brain") == "brain"
        and own.items() <= image.entities.items()
        and all(own.get(key) == image.entities.get(key) for key in OF_THE_GRID)
    )


def _names(folder: Path, person: str) -> Iterable[Name]:
    """Names of all images of a person."""
    home = folder / f"sub-{person.removeprefix('sub-')}"
    return (name for file in home.rglob("*.nii*") if (name := Name.of(file)) is not None)


def _of_person(folder: Path, person: str, pick: Pick) -> Iterable[Found]:
    label = person.removeprefix("sub-")
    home = folder / f"sub-{label}"
    homes = (home, *sorted(home.glob("ses-*")))
    for place in (visit / datatype for visit in homes for datatype in DATATYPES):
        for file in sorted(place.glob(f"*_{pick.suffix}.nii*")):
            name = Name.of(file)
            if name is not None and pick.takes(name) and name.entities.get("sub") == label:
                session = name.entities.get("ses", "")
                yield Found(person=person, session=session, file=file, name=name)


def _refuse_several(one: Found, other: Found, site: str) -> None:
    differ = sorted(
        key
        for key in {*one.name.entities, *other.name.entities}
        if one.name.entities.get(key) != other.name.entities.get(key)
    )
    example = differ[0] if differ else "run"
    raise Place(site=site, file=one.file).error(
        f"{one.person} has several {one.name.suffix} images: {one.file.name} and "
        f"{other.file.name}.",
        do=f"Say in the study file which one is meant, e.g. {example}: "
        f"'{one.name.entities.get(example, '')}'.",
        person=one.person,
    )


def _nearest(pick: Pick, there: Sequence[str]) -> str:
    """The suffix that may have been meant, or that it is the entities that nobody has."""
    if pick.suffix in there:
        return "Compare params.entities with the names of the files."
    return nearest(pick.suffix, there)


def _said(pick: Pick) -> str:
    wanted = ", ".join(f"{key}-{value}" for key, value in pick.entities.items() if value)
    return f"{pick.suffix} image{f' with {wanted}' if wanted else ''}"
