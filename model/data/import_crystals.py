"""Labelled bulk crystals read from JSON: lists of entries as jarvis-tools has them, and tables of matbench.

An entry of a list holds ``lattice_mat`` [3, 3] (A), ``coords`` [N, 3], ``elements`` [N] and ``cartesian``, in
itself or under ``atoms``; what else it has are its id and its labels. A table of matbench is pandas' JSON
in the orientation "split": one column of pymatgen structures, the others are labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.class_labels import class_name, classes_of
from model.data.import_formats import (
    TARGET_NAME,
    Labelled,
    Problem,
    Rows,
    checked_names,
    is_crystal_list,
    read_large_json,
)
from model.graphs.bulk_graph import PlainBulk
from stores.errors import InputError
from stores.structures.cell import closest_overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_IDS = ("jid", "material_id", "id", "mpid")
_STRUCTURE = (
    "atoms",
    "lattice_mat",
    "coords",
    "elements",
    "cartesian",
    "abc",
    "angles",
    "props",
    "structure",
)
_MISSING = ("", "na", "nan", "none", "null")
_ANONYMOUS = "target"  # a column of this name needs another


@dataclass(frozen=True)
class _Entries:
    """The entries of a file: for each its id, its structure and its labels by field."""

    ids: list[str]
    structures: list[Any]
    labels: list[dict[str, Any]]
    read: Callable[[Any, str, list[str]], PlainBulk]  # reads a structure; appends to lines for the user


def read_crystals(path: Path, names: Sequence[str] | None, classes: Sequence[str]) -> Rows:
    """Read the labelled crystals of a JSON file, plain or gzip.

    Parameters
    ----------
    names
        Targets wanted: fields of the file, or a name for its only field of labels.
    classes
        Targets whose labels are classes; those whose labels are words are classes in any case.

    Raises
    ------
    InputError
        If the file cannot be read, has another layout, or does not tell which fields are labels.
    """
    entries = _entries(path)
    fields = _chosen(path, entries, names)
    if unknown := [name for name in classes if name not in fields]:
        raise InputError(f"--classes: {path} has no target {unknown[0]}; it has {', '.join(fields)}")
    columns = {target: [labels.get(field) for labels in entries.labels] for target, field in fields.items()}
    of_classes = {
        target: classes_of(target, [value for value in values if not _is_missing(value)])
        for target, values in columns.items()
        if target in classes or all(isinstance(v, str | bool) for v in values if not _is_missing(v))
    }
    numbers = {
        target: [] if target in of_classes else [float(v) for v in values if v is not None and _is_number(v)]
        for target, values in columns.items()
    }
    notes: list[str] = []
    rows = _rows(path, entries, columns, of_classes, notes)
    return Rows(len(entries.ids), rows, numbers, {}, of_classes, notes)


def _entries(path: Path) -> _Entries:
    content = read_large_json(path)
    if not is_crystal_list(content):
        raise InputError(
            f"{path} holds neither a list of entries with lattice_mat, coords and elements nor a table of "
            "matbench (columns, index, data); name another file."
        )
    entries = _of_list(path, content) if isinstance(content, list) else _of_table(path, content)
    if not entries.ids:
        raise InputError(f"{path} is empty: it has no entry.")
    return entries


def _of_list(path: Path, content: list[Any]) -> _Entries:
    if odd := next((i for i, entry in enumerate(content, 1) if not isinstance(entry, dict)), None):
        raise InputError(f"{path}, entry {odd}: is no object with lattice_mat, coords and elements.")
    name = next((one for one in _IDS if content and all(one in entry for entry in content)), None)
    ids = [str(number if name is None else entry[name]) for number, entry in enumerate(content, 1)]
    labels = [
        {field: value for field, value in entry.items() if field not in _STRUCTURE and field != name}
        for entry in content
    ]
    structures = [entry.get("atoms", entry.get("structure", entry)) for entry in content]
    return _Entries(ids, structures, labels, _read_entry)


def _of_table(path: Path, content: dict[str, Any]) -> _Entries:
    rows = content["data"]
    if not isinstance(content["columns"], list) or not isinstance(rows, list):
        raise InputError(f"{path}: its columns and data are not lists; copy it again.")
    columns = [str(name) for name in content["columns"]]
    index = content.get("index") or range(1, len(rows) + 1)
    if not isinstance(index, list | range):
        raise InputError(f"{path}: its index is not a list; copy it again.")
    if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
        raise InputError(f"{path}: its rows do not have {len(columns)} cells each; copy it again.")
    of_structure = [i for i in range(len(columns)) if rows and isinstance(rows[0][i], dict)]
    if len(of_structure) != 1 or len(index) != len(rows):
        raise InputError(
            f"{path}: it has {len(of_structure)} columns of structures, not one; name another file."
        )
    (place,) = of_structure
    labels = [
        {_word(name): value for i, (name, value) in enumerate(zip(columns, row, strict=True)) if i != place}
        for row in rows
    ]
    return _Entries([str(one) for one in index], [row[place] for row in rows], labels, _read_document)


def _word(name: str) -> str:
    """Return a column's name as a target's: ``gap pbe`` is gap_pbe."""
    return "".join(c if c.isalnum() or c == "_" else " " for c in name).strip().replace(" ", "_")


def _chosen(path: Path, entries: _Entries, names: Sequence[str] | None) -> dict[str, str]:
    """Return the field of each target."""
    there = list(dict.fromkeys(field for labels in entries.labels for field in labels))
    usable = [
        field
        for field in there
        if any(_is_number(labels.get(field)) for labels in entries.labels)
        or {type(v) for labels in entries.labels if not _is_missing(v := labels.get(field))} == {bool}
    ]
    if names is not None:
        written = [[part.strip() for part in name.split("=", 1)] for name in names]
        chosen = checked_names([name for name, *_ in written])
        fields = {name: field[-1] for name, field in zip(chosen, written, strict=True)}
        if all(field in there for field in fields.values()):
            return fields
        if len(chosen) == len(usable) == 1 and "=" not in names[0]:
            return {chosen[0]: usable[0]}
        missing = next(field for field in fields.values() if field not in there)
        raise InputError(
            f"{path} has no field {missing}; its fields of labels are {_listed(usable or there)} "
            "(--targets NAME=FIELD gives one another name)."
        )
    if usable == [_ANONYMOUS]:
        raise InputError(
            f'{path} names its labels "{_ANONYMOUS}" only; name the property, for example '
            "--targets formation_energy."
        )
    if len(usable) != 1 or not TARGET_NAME.fullmatch(usable[0]):
        raise InputError(
            f"{path}: choose its targets with --targets; its fields are {_listed(usable or there)}."
        )
    return {usable[0]: usable[0]}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") or "none"


def _rows(
    path: Path,
    entries: _Entries,
    columns: dict[str, list[Any]],
    classes: dict[str, tuple[str, ...]],
    notes: list[str],
) -> Iterator[Labelled | Problem]:
    seen: dict[str, int] = {}
    corrected: list[str] = []
    for number, (name, structure) in enumerate(zip(entries.ids, entries.structures, strict=True), start=1):
        where = f"{path}, entry {number}"
        try:
            if name in seen:
                raise InputError(f"the id {name} is that of entry {seen[name]} already; left out")
            seen[name] = number
            targets = {
                target: _label(target, values[number - 1], classes.get(target))
                for target, values in columns.items()
            }
            crystal = entries.read(structure, name, corrected)
        except InputError as error:
            yield Problem(f"{where}: {error}")
            continue
        yield Labelled(name, where, crystal, targets)
    if corrected:
        notes.append(
            f"{path}: the distances of {len(corrected)} entries show that their coordinates are not what "
            f"they state, fractional or Cartesian; read as the other (the first: {corrected[0]})"
        )


def _label(target: str, value: Any, classes: tuple[str, ...] | None) -> float | None:
    if _is_missing(value):
        return None
    if classes is not None:
        name = class_name(value)
        return None if name is None else float(classes.index(name))
    if not _is_number(value):
        raise InputError(f"{target} is {str(value)[:40]!r}, no number; left out")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in _MISSING)


def _read_document(document: Any, name: str, corrected: list[str]) -> PlainBulk:
    """Read pymatgen's structure."""
    return PlainBulk.from_dict(document, name)


