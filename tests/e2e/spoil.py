"""Ways to spoil a site's files: functions of the folder that ``consortium`` wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

Spoil = Callable[[Path], object]


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "data" / name, sep="\t", dtype="str", keep_default_na=False)


def put(folder: Path, name: str, frame: pd.DataFrame) -> None:
    frame.to_csv(folder / "data" / name, sep="\t", index=False)


def drop_row(name: str, row: int) -> Spoil:
    return lambda folder: put(folder, name, table(folder, name).drop(index=row))


def repeat_row(name: str, row: int) -> Spoil:
    def spoil(folder: Path) -> None:
        frame = table(folder, name)
        put(folder, name, pd.concat([frame, frame.iloc[[row]]]))

    return spoil


def cell(name: str, row: int, column: str, value: str) -> Spoil:
    def spoil(folder: Path) -> None:
        frame = table(folder, name)
        frame.loc[row, column] = value
        put(folder, name, frame)

    return spoil


def column(sites: str, name: str, value: Callable[[pd.DataFrame], object]) -> Spoil:
    """Give participants.tsv of some sites a column."""

    def spoil(folder: Path) -> None:
        for site in sites.split():
            frame = table(folder, f"{site}/participants.tsv")
            put(folder, f"{site}/participants.tsv", frame.assign(**{name: value(frame)}))

    return spoil


def without(name: str, gone: str) -> Spoil:
    return lambda folder: put(folder, name, table(folder, name).drop(columns=gone))


def in_order(name: str, columns: list[str]) -> Spoil:
    return lambda folder: put(folder, name, table(folder, name)[["participant_id", *columns]])


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def remove(name: str) -> Spoil:
    return lambda folder: (folder / "data" / name).unlink()
