"""dataset_description.json of the BIDS datasets that Motet writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from motet.store import write_json
from motet.version import __version__

BIDS_VERSION = "1.10.0"
NAME = "Motet"
SOURCE = "source"
"""Name of the input dataset in BIDS URIs: ``bids:source:features.tsv``."""


def write_description(
    folder: Path, *, name: str, by: str, description: str, source: Path | None = None
) -> None:
    """Write dataset_description.json of a derivative.

    Parameters
    ----------
    folder : Path
    name : str
        Of the dataset.
    by : str
        What made it: ``"Motet"`` for harmonized data.
    description : str
        What `by` did, in a sentence.
    source : Path, optional
        The dataset it was made from.
    """
    document: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": by, "Version": __version__, "Description": description}],
    }
    if source is not None:
        document["SourceDatasets"] = [{"URL": source.resolve().as_uri()}]
        document["DatasetLinks"] = {SOURCE: source.resolve().as_uri()}
    write_json(folder / "dataset_description.json", document)
    # The measures are not (yet) a BIDS file type; the validator is told to pass over them.
    (folder / ".bidsignore").write_text("features.*\n", encoding="utf-8")


def is_harmonized(folder: Path, *, of: str = "") -> bool:
    """Whether a folder is a derivative that Motet wrote, and `of` a site where that is given."""
    try:
        document = json.loads((folder / "dataset_description.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(document, dict) or document.get("DatasetType") != "derivative":
        return False
    if of and not str(document.get("Name", "")).startswith(f"{of}, harmonized"):
        return False
    made_by = document.get("GeneratedBy")
    return isinstance(made_by, list) and any(
        isinstance(entry, dict) and entry.get("Name") == NAME for entry in made_by
    )
