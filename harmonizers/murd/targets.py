"""Styles that people are brought to: a batch's, the mean of all, or that of a scan at hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from motet.bids.checks import Place
from motet.errors import ModelError, StudyFileError, listed
from motet.harmonizer import SiteModel
from motet.harmonizers._images.at_hand import OR_MEAN, are_images, read_at_hand
from motet.harmonizers._linear.options import named_batch
from motet.harmonizers.murd.params import MurdParams
from motet.harmonizers.murd.sizes import BATCHED
from motet.harmonizers.murd.slices import level
from motet.harmonizers.murd.training import NAME, train_phase
from motet.harmonizers.murd.volumes import triplets
from motet.images.cache import check_fits
from motet.releases import Arrays
from motet.schema import Batch, Schema
from motet.site import draw

if TYPE_CHECKING:
    from motet.harmonizers.murd.networks import Murd

Float = NDArray[np.float64]
MANY = 1000
"""Codes whose mean is a batch's middle appearance."""
CUT = 2.0
"""No number of z is further from 0."""
MEAN = "mean"
"""Of all batches, unless one is called so."""
OWN = "heads"
"""First part of the names of heads that a site trained for itself."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """How people are to look.

    Attributes
    ----------
    style : (style,) float64
    level : float
        The intensity that a brain's 99.5th percentile gets, native units.
    """

    style: Float
    level: float


def appearance(k: int, size: int) -> Float:
    """Noise of a batch's appearance, (1, size), of a truncated normal; of 0 much, (MANY, size).

    The mean of many codes is a batch's middle, as StyleGAN's truncation has it: the code of z = 0
    is not, networks being no lines.
    """
    low, high = ndtr(-CUT), ndtr(CUT)
    drawn = draw(k, "appearance", "").uniform(size=(1 if k else MANY, size))
    return np.asarray(ndtri(low + (high - low) * drawn))


@dataclass(frozen=True, kw_only=True)
class Named:
    """A target as it is named: a batch, one of its appearances, or a scan of it.

    Attributes
    ----------
    batch : str
    image : Path, optional
    appearance : int, optional
        Default: the study's.
    """

    batch: str
    image: Path | None = None
    appearance: int | None = None


def parsed(to: str, known: Collection[str] = ()) -> Named:
    """What ``ash``, ``ash=2`` or ``ash=sub-ref_T1w.nii.gz`` names.

    Parameters
    ----------
    to : str
    known : collection of str
        Names of batches: one may have a ``=``.

    Raises
    ------
    ModelError
        When a file is named and no batch: the style encoder has a head for each; or what is named
        of a batch is none of these.
    """
    if to in known:
        return Named(batch=to)
    batch, found, which = (word.strip() for word in to.partition("="))
    if found and not batch:
        raise ModelError(
            f"'{to}' names no batch before '='.", do="Write BATCH, BATCH=2 or BATCH=IMAGE.nii.gz."
        )
    if found and batch == MEAN and batch not in known and not which.isdecimal():
        raise ModelError(
            f"'{to}': the mean of all scanners is no scanner, whose scan an image could be.",
            do="Write 'mean', 'mean=2' for the mean of their second appearances, or BATCH=IMAGE.",
        )
    if found and are_images(which):
        return Named(batch=batch, image=Path(which))
    if found and which.isdecimal():
        return Named(batch=batch, appearance=int(which))
    if are_images(to):
        raise ModelError(
            "Say whose scan the reference image is: the style encoder has a head for every batch.",
            do=f"Write BATCH={to}.",
        )
    if found:
        raise ModelError(
            f"'{which}' is neither the number of an appearance nor an image (*.nii, *.nii.gz).",
            do=f"Write {batch}, {batch}=2 for its second appearance, or {batch}=IMAGE.nii.gz.",
        )
    return Named(batch=to)


def check_in_a_study(params: MurdParams, schema: Schema) -> None:
    """Refuse a target that no site could reach, before anybody trains.

    Raises
    ------
    StudyFileError
    """
    if params.to is None:
        return
    if are_images(params.to):
        raise StudyFileError(
            "A reference image is at one place, and the study's target is read at every site.",
            do="Name a batch here; with the finished model: motet apply --to BATCH=IMAGE.",
            key="params.to",
        )
    batch, found, which = params.to.partition("=")
    if found and which.strip().isdecimal() and params.to not in names_of(schema):
        whose, k = batch.strip(), which.strip()
        of = "" if whose == MEAN and MEAN not in names_of(schema) else f"to: {whose}, "
        raise StudyFileError(
            "A study's target is a batch, or without 'to' the mean of all, and 'appearance' which "
            "of its appearances.",
            do=f"Write params: {{{of}appearance: {k}}}.",
            key="params.to",
        )
    named_batch(params.to, schema, key="params.to", or_else=OR_MEAN)


def of_batches(schema: Schema, site: str, batches: Sequence[str]) -> Schema:
    """The schema with a site's batches in the place of the study's."""
    return replace(schema, batches=tuple(Batch(site, name) for name in batches))


def networks_of(
    params: MurdParams, schema: Schema, shared: Arrays, heads: Mapping[str, Any]
) -> Murd:
    """The finished networks, with the study's heads or a site's own."""
    import torch

    from motet.training.networks import trained

    own = {f"{NAME}.{name}": heads[f"{OWN}.{name}"] for name in BATCHED} if heads else {}
    networks: Murd = trained(train_phase(params, schema), schema.sizes, {**shared, **own})
    if params.train.precision != "float64":
        networks.to(torch.float32)
    return networks


def target_of(
    params: MurdParams, schema: Schema, shared: Arrays, model: SiteModel, networks: Murd
) -> Target:
    """The target that the parameters name.

    Parameters
    ----------
    model : SiteModel
        Of the site whose people are harmonized: its own heads are targets, too.
    networks : Murd
        With the study's heads.

    Raises
    ------
    StudyFileError
        When there is no such batch.
    ModelError, DataError
        When there was nobody of it in the fit, or a reference image cannot be read.
    """
    known = names_of(schema) | _own(model, schema)
    named = None if params.to is None else parsed(params.to, known)
    name = None if named is None else named.batch
    if name == MEAN and MEAN not in known:
        name = None
    levels = shared["level"]
    if name in _own(model, schema):
        own = of_batches(schema, model.site, model.batches)
        networks = networks_of(params, own, shared, model.arrays)
        levels, schema = model.arrays[f"{OWN}.level"], own
    chosen = named_batch(name, schema, key="params.to")
    numbers = [k for k, batch in enumerate(schema.batches) if chosen in (None, batch)]
    if named is not None and named.image is not None:
        return _of_image(named.image, params, networks, numbers[0])
    there = [k for k in numbers if levels[k] > 0]
    if not there:
        raise ModelError(
            f"Nobody of '{chosen}' was in the fit, so how it looks is not known.",
            do="Choose another target.",
        )
    told = None if named is None else named.appearance
    z = appearance(params.appearance if told is None else told, params.sizes.noise)
    styles = [_style(networks, z, k) for k in there]
    return Target(style=np.mean(styles, axis=0), level=float(np.mean([levels[k] for k in there])))


def names_of(schema: Schema) -> set[str]:
    """What its batches can be called."""
    return {word for b in schema.batches for word in (str(b), b.name, b.site)}


def _own(model: SiteModel, schema: Schema) -> set[str]:
    """Names of batches that the site trained heads for."""
    if f"{OWN}.level" not in model.arrays:
        return set()
    return names_of(of_batches(schema, model.site, model.batches))


def _style(networks: Murd, z: Float, batch: int) -> Float:
    """Mean code of a batch, (style,)."""
    import torch

    dtype = next(networks.parameters()).dtype
    with torch.no_grad():
        found = networks.style_of(torch.from_numpy(z).to(dtype), torch.full((len(z),), batch))
    return np.asarray(found.to(torch.float64).mean(dim=0).numpy())


def _of_image(file: Path, params: MurdParams, networks: Murd, batch: int) -> Target:
    """The mean style of a reference image's slices, by a batch's head; and its level."""
    import torch

    from motet.harmonizers.murd.losses import seen
    from motet.training.device import steady

    place, image = Place(file=file), read_at_hand(file, params.contrast)
    plane = params.planes[0]
    check_fits(image, planes=(plane,), size=params.pixels, place=place, person="")
    bright = level(image)
    x, brain = triplets(image, bright, plane, params.pixels, place)
    area = brain.sum(axis=(1, 2, 3))
    shown = x[area >= 0.5 * area.max()]
    dtype = next(networks.parameters()).dtype
    with torch.no_grad(), steady(params.train.threads):
        given = seen(torch.from_numpy(shown)).to(dtype)
        codes = networks.style(given, torch.full((len(given),), batch))
    return Target(style=codes.to(torch.float64).numpy().mean(axis=0), level=bright)


def known(to: str, schema: Schema) -> bool:
    """Whether a target is of the study.

    Raises
    ------
    StudyFileError
        When it can mean several of the study's batches.
    """
    names = names_of(schema)
    name = parsed(to, names).batch
    if name not in names:
        return False
    named_batch(name, schema, key="params.to")
    return True


def check_own(to: str, own: Schema, schema: Schema) -> None:
    """Refuse a target that is neither of the study nor of the site.

    Raises
    ------
    StudyFileError
    """
    try:
        named_batch(to, own, key="params.to")
    except StudyFileError as error:
        raise StudyFileError(
            f"The batch '{to}' is neither among those of the study nor among the site's own.",
            do=f"The study's: {listed([str(b) for b in schema.batches], at_most=24)}; "
            f"the site's: {listed([str(b) for b in own.batches], at_most=24)}.",
            key="params.to",
        ) from error
