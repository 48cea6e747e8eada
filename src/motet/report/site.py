"""The site report: densities and people of one hospital. It stays there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.images.images import Images
from motet.report.page import render, write_page
from motet.report.site_figures import site_figures
from motet.report.site_images import Pictures, pictures
from motet.report.site_ledger import read_ledger
from motet.report.site_numbers import changes, in_units_of
from motet.report.site_pages import BEGINS, ENDS
from motet.report.site_people import people_tables
from motet.report.site_targets import targets
from motet.report.training import own_losses
from motet.report.words import number
from motet.report.worst import largest
from motet.store import OWNER, load_model
from motet.version import __version__


def write(
    folder: Path,
    *,
    raw: Table,
    harmonized: NDArray[np.float64],
    fit: NDArray[np.bool_],
    about: Mapping[str, Any],
    warnings: Sequence[str],
    ledger: Path | None = None,
) -> Path:
    """Write ``report.html``, readable by its owner only; see the package's function."""
    model, batches = _model(folder / "model")
    before = in_units_of(raw, harmonized)
    found = changes(before, harmonized)
    text = render(
        "site.html",
        begins=BEGINS,
        ends=ENDS,
        motet=__version__,
        site=raw.site,
        about=about,
        rows=len(raw),
        people=len(set(raw.people.tolist())),
        batches=raw.batches,
        in_fit=int(fit.sum()),
        tables=people_tables(raw, fit, found),
        figures=site_figures(before, harmonized, found, model, batches),
        pictures=_pictures(raw, folder / "harmonized", str(about.get("method", ""))),
        targets=targets(folder),
        losses=own_losses(folder, raw.site),
        most=tuple(
            (raw.features[j], f"{number(found.of_feature[j])} sd")
            for j in largest(found.of_feature)
        ),
        median_change=_median(found.of_person),
        ledger=read_ledger(ledger or folder / "ledger.sqlite", study=str(about.get("study", ""))),
        warnings=tuple(warnings),
        provenance=tuple(
            (what, str(about[key]))
            for key, what in (
                ("study", "study"),
                ("method", "method"),
                ("plan", "plan, SHA-256"),
                ("model", "shared model, SHA-256"),
                ("motet", "Motet"),
            )
            if about.get(key)
        ),
    )
    return write_page(folder / "report.html", text, readable_by=OWNER)


def _pictures(raw: Table, folder: Path, method: str) -> Pictures:
    """Slices and tissues where the site has images."""
    return pictures(raw, folder, method) if isinstance(raw, Images) else Pictures()


def _model(folder: Path) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Arrays and batches of the site model; nothing where it keeps none."""
    if not (folder / "manifest.json").is_file():
        return {}, ()
    arrays, document, _ = load_model(folder)
    return arrays, tuple(map(str, document.get("batches", ())))


def _median(values: NDArray[np.float64]) -> str:
    seen = values[np.isfinite(values)]
    return f"{number(float(np.median(seen)))} sd" if len(seen) else "–"
