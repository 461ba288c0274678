"""The formats of `stores.export`: each writer takes records to a path and returns how many it wrote."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.cgcnn_elements import atom_init
from stores.errors import InputError, StoreError
from stores.records import SurfaceRecord
from stores.structures.reading import ATOM_INIT
from stores.table_rows import CSV_COLUMNS, table_row

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

Writer = Callable[..., int]

ALL_TARGETS = "id_prop_all.csv"
"""File of a CGCNN folder with all slabs and targets; `mgsurf import` reads it."""

ID_PROP_COLUMNS = f"""\
Slabs as CGCNN (txie-93/cgcnn) and cgcnn2 (PyPI) read them: two columns, id and target, no header line.
id_prop.csv                surface energy, Mg-rich (eV/A^2)
id_prop_work_function.csv  work function (eV); to train on it, put it in the place of id_prop.csv
atom_init.json             92 element features (Xie and Grossman, PRL 120, 145301 (2018), supplement)
<id>.cif                   structure of a slab
{ALL_TARGETS}            all slabs with both targets, for mgsurf import; an empty cell: not computed,
                           or not accepted by its verdict
"""

CGCNN_FILES = {
    "surface_energy": "id_prop.csv",
    "work_function": "id_prop_work_function.csv",
}
"""Files with one target each; they list the slabs that have it."""


def write_csv(records: Iterable[SurfaceRecord], path: Path, *, relaxed: bool) -> int:
    """Write one line for each facet; energies in eV/A^2 and eV, lengths in A."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS)
        writer.writeheader()
        for record in records:
            writer.writerow(table_row(record))
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
            wanted = {**table_row(record), "miller_index": list(record.miller_index)}
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
                row = {name: value for name, value in table_row(record).items() if name not in reserved}
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
    """Write a folder as CGCNN and cgcnn2 read it, see `ID_PROP_COLUMNS`."""
    from pymatgen.io.cif import CifWriter

    path.mkdir()
    count = 0
    with ExitStack() as stack:

        def table(name: str) -> Any:
            file = stack.enter_context((path / name).open("w", newline="", encoding="utf-8"))
            return csv.writer(file, lineterminator="\n")

        everything = table(ALL_TARGETS)
        everything.writerow(["id", *CGCNN_FILES])
        single = {target: table(name) for target, name in CGCNN_FILES.items()}
        for record in records:
            if not re.fullmatch(r"[\w.-]+", record.id) or record.id.startswith("."):
                raise InputError(f"The id {record.id!r} cannot name a file; remove this record.")
            cif = str(CifWriter(_structure(record, relaxed=relaxed)))
            (path / f"{record.id}.cif").write_text(cif, encoding="utf-8")
            everything.writerow([record.id, *(getattr(record, target) for target in CGCNN_FILES)])
            for target, rows in single.items():
                if (value := getattr(record, target)) is not None:  # neither reader takes an empty cell
                    rows.writerow([record.id, value])
            count += 1
    (path / ATOM_INIT).write_text(json.dumps(atom_init()), encoding="utf-8")
    (path / "id_prop_columns.txt").write_text(ID_PROP_COLUMNS, encoding="utf-8")
    return count


WRITERS: dict[str, Writer] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "extxyz": write_extxyz,
    "ase": write_ase,
    "cgcnn": write_cgcnn,
}
