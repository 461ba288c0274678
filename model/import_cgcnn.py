"""Folders as CGCNN has them: ``id_prop.csv`` and a CIF for each of its lines."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

from model.imported import TARGET_NAME, UNITS, Labelled, Problem, Rows, checked_names
from model.slab_frame import PlainSlab
from stores.errors import InputError
from stores.export_formats import ID_PROP_COLUMNS
from stores.structures.reading import read_cif_file
from stores.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_HEADINGS = ("id", "cif_id", "name", "material_id", "slab")


def read_cgcnn(folder: Path, names: Sequence[str] | None) -> Rows:
    """Read a folder as CGCNN has it: ``id_prop.csv`` and one CIF for each of its lines.

    Parameters
    ----------
    folder
        With ``id_prop.csv``, whose first column is the id and whose others are targets; cells may be empty.
    names
        Names of the targets; by default those of the header line, if there is one, or those that `mgsurf
        export cgcnn` writes.

    Raises
    ------
    InputError
        If there is no ``id_prop.csv``, it is empty, or its columns have no names.
    """
    path = folder / "id_prop.csv"
    if not path.is_file():
        raise InputError(f"{folder} has no id_prop.csv; name a folder with id_prop.csv and CIF files.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no UTF-8 text; save it as UTF-8.") from None
    reader = csv.reader(io.StringIO(text))
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; save the file as plain CSV.") from None
    lines = [(number, cells) for number, cells in rows if any(cells)]
    if not lines:
        raise InputError(f"{path} is empty; write one line for each slab: id,target,...")
    header = _header(folder, lines[0][1])
    if header:
        del lines[0]
    n_targets = len(header or lines[0][1]) - (0 if header else 1)
    names = names or header or _default_names(folder, n_targets)
    if not names:
        raise InputError(
            f"{path} has {counted(n_targets, 'column')} of values without names; "
            f"name them, for example --targets surface_energy,work_function."
        )
    if len(names) != n_targets:
        raise InputError(f"{path} has {n_targets} columns of values, not {len(names)} ({', '.join(names)}).")
    return Rows(len(lines), _cgcnn_rows(folder, path, lines, checked_names(names)))


def _header(folder: Path, first: list[str]) -> list[str]:
    """Return the names of the targets if the first line is a header, else nothing."""
    if len(first) < 2 or (folder / f"{first[0]}.cif").exists():
        return []
    if first[0].lower() in _HEADINGS and all(TARGET_NAME.fullmatch(cell) for cell in first[1:]):
        return first[1:]
    return []


def _default_names(folder: Path, n_targets: int) -> list[str]:
    columns = folder / "id_prop_columns.txt"
    exported = columns.is_file() and columns.read_text(encoding="utf-8", errors="replace") == ID_PROP_COLUMNS
    return ["surface_energy", "work_function"] if exported and n_targets == 2 else []


def _cgcnn_rows(
    folder: Path, path: Path, lines: list[tuple[int, list[str]]], names: list[str]
) -> Iterator[Labelled | Problem]:
    seen: dict[str, int] = {}
    for number, cells in lines:
        where = f"{path}, line {number}"
        name = cells[0]
        try:
            if len(cells) != len(names) + 1:
                raise InputError(f"{len(cells)} cells, not {len(names) + 1}; left out")
            if not name or "/" in name or "\\" in name or name in (".", ".."):
                raise InputError(f"{name!r} is no id; left out")
            if name in seen:
                raise InputError(f"the id {name} stands in line {seen[name]} already; left out")
            seen[name] = number
            targets = {target: _value(cell) for target, cell in zip(names, cells[1:], strict=True)}
            cif = folder / f"{name}.cif"
            if not cif.exists():
                raise InputError(f"{cif.name} is missing; left out")
            crystals = read_cif_file(cif)
            if len(crystals) != 1:
                raise InputError(f"{cif} holds {len(crystals)} structures; split it")
            slab = PlainSlab(crystals[0].numbers, crystals[0].lattice, crystals[0].fractional)
        except InputError as error:
            yield Problem(f"{where}: {error}")
            continue
        units = {target: UNITS[target] for target in names if target in UNITS}
        yield Labelled(name, where, slab, targets, units)


def _value(cell: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        raise InputError(f"{cell[:40]!r} is no number; left out") from None
    if not math.isfinite(value):
        raise InputError(f"{cell[:40]!r} is no finite number; left out (an unknown value is an empty cell)")
    return value
