"""Write a harmonized table as a BIDS derivative, in the form of the input."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.bids.checks import Place, check_finite
from motet.bids.description import NAME, SOURCE, is_harmonized, write_description
from motet.bids.features import PERSON, SESSION
from motet.bids.folder import complete_folder
from motet.bids.joining import check_joinable, keep_others, one_at_a_time
from motet.bids.sessions import file_of
from motet.bids.table import Table
from motet.bids.tsv import exact, write_text
from motet.errors import OutputFolderError, listed
from motet.store import write_json
from motet.version import __version__

README = """{title}
{line}
The measures of the people in participants.tsv, harmonized by Motet {version}: features.{form}.
features.json says with which method, in which study, and from what.
"""


class DerivativeWriter:
    """Write harmonized values, some people at a time; a context manager.

    The folder appears under its name when the block ends without an error, and replaces an
    earlier derivative of Motet; anything else there is left alone.

    Parameters
    ----------
    folder : Path
        Where the derivative goes.
    like : Table
        The input: its people, sessions, features and units, and the form (tsv or npy; a table
        from memory is written as tsv).
    description : mapping
        What the sidecar features.json says: ``method``, ``study``, ``plan_hash``,
        ``model_hash`` … Plain JSON. ``Sources`` is added where it is not given.
    others : {"replaced", "kept"}
        What becomes of people whom an earlier run wrote there. They are kept only where they were
        harmonized with the same model, as tsv; several runs may write at a time.

    Raises
    ------
    OutputFolderError
        The folder holds something else, is or holds the input, or cannot be written.

    Examples
    --------
    >>> with DerivativeWriter(out, table, description={"method": "combat"}) as writer:
    ...     writer.write(slice(0, 2), table.rows_block(slice(0, 2)))  # doctest: +SKIP
    """

    what: ClassVar[str] = "measures"
    readme: ClassVar[str] = README

    def __init__(
        self,
        folder: Path,
        like: Table,
        *,
        description: Mapping[str, Any],
        others: Literal["replaced", "kept"] = "replaced",
    ) -> None:
        self.folder, self.like, self.description = Path(folder), like, dict(description)
        self._others = others
        self._done = np.zeros(len(like), dtype=np.bool_)
        self._place = Place(site=like.site, file=self.folder)
        self._building: AbstractContextManager[Path] | None = None

    def __enter__(self) -> Self:
        self._refuse_the_input()
        if self._others == "kept":
            check_joinable(self.folder, self.description, source=self.like.source)
        self._building = complete_folder(self.folder, may_replace=self._is_earlier)
        self._partial = self._building.__enter__()
        try:
            self._values = self._opened()
        except BaseException as error:
            self._building.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def write(self, rows: slice | NDArray[np.intp], block: NDArray[np.float64]) -> None:
        """Write the values of some people.

        Parameters
        ----------
        rows : slice or (r,) int
            Positions among the rows of the input table.
        block : (r, p) float64
            NaN where missing.
        """
        index = np.arange(len(self.like))[rows]
        features = self.like.features
        block = np.asarray(block)
        if block.shape != (len(index), len(features)):
            raise ValueError(
                f"The block has shape {block.shape} instead of {(len(index), len(features))}."
            )
        check_finite(
            block,
            None,
            who=lambda row: self.like.who(int(index[row])),
            features=features,
            place=self._place,
        )
        self._values[rows] = block
        self._done[rows] = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._others == "kept":
            with one_at_a_time(self.folder):
                self._end(kind, error, trace)
        else:
            self._end(kind, error, trace)

    def _end(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._building is not None
        if error is None:
            try:
                self._finish()
                if self._others == "kept":
                    check_joinable(self.folder, self.description, source=self.like.source)
                    keep_others(self._partial, self.folder, set(self.like.people.tolist()))
            except BaseException as failed:
                self._release()
                self._building.__exit__(type(failed), failed, failed.__traceback__)
                raise
        self._release()
        self._building.__exit__(kind, error, trace)

    def _is_earlier(self, folder: Path) -> bool:
        """Whether a folder is what this writer wrote before, not another site's result."""
        return is_harmonized(folder, of=self.like.site)

    @property
    def _form(self) -> str:
        return "npy" if self.like.form == "npy" else "tsv"

    def _opened(self) -> NDArray[np.float64]:
        shape = (len(self.like), len(self.like.features))
        if self._form == "tsv":
            return np.empty(shape)
        return np.lib.format.open_memmap(
            self._partial / "features.npy", mode="w+", dtype=np.dtype("<f8"), shape=shape
        )

    def _release(self) -> None:
        if isinstance(self._values, np.memmap):
            self._values.flush()
        # Drops the memory map, so that the file is closed before the folder is renamed.
        self._values = np.empty((0, 0))

    def _refuse_the_input(self) -> None:
        source = self.like.source
        if source is None:
            return
        target = self.folder.resolve()
        if target == source.resolve() or target in source.resolve().parents:
            raise OutputFolderError(
                "This is the folder of the input, or holds it.",
                do="Name another folder for the harmonized data.",
                site=self.like.site,
                file=self.folder,
            )

    def _finish(self) -> None:
        if not self._done.all():
            missing = [self.like.who(int(row)) for row in np.flatnonzero(~self._done)]
            raise ValueError(f"These people were not written: {listed(missing)}.")
        like, partial = self.like, self._partial
        if self._form == "tsv":
            write_text(partial / "features.tsv", self._header(), self._rows())
        write_json(partial / "features.json", self._sidecar())
        participants = participants_of(like)
        write_text(
            partial / "participants.tsv",
            list(participants.columns),
            participants.itertuples(index=False, name=None),
        )
        if like.source is not None and (like.source / "participants.json").is_file():
            shutil.copyfile(like.source / "participants.json", partial / "participants.json")
        method = str(self.description.get("method", ""))
        write_description(
            partial,
            name=f"{like.site}, harmonized{f' with {method}' if method else ''}",
            by=NAME,
            description=f"Harmonized {self.what}{f' ({method})' if method else ''}.",
            source=like.source,
        )
        for person in participants[PERSON]:
            # A dataset lists only participants that have a folder in it, says the BIDS validator.
            if re.fullmatch(r"sub-[0-9A-Za-z+]+", person):
                (partial / person).mkdir(exist_ok=True)
            # participants.tsv may leave the batches of sessions to it.
            listed_in = file_of(person)
            if like.source is not None and (like.source / listed_in).is_file():
                (partial / listed_in).parent.mkdir(exist_ok=True)
                shutil.copyfile(like.source / listed_in, partial / listed_in)
        title = f"Harmonized {self.what} of {like.site}"
        (partial / "README").write_text(
            self.readme.format(
                title=title, line="=" * len(title), version=__version__, form=self._form
            ),
            encoding="utf-8",
        )

    def _sources(self) -> list[str]:
        """What the values were made from, as BIDS URIs."""
        return [f"bids:{SOURCE}:features.{self._form}", f"bids:{SOURCE}:participants.tsv"]

    def _header(self) -> list[str]:
        return [PERSON, *([SESSION] if self.like.sessions is not None else []), *self.like.features]

    def _rows(self) -> Iterable[list[str]]:
        for i in range(len(self.like)):
            row = [str(self.like.people[i])]
            if self.like.sessions is not None:
                row.append(str(self.like.sessions[i]))
            yield row + [exact(value) for value in self._values[i].tolist()]

    def _sidecar(self) -> dict[str, Any]:
        document = dict(self.description)
        if self.like.source is not None:
            document.setdefault("Sources", self._sources())
        units = {
            name: unit
            for name, unit in zip(self.like.features, self.like.units, strict=True)
            if unit
        }
        if self._form == "npy":
            return document | {"features": list(self.like.features), "units": units}
        # A feature that is called like a key of the description wins: readers look for units.
        return document | {
            name: {"Units": units[name]} if name in units else {} for name in self.like.features
        }


def participants_of(table: Table) -> pd.DataFrame:
    """Return participants.tsv of the people of a table, as text, one row a person.

    What was read is kept as it was; for a table from memory it is made of covariates and batch,
    without columns that differ between the sessions of a person.
    """
    here = list(dict.fromkeys(table.people.tolist()))
    if len(table.participants.columns):
        return table.participants[table.participants[PERSON].isin(here)]
    frame = table.covariates.astype(object).map(
        lambda value: exact(value) if isinstance(value, float) else str(value)
    )
    frame = frame.assign(scanner=table.batch)
    varying = [
        name for name in frame.columns if int(frame[name].groupby(table.people).nunique().max()) > 1
    ]
    frame = frame.drop(columns=varying)
    frame.insert(0, PERSON, table.people)
    return frame.drop_duplicates(PERSON)
