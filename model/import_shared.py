"""Data sets of slabs in one JSON file, ``slabs.json.gz``."""

from __future__ import annotations

import math
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model.imported import Labelled, Problem, Rows, checked_names
from model.label_units import QUANTITIES, split_heading
from model.slab_frame import PlainSlab
from stores.errors import InputError
from stores.input_files import LARGEST, read_bytes
from stores.nesting import check_depth
from stores.structures.cell import lattice_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_OTHERS = ("cell", "frac_coords")
"""Fields with a unit that are no targets."""
SHARED_FILES = ("slabs.json.gz", "slabs.json")


def read_shared(path: Path, names: Sequence[str] | None) -> Rows:
    """Read a ``slabs.json.gz``: units, and records with cell, species, frac_coords and targets.

    Where a record has an unrelaxed slab (``initial``) beside the relaxed one, the unrelaxed one is taken.

    Parameters
    ----------
    path
        The file, or its folder.
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
    try:
        raw = read_bytes(file, LARGEST).removeprefix(BOM_UTF8)
        check_depth(raw)
        content = orjson.loads(raw)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}); copy it again.") from error
    records = content.get("records") if isinstance(content, dict) else None
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


def _fields(records: list[Any], units: dict[str, str]) -> dict[str, str]:
    """Return the field of each target: what has a unit, and ours where a record has them without one.

    A field with the unit in its name (surface_energy_J_m2) is read where the target has none of its own.
    """
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
            name,
            where,
            slab,
            targets,
            _miller(record.get("miller")),
            "as_cut" if "initial" in record else "",
        )


def _miller(value: Any) -> tuple[int, int, int] | None:
    if not isinstance(value, list) or len(value) not in (3, 4) or not all(isinstance(i, int) for i in value):
        return None
    return value[0], value[1], value[-1]
