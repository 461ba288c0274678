"""The formats of `stores.export`: each writer takes records to a path and returns how many it wrote."""

from __future__ import annotations

import csv
import re
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, StoreError
from stores.imported import ImportedSurface
from stores.records import SurfaceRecord, VerdictStatus

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

Writer = Callable[..., int]
Exportable = SurfaceRecord | ImportedSurface

# fields that mean nothing once the value they belong to is rejected
_OF_SURFACE_ENERGY = ("surface_energy", "surface_energy_x_rich", "surface_energy_slope")
_OF_WORK_FUNCTION = ("work_function", "work_function_sides")

CSV_COLUMNS = (
    "id", "formula", "chemsys", "h", "k", "l", "termination", "termination_label", "surface_energy",
    "surface_energy_x_rich", "work_function", "surface_energy_verdict", "work_function_verdict", "n_atoms",
    "n_layers", "thickness", "area", "spacegroup_number", "method_fingerprint", "campaign", "bulk_id",
    "created_at", "source", "source_id",
)  # fmt: skip

ID_PROP_COLUMNS = """\
Columns of id_prop.csv (no header line, as CGCNN expects):
1  id of the slab; its structure is <id>.cif
2  surface energy, Mg-rich (eV/A^2)
3  work function (eV)
An empty cell: not computed, or not accepted by its verdict.
"""


def labelled(record: Exportable, *, include_rejected: bool) -> Exportable:
    """Return the record with the values that its verdicts reject taken out, unless they are wanted."""
    if include_rejected:
        return record
    verdicts = record.verdicts
    emptied: dict[str, None] = {}
    if verdicts.surface_energy.status is not VerdictStatus.ACCEPTED:
        emptied |= dict.fromkeys(_OF_SURFACE_ENERGY)
    if verdicts.work_function.status is not VerdictStatus.ACCEPTED:
        emptied |= dict.fromkeys(_OF_WORK_FUNCTION)
    return record.model_copy(update=emptied)


def _row(record: SurfaceRecord) -> dict[str, Any]:
    special = dict(zip("hkl", record.miller_index, strict=True)) | {
        "surface_energy_verdict": record.verdicts.surface_energy.status.value,
        "work_function_verdict": record.verdicts.work_function.status.value,
        "created_at": record.created_at.isoformat(),
        # of imported slabs
        "source": getattr(record, "source", ""),
        "source_id": getattr(record, "source_id", ""),
    }
    return {name: special[name] if name in special else getattr(record, name) for name in CSV_COLUMNS}


def write_csv(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> int:
    """Write one line for each facet; energies in eV/A^2 and eV, lengths in A."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS)
        writer.writeheader()
        for record in records:
            writer.writerow(_row(record))
            count += 1
    return count


def write_jsonl(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> int:
    """Write whole records, one JSON object on each line."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(record.model_dump_json() + "\n")
            count += 1
    return count


def _structure(record: SurfaceRecord, *, relaxed: bool) -> Structure:
    from stores.structures.document import structure_from_document

    plain = record.relaxed_slab if relaxed and record.relaxed_slab else record.slab
    return structure_from_document(plain, f"the slab of record {record.id}")


def _atoms(record: SurfaceRecord, *, relaxed: bool) -> Atoms:
    from pymatgen.io.ase import AseAtomsAdaptor

    return AseAtomsAdaptor.get_atoms(_structure(record, relaxed=relaxed), msonable=False)


def write_extxyz(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> int:
    """Write slabs as extended XYZ; values stand in the comment line, those that are empty are left out."""
    from ase.io.extxyz import write_xyz

    count = 0
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            atoms = _atoms(record, relaxed=relaxed)
            wanted = {**_row(record), "miller_index": list(record.miller_index)}
            for name in "hkl":
                del wanted[name]
            atoms.info = {name: value for name, value in wanted.items() if value not in (None, "")}
            write_xyz(file, [atoms])
            count += 1
    return count


def _reads_as_number(value: Any) -> bool:
    from ase.db.core import str_represents

    return isinstance(value, str) and any(str_represents(value, kind) for kind in (bool, int, float))


def write_ase(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> int:
    """Write an ASE database (SQLite); ASE keeps `id` and `formula` for itself, hence surface_id."""
    from ase.db import connect

    count = 0
    reserved = ("id", "formula", "created_at")
    try:
        with connect(path, type="db", append=False, use_lock_file=False) as database:
            for record in records:
                row = {name: value for name, value in _row(record).items() if name not in reserved}
                known = {name: value for name, value in row.items() if value not in (None, "")}
                # ASE refuses text that reads as a number, such as a source's id of a slab
                pairs = {name: value for name, value in known.items() if not _reads_as_number(value)}
                data = {"verdicts": record.verdicts.model_dump(mode="json"), "excess": record.excess}
                data |= {name: value for name, value in known.items() if name not in pairs}
                atoms = _atoms(record, relaxed=relaxed)
                database.write(atoms, key_value_pairs={"surface_id": f"id-{record.id}", **pairs}, data=data)
                count += 1
    except sqlite3.Error as error:
        raise StoreError(
            f"The ASE database could not be written ({error}); free space and try again."
        ) from error
    return count


def write_cgcnn(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> int:
    """Write a folder as CGCNN reads it: a CIF for each slab and id_prop.csv without header."""
    from pymatgen.io.cif import CifWriter

    path.mkdir()
    count = 0
    with (path / "id_prop.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for record in records:
            if not re.fullmatch(r"[\w.-]+", record.id) or record.id.startswith("."):
                raise InputError(f"The id {record.id!r} cannot name a file; remove this record.")
            cif = str(CifWriter(_structure(record, relaxed=relaxed)))
            (path / f"{record.id}.cif").write_text(cif, encoding="utf-8")
            writer.writerow([record.id, record.surface_energy, record.work_function])
            count += 1
    (path / "id_prop_columns.txt").write_text(ID_PROP_COLUMNS, encoding="utf-8")
    return count


WRITERS: dict[str, Writer] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "extxyz": write_extxyz,
    "ase": write_ase,
    "cgcnn": write_cgcnn,
}
