"""Arrays and metadata on disk: atomic, without pickle, with a content hash.

The hash is SHA-256 over sorted (name, dtype, shape, little-endian bytes) and canonical JSON; never
over a file, since an npz file holds time stamps.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import ModelError
from motet.releases import Arrays

FORMAT = "motet-model"
VERSION = 1


def canonical_json(document: Any) -> str:
    """JSON with sorted keys and no spaces: one text for one content."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def json_hash(document: Any) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def little_endian(array: NDArray[Any]) -> NDArray[Any]:
    """The same values, C-contiguous and little-endian."""
    # ascontiguousarray alone would make a number without dimensions an array of one.
    contiguous = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return contiguous.reshape(array.shape)


def content_hash(arrays: Arrays, document: Any) -> str:
    """SHA-256 over sorted (name, dtype, shape, bytes) and the canonical JSON of `document`."""
    return bytes_hash(arrays, canonical_json(document))


def bytes_hash(arrays: Arrays, text: str) -> str:
    """SHA-256 over sorted (name, dtype, shape, bytes) and a text."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\x1f{array.dtype.name}\x1f{array.shape}\x1e".encode())
        digest.update(little_endian(array).reshape(-1).view(np.uint8).data)
    digest.update(text.encode())
    return digest.hexdigest()


PARTIAL = ".partial"
"""End of the name of a file that is being written; after a crash it is of no use."""


def sweep(*folders: Path) -> None:
    """Remove what killed processes left half-written below these folders."""
    for folder in folders:
        for partial in folder.rglob(f"*{PARTIAL}"):
            if partial.is_file():  # a study may be called so, and has a folder
                partial.unlink(missing_ok=True)


EVERYBODY, OWNER = 0o644, 0o600
"""Who may read a file: what is published, and what is a site's own."""


@contextmanager
def atomic(path: Path, mode: str = "w", *, readable_by: int = EVERYBODY) -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when it is complete and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, readable_by)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, document: Any) -> None:
    """Write indented JSON atomically."""
    with atomic(path) as stream:
        json.dump(document, stream, indent=2, ensure_ascii=False, allow_nan=False)
        stream.write("\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a :class:`ModelError` names the file when that fails."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError("The file is missing.", file=path) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ModelError(f"The file is not valid JSON: {error}.", file=path) from error


def noted(path: Path) -> dict[str, Any]:
    """What a process noted in a JSON file; empty where it is missing or cannot be read."""
    try:
        return dict(read_json(path))
    except (ModelError, OSError, TypeError, ValueError):
        return {}


def write_arrays(path: Path, arrays: Arrays, *, readable_by: int = EVERYBODY) -> None:
    """Write an npz file atomically, members in sorted order, never a pickle."""
    with atomic(path, "wb", readable_by=readable_by) as stream:
        # The parameter names of savez are taken by members called "file" or "allow_pickle";
        # methods have no reason to use those names.
        members: dict[str, Any] = {name: little_endian(arrays[name]) for name in sorted(arrays)}
        np.savez(stream, allow_pickle=False, **members)


DAMAGED = (
    ValueError,
    TypeError,
    AttributeError,
    OSError,
    EOFError,
    KeyError,
    RuntimeError,  # NotImplementedError too: a flipped bit can name another compression
    SyntaxError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise for a file that is not what it seems."""


HEADERS = threading.Lock()
"""NumPy reads a header by ``ast.literal_eval``, whose depth CPython 3.11 counts for all threads
together (compare gh-106905; seen with 3.11.7): two at once can end in a SystemError. Simulated
sites are threads."""


def load_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Read an npy file without pickle.

    Parameters
    ----------
    path : Path
    mapped : bool
        Leave the numbers on disk, to be read when they are asked for and never written.

    Raises
    ------
    OSError, EOFError, ValueError
        As numpy says it: what to do about it is known to who asks.
    """
    with HEADERS:
        found: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    return found


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an npz file without pickle."""
    try:
        # Opened here: np.load leaves a file open that it finds to be damaged.
        with (
            path.open("rb") as stream,
            HEADERS,
            np.load(stream, allow_pickle=False) as archive,
        ):
            members = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise ModelError("The file is missing.", file=path) from error
    except DAMAGED as error:
        raise ModelError(f"The arrays cannot be read ({error}).", file=path) from error
    if not all(isinstance(member, np.ndarray) for member in members.values()):
        raise ModelError("A member is not an array: the file was damaged.", file=path)
    return members


def save_model(folder: Path, arrays: Arrays, document: Mapping[str, Any]) -> str:
    """Write ``model.npz`` and ``manifest.json``; return the content hash.

    Parameters
    ----------
    folder : Path
    arrays : mapping of str to ndarray
    document : mapping
        What the arrays belong to (method, params, schema, plan). No times, paths or host names.
    """
    digest = content_hash(arrays, document)
    write_arrays(folder / "model.npz", arrays)
    write_json(
        folder / "manifest.json",
        {
            "format": FORMAT,
            "version": VERSION,
            "sha256": digest,
            "arrays": {
                name: {"dtype": array.dtype.name, "shape": list(array.shape)}
                for name, array in sorted(arrays.items())
            },
            "document": dict(document),
        },
    )
    return digest


def load_model(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any], str]:
    """Read a model folder and check its hash.

    Returns
    -------
    arrays, document, sha256

    Raises
    ------
    ModelError
        When a file is missing, corrupt, or does not have the hash that the manifest states.
    """
    if not (folder / "manifest.json").is_file():
        raise ModelError(
            "There is no model here: manifest.json is missing.",
            do="Name the folder that 'motet simulate --out' wrote, or its shared/ folder.",
            file=folder,
        )
    manifest = read_json(folder / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelError("This is not the manifest of a Motet model.", file=folder)
    if manifest.get("version") != VERSION:
        raise ModelError(
            f"The model has format version {manifest.get('version')}; this package reads "
            f"version {VERSION}.",
            do="Use the version of Motet that wrote it.",
            file=folder,
        )
    arrays = read_arrays(folder / "model.npz")
    document = manifest.get("document")
    if not isinstance(document, dict):
        raise ModelError("The manifest does not say what the model belongs to.", file=folder)
    digest = content_hash(arrays, document)
    if digest != manifest.get("sha256"):
        raise ModelError(
            "The model does not have the SHA-256 that its manifest states: a file was damaged "
            "or edited.",
            do="Copy the model again from where it was made.",
            file=folder,
        )
    return arrays, document, digest
