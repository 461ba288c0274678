"""Labelled slabs or crystals from files: CGCNN folders (``id_prop.csv``, CIF files), ``slabs.json.gz``."""

from __future__ import annotations

import math
import re
from codecs import BOM_UTF8
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model.data.class_labels import class_name, classes_of
from model.data.csv_table import read_table
from model.data.label_units import QUANTITIES, split_heading
from model.graphs.slab_frame import PlainSlab
from stores.cgcnn_folder import ALL_TARGETS, COLUMNS_FILE, HEADING
from stores.errors import InputError, pluralize
from stores.input_files import LARGEST, check_depth, read_bytes
from stores.structures.cell import lattice_matrix
from stores.structures.reading import read_cif_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from model.data.csv_table import Table


BATCH = 200  # records written at once: what is read so far survives an interruption
TARGET_NAME = re.compile(r"[A-Za-z]\w{0,63}")


@dataclass(frozen=True, eq=False)
class Labelled:
    """A labelled slab as its file has it."""

    source_id: str  # its name there
    where: str  # file and line or number, for messages
    slab: PlainSlab  # the structure
    targets: dict[str, float | None]  # values by name; None where the cell is empty
    miller_index: tuple[int, int, int] | None = None  # hkl, where known
    geometry: str = ""  # "as_cut" or "relaxed" where the file states it, else ""


@dataclass(frozen=True)
class Problem:
    """A line that could not be used, described in words that begin with its place."""

    text: str


def checked_names(names: Sequence[str]) -> list[str]:
    """Return target names; raises InputError if one is no plain word or occurs twice."""
    for name in names:
        if not TARGET_NAME.fullmatch(name):
            raise InputError(
                f"The target name {name!r} is no plain word; use letters, digits and underscores."
            )
    if len(set(names)) != len(names):
        raise InputError(f"A target is named twice in {', '.join(names)}; name each column once.")
    return list(names)


@dataclass(frozen=True, eq=False)
class Rows:
    """The lines of a data set, to be read one by one."""

    count: int  # how many there are
    rows: Iterator[Labelled | Problem]  # the lines; values are as the source has them
    columns: dict[str, list[float]]  # all values of each target
    units: dict[str, str]  # of the targets, where the source states them
    # names of the classes of those targets that are no quantities; a value is a place among them
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # lines for the user, complete after the last row


@dataclass
class Imported:
    """What an import did."""

    format: str  # what was read
    source: str  # name of the source
    n_read: int = 0  # slabs that could be used
    n_changed: int = 0  # records that were new or had changed in the store
    n_labels: dict[str, int] = field(default_factory=dict)  # values by target
    # one line for each line of the source that could not be used
    problems: list[str] = field(default_factory=list)
    # what was converted, and what may be wrong with what was read
    notes: list[str] = field(default_factory=list)


_HEADINGS = ("id", "cif_id", "cif", "name", "material_id", "slab", "slab_id", "structure", "file", "filename")
_ENDINGS = (".cif", ".CIF")
_OLD_EXPORT = "Columns of id_prop.csv (no header line, as CGCNN expects):\n"
"""Older exports had both targets in one table."""


def read_cgcnn(folder: Path, names: Sequence[str] | None, classes: Sequence[str] = ()) -> Rows:
    """Read a folder with ``id_prop.csv`` (an id, then targets in each line) and one CIF for each line.

    Parameters
    ----------
    names
        Names of the targets; by default those of the header line, if there is one, or those that `mgsurf
        export cgcnn` writes. Of a folder that it wrote, the table with all targets is read.
    classes
        Names of the targets whose cells are classes.

    Raises
    ------
    InputError
        If there is no ``id_prop.csv``, it is empty, or its columns have no names.
    """
    path = folder / "id_prop.csv"
    if _exported(folder).startswith(HEADING) and (folder / ALL_TARGETS).is_file():
        path = folder / ALL_TARGETS
    if not path.is_file():
        raise InputError(f"{folder} has no id_prop.csv; name a folder with id_prop.csv and CIF files.")
    files = frozenset(file.name for file in folder.iterdir())
    table = read_table(path, lambda name: _cif_of(files, name) is not None)
    lines = table.lines
    header = _header(files, table)
    if header is not None:
        del lines[0]
        if not lines:
            raise InputError(f"{path} has a header line only; write one line for each slab below it.")
    n_targets = len(lines[0][1]) - 1 if header is None else len(header)
    if n_targets < 1:
        raise InputError(
            f"{path}, line {lines[0][0]}: one cell, no value; separate cells by commas, semicolons or tabs."
        )
    headings = [split_heading(heading) for heading in header or []]
    own = [name for name, _ in headings]
    if len(set(own)) < len(own):  # a quantity in two units: each column keeps its own name
        headings = [(heading, None) for heading in header or []]
    chosen = names or [name for name, _ in headings] or _default_names(folder, n_targets)
    if not chosen:
        raise InputError(
            f"{path} has {pluralize(n_targets, 'column')} of values without names; "
            f"name them, for example --targets surface_energy,work_function."
        )
    if len(chosen) != n_targets:
        raise InputError(
            f"{path} has {n_targets} columns of values, not {len(chosen)} ({', '.join(chosen)}); name each "
            "column with --targets, and write decimal points where commas separate cells."
        )
    chosen = checked_names(chosen)
    units = {name: unit for name, (_, unit) in zip(chosen, headings, strict=False) if unit is not None}
    if unknown := [name for name in classes if name not in chosen]:
        raise InputError(f"--classes: {path} has no target {unknown[0]}; it has {', '.join(chosen)}")
    of_classes = {
        name: classes_of(name, [cells[i + 1] for _, cells in lines if len(cells) > i + 1])
        for i, name in enumerate(chosen)
        if name in classes
    }
    columns = {name: [] if name in of_classes else v for name, v in _columns(table, chosen).items()}
    rows = _cgcnn_rows(path, files, table, chosen, of_classes)
    return Rows(len(lines), rows, columns, units, of_classes)


