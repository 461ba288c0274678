"""Data sets of slabs in one JSON file, ``slabs.json.gz``."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model.imported import Labelled, Problem, Rows, checked_names
from model.slab_frame import PlainSlab
from stores.errors import InputError
from stores.structures.cell import lattice_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

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
        raw = file.read_bytes()
        content = orjson.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (OSError, EOFError, ValueError, zlib.error) as error:  # damaged gzip raises all of them
        raise InputError(f"{file} cannot be read ({error}); copy it again.") from error
    records = content.get("records") if isinstance(content, dict) else None
    if not isinstance(records, list):
        raise InputError(f"{file} holds no list of records; expected the layout of slabs.json.gz.")
    if not records:
        raise InputError(f"{file} is empty: its list of records has no entry.")
    units = content.get("units")
    units = (
        {str(k): str(v).replace("Angstrom", "A") for k, v in units.items()} if isinstance(units, dict) else {}
    )
    return Rows(len(records), _shared_rows(file, records, checked_names(names) if names else None, units))


def _shared_rows(
    file: Path, records: list[Any], names: list[str] | None, units: dict[str, str]
) -> Iterator[Labelled | Problem]:
    from ase.data import atomic_numbers

    wanted = names or [n for n in units if n not in ("cell", "frac_coords") and not n.endswith("_J_m2")]
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
            for target in wanted:
                value = record.get(target)
                if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                    raise InputError(f"{name}: {target} is {str(value)[:40]!r}, no number; left out")
                targets[target] = None if value is None else float(value)
        except InputError as error:
            yield Problem(f"{where}: {error}")
            continue
        yield Labelled(
            name,
            where,
            slab,
            targets,
            {target: units[target] for target in wanted if target in units},
            _miller(record.get("miller")),
            "as_cut" if "initial" in record else "",
        )


def _miller(value: Any) -> tuple[int, int, int] | None:
    if not isinstance(value, list) or len(value) not in (3, 4) or not all(isinstance(i, int) for i in value):
        return None
    return value[0], value[1], value[-1]