def _read_entry(entry: Any, name: str, corrected: list[str]) -> PlainBulk:
    """Read the structure of a list's entry; its distances decide between fractional and Cartesian."""
    from ase.data import atomic_numbers

    if isinstance(entry, dict) and {"lattice", "sites"} <= entry.keys():
        return PlainBulk.from_dict(entry, name)
    try:
        numbers = np.array([atomic_numbers[str(s).strip()] for s in entry["elements"]], dtype=np.int64)
        lattice = np.array(entry["lattice_mat"], dtype=np.float64).reshape(3, 3)
        coords = np.array(entry["coords"], dtype=np.float64).reshape(len(numbers), 3)
        inverse = np.linalg.inv(lattice)
    except (KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        raise InputError(f"{name}: no structure ({type(error).__name__}: {error}); left out") from error
    stated = entry.get("cartesian")
    # fractional coordinates hardly leave the neighbouring cells
    cartesian = bool(stated) if stated is not None else bool(len(coords) and np.abs(coords).max() > 2)
    either = (coords @ inverse, coords) if cartesian else (coords, coords @ inverse)
    first = PlainBulk(numbers, lattice, either[0])
    if len(numbers) < 2 or not np.isfinite(coords).all() or not _overlaps(first):
        return first
    other = PlainBulk(numbers, lattice, either[1])
    if _overlaps(other):
        return first  # refused with its distance when its graph is built, if the atoms lie on top
    if stated is not None:
        corrected.append(name)
    return other


def _overlaps(crystal: PlainBulk) -> bool:
    return closest_overlap(crystal.numbers, crystal.lattice, crystal.fractional) is not None