def _cif_of(files: frozenset[str], name: str) -> str | None:
    """Return the file of an id, which may end as the file does; None where there is no such file."""
    for stem in (name, name[:-4] if name.lower().endswith(".cif") else ""):
        for ending in _ENDINGS:
            if stem and stem + ending in files:
                return stem + ending
    return None


def _header(files: frozenset[str], table: Table) -> list[str] | None:
    """Return the names of the targets if the first line is a header, else None."""
    first, *others = table.lines[0][1]
    if not others or _cif_of(files, first) is not None:
        return None
    named = all(TARGET_NAME.fullmatch(split_heading(cell)[0]) for cell in others)
    known = any(split_heading(cell)[0] in QUANTITIES for cell in others)
    heading = first.lstrip("#").strip().lower().replace(" ", "_") in _HEADINGS
    return others if named and (heading or known) else None


def _columns(table: Table, names: list[str]) -> dict[str, list[float]]:
    """Return the numbers of each target; cells that hold anything else are left to their lines."""
    columns: dict[str, list[float]] = {name: [] for name in names}
    for _, cells in table.lines:
        for name, cell in zip(names, cells[1:], strict=False):
            try:
                value = table.number(cell)
            except InputError:
                continue
            if value is not None:
                columns[name].append(value)
    return columns


def _default_names(folder: Path, n_targets: int) -> list[str]:
    exported = _exported(folder).startswith(_OLD_EXPORT)
    return ["surface_energy", "work_function"] if exported and n_targets == 2 else []


def _exported(folder: Path) -> str:
    """Return what `mgsurf export cgcnn` wrote about its columns; empty if it did not."""
    columns = folder / COLUMNS_FILE
    return columns.read_text(encoding="utf-8", errors="replace") if columns.is_file() else ""


def _cgcnn_rows(
    path: Path,
    files: frozenset[str],
    table: Table,
    names: list[str],
    classes: dict[str, tuple[str, ...]],
) -> Iterator[Labelled | Problem]:
    seen: dict[str, int] = {}
    for number, cells in table.lines:
        where = f"{path}, line {number}"
        cif = _cif_of(files, cells[0])
        name = cells[0] if cif is None else cif[:-4]
        try:
            if len(cells) != len(names) + 1:
                raise InputError(f"{len(cells)} cells, not {len(names) + 1}; left out")
            if not name or "/" in name or "\\" in name or name in (".", ".."):
                raise InputError(f"{name!r} is no id; left out")
            if name in seen:
                raise InputError(f"the id {name} stands in line {seen[name]} already; left out")
            seen[name] = number
            targets = {
                target: _place(cell, classes[target]) if target in classes else table.number(cell)
                for target, cell in zip(names, cells[1:], strict=True)
            }
            if cif is None:
                raise InputError(f"{name}.cif is missing; left out")
            crystals = read_cif_file(path.parent / cif)
            if len(crystals) != 1:
                raise InputError(f"{path.parent / cif} holds {len(crystals)} structures; split it")
            slab = PlainSlab(crystals[0].numbers, crystals[0].lattice, crystals[0].fractional)
        except InputError as error:
            yield Problem(f"{where}: {error}")
            continue
        yield Labelled(name, where, slab, targets)


def _place(cell: str, classes: tuple[str, ...]) -> float | None:
    """Return the place of a cell's class; None if it is empty."""
    name = class_name(cell)
    return None if name is None else float(classes.index(name))


