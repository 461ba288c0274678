"""The files of a data set with their sizes and checksums."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stores.cgcnn_folder import ALL_TARGETS
from stores.learning.snapshot_rows import CHECKSUMS_FILE, DATA_FILE, RECORDS_FILE
from workflows.publication import left_out
from workflows.publication.files import CGCNN_FOLDER, CSV_FILE, OPTIMADE_FILE, XYZ_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DATASHEET = "datasheet.md"
CITATION = "CITATION.cff"
LICENCE = "LICENSE.txt"
CROISSANT = "croissant.json"
RO_CRATE = "ro-crate-metadata.json"
FAULTS = "known_faults.csv"
MODEL_FOLDER = "model"

WORDS = {
    DATA_FILE: ("application/vnd.apache.parquet", "All values and structures, a row for each entry"),
    CSV_FILE: ("text/csv", "The same without structures and without columns that are empty"),
    XYZ_FILE: ("chemical/x-xyz", "Structures with their values, as extended XYZ"),
    OPTIMADE_FILE: ("application/jsonl", "Structures with their values, as OPTIMADE JSON lines"),
    f"{CGCNN_FOLDER}/": (
        "text/csv",
        f"A CIF for each structure and tables of targets ({ALL_TARGETS}), for CGCNN",
    ),
    RECORDS_FILE: ("application/gzip", "Whole records with everything that enters the values, as JSON lines"),
    left_out.FILE: ("text/csv", "Values that are not in the data set, with the reasons"),
    FAULTS: ("text/csv", "Values of the data set that were rejected after the snapshot was made"),
    DATASHEET: ("text/markdown", "Datasheet: motivation, composition, collection, uses"),
    CITATION: ("text/yaml", "How to cite the data set, in the Citation File Format"),
    LICENCE: ("text/plain", "Licence"),
    CROISSANT: ("application/ld+json", "Croissant metadata"),
    RO_CRATE: ("application/ld+json", "RO-Crate metadata"),
    f"{MODEL_FOLDER}/": ("application/octet-stream", "Weights of a model and its card"),
}
"""Media type and contents of each file or folder."""


@dataclass(frozen=True)
class Listed:
    """A file: its name from the data set's folder, size (bytes) and SHA-256."""

    name: str
    size: int
    sha256: str


def listed(folder: Path, name: str) -> Listed:
    """Return a file of the folder with its checksum."""
    path = folder / name
    with path.open("rb") as file:
        return Listed(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write_checksums(folder: Path, known: Mapping[str, str]) -> None:
    """Write the checksums of all files, those that are `known` and others, as ``sha256sum -c`` reads them."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = (f"{known.get(name) or listed(folder, name).sha256}  {name}\n" for name in names)
    text = "".join(lines)
    (folder / CHECKSUMS_FILE).write_text(text, encoding="utf-8")


def present(folder: Path, names: Iterable[str] = WORDS) -> list[str]:
    """Return those of the files and folders that are there; the names of folders end in a slash."""
    return [name for name in names if (folder / name).exists()]