_OTHERS = ("cell", "frac_coords")  # fields with a unit that are no targets
SHARED_FILES = ("slabs.json.gz", "slabs.json")


def read_shared(path: Path, names: Sequence[str] | None) -> Rows:
    """Read a ``slabs.json.gz`` or its folder: units, and records with cell, species, frac_coords and targets.

    Where a record has an unrelaxed slab (``initial``) beside the relaxed one, the unrelaxed one is taken.

    Parameters
    ----------
    names
        Targets wanted; by default surface_energy, work_function and what else has a unit and a number.

    Raises
    ------
    InputError
        If the file cannot be read or has another layout.
    """
    file = path if path.is_file() else next((path / n for n in SHARED_FILES if (path / n).is_file()), None)
    if file is None:
        raise InputError(f"{path} has no {SHARED_FILES[0]}; check the path.")
    content = read_large_json(file)
    records = content.get("records") if isinstance(content, dict) else None
    if is_crystal_list(content):
        raise InputError(f"{file} is a list of crystals, which have no surface; add --bulk.")
    if not isinstance(records, list):
        raise InputError(f"{file} holds no list of records; expected the layout of slabs.json.gz.")
    if not records:
        raise InputError(f"{file} is empty: its list of records has no entry.")
    stated = content.get("units")
    units = (
        {str(k): str(v).replace("Angstrom", "A") for k, v in stated.items()}
        if isinstance(stated, dict)
        else {}
    )
    fields = {name: name for name in checked_names(names)} if names else _fields(records, units)
    columns = {t: [v for r in records if (v := _number(r, field)) is not None] for t, field in fields.items()}
    of_targets = {
        t: unit for t, field in fields.items() if (unit := units.get(field) or split_heading(field)[1])
    }
    return Rows(len(records), _shared_rows(file, records, fields), columns, of_targets)


def read_large_json(file: Path) -> Any:
    """Read a JSON file, plain or compressed; InputError if that is impossible."""
    try:
        raw = read_bytes(file, LARGEST).removeprefix(BOM_UTF8)
        check_depth(raw)
        return orjson.loads(raw)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}); copy it again.") from error


def is_crystal_list(content: Any) -> bool:
    """Whether JSON has one of the two layouts of labelled crystals, see `model.data.import_crystals`."""
    return isinstance(content, list) or (isinstance(content, dict) and {"columns", "data"} <= content.keys())


def _fields(records: list[Any], units: dict[str, str]) -> dict[str, str]:
    """Return the field of each target: what has a unit, and ours where a record has them without one."""
    # a field with the unit in its name (surface_energy_J_m2) is read where the target has none of its own
    names = {name for record in records if isinstance(record, dict) for name in record}
    fields = {n: n for n in units if n not in _OTHERS and split_heading(n)[1] is None}
    fields |= {name: name for name in QUANTITIES if name in names}
    for name in sorted(names | units.keys()):
        target, unit = split_heading(name)
        if unit is not None and target in QUANTITIES:
            fields.setdefault(target, name)
    return fields


def _number(record: Any, name: str) -> float | None:
    value = record.get(name) if isinstance(record, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _shared_rows(file: Path, records: list[Any], fields: dict[str, str]) -> Iterator[Labelled | Problem]:
    from ase.data import atomic_numbers

    seen: dict[str, int] = {}
    for number, record in enumerate(records, start=1):
        where = f"{file}, record {number}"
        try:
            if not isinstance(record, dict) or not record.get("id"):
                raise InputError("no id; left out")
            name = str(record["id"])
            if name in seen:
                raise InputError(f"the id {name} is that of record {seen[name]} already; left out")
            seen[name] = number
            part = record.get("initial", record)
            try:
                slab = PlainSlab(
                    np.array([atomic_numbers[s] for s in part["species"]], dtype=np.int64),
                    lattice_matrix([float(x) for x in part["cell"]]),
                    np.array(part["frac_coords"], dtype=np.float64).reshape(len(part["species"]), 3),
                )
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{name}: no structure ({type(error).__name__}: {error}); left out"
                ) from error
            targets: dict[str, float | None] = {}
            for target, field in fields.items():
                targets[target] = _number(record, field)
                if targets[target] is None and record.get(field) is not None:
                    raise InputError(f"{name}: {field} is {str(record[field])[:40]!r}, no number; left out")
        except InputError as error:
            yield Problem(f"{where}: {error}")
            continue
        yield Labelled(
            name, where, slab, targets, _miller(record.get("miller")), "as_cut" if "initial" in record else ""
        )


def _miller(value: Any) -> tuple[int, int, int] | None:
    if not isinstance(value, list) or len(value) not in (3, 4) or not all(isinstance(i, int) for i in value):
        return None
    return value[0], value[1], value[-1]
