"""CIF files of slabs, read fast where they are simple: data sets have thousands of them without symmetry."""

from __future__ import annotations

import re
import shlex
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from model.slab_frame import PlainSlab
from stores.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
_FRACTIONS = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_SYMBOL = re.compile(r"([A-Z][a-z]?)")


class _NotSimpleError(Exception):
    """The file needs a real reader: symmetry, shared sites, text blocks, something missing."""


def read_cif(path: Path) -> PlainSlab:
    """Read the one structure of a CIF.

    A file without symmetry is read here; any other, and any that looks odd, by pymatgen.

    Raises
    ------
    InputError
        If the file cannot be read; the message does not name it.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error}); check the file") from error
    try:
        return _simple(text)
    except (_NotSimpleError, ValueError, KeyError, IndexError):
        return _by_pymatgen(text)


def lattice_matrix(cell: list[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return lattice vectors as rows (A) from a, b, c (A), alpha, beta, gamma (degrees).

    Raises
    ------
    ValueError
        If these span no cell.
    """
    a, b, c = cell[:3]
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians(cell[3:]))
    sin_gamma = np.sqrt(1 - cos_gamma**2)
    c_y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    c_z = 1 - cos_beta**2 - c_y**2
    if not (min(a, b, c) > 0 and c_z > 0):
        raise ValueError("lengths and angles span no cell")
    rows = [[a, 0, 0], [b * cos_gamma, b * sin_gamma, 0], [c * cos_beta, c * c_y, c * np.sqrt(c_z)]]
    return np.array(rows, dtype=np.float64)


def _simple(text: str) -> PlainSlab:
    from ase.data import atomic_numbers

    if "\n;" in text or text.count("data_") != 1:
        raise _NotSimpleError
    lines = [stripped for line in text.splitlines() if (stripped := line.strip()) and stripped[0] != "#"]
    single: dict[str, str] = {}
    atoms: list[tuple[int, list[float]]] = []
    i = 0
    while i < len(lines):
        if lines[i].lower() != "loop_":
            if lines[i].startswith("_") and len(parts := lines[i].split(None, 1)) == 2:
                single[parts[0].lower()] = parts[1].strip("'\" ")
            i += 1
            continue
        i += 1
        names = []
        while i < len(lines) and lines[i].startswith("_"):
            names.append(lines[i].split()[0].lower())
            i += 1
        rows = []
        while i < len(lines) and not lines[i].startswith(("_", "loop_", "data_")):
            row = shlex.split(lines[i]) if "'" in lines[i] or '"' in lines[i] else lines[i].split()
            if len(row) != len(names):
                raise _NotSimpleError
            rows.append(row)
            i += 1
        if any(name.endswith(("_as_xyz", "operation_xyz")) for name in names):
            operation = next(k for k, n in enumerate(names) if n.endswith(("_as_xyz", "operation_xyz")))
            if [row[operation].replace(" ", "").lower() for row in rows] != ["x,y,z"]:
                raise _NotSimpleError
        elif _FRACTIONS[0] in names:
            kind = "_atom_site_type_symbol" if "_atom_site_type_symbol" in names else "_atom_site_label"
            symbol, places = names.index(kind), [names.index(name) for name in _FRACTIONS]
            occupancy = names.index("_atom_site_occupancy") if "_atom_site_occupancy" in names else None
            for row in rows:
                match = _SYMBOL.match(row[symbol])
                if match is None or (occupancy is not None and float(row[occupancy]) != 1):
                    raise _NotSimpleError
                atoms.append((atomic_numbers[match[1]], [float(row[k]) for k in places]))
    space_group = single.get("_symmetry_space_group_name_h-m", single.get("_space_group_name_h-m_alt", "P 1"))
    if space_group.replace(" ", "") not in ("P1", "?") or not atoms:
        raise _NotSimpleError
    lattice = lattice_matrix([float(single[f"_cell_{name}"]) for name in _CELL])
    fractional = np.array([place for _, place in atoms], dtype=np.float64)
    if not np.isfinite(fractional).all() or not np.isfinite(lattice).all():
        raise _NotSimpleError
    return PlainSlab(np.array([number for number, _ in atoms], dtype=np.int64), lattice, fractional)


def _by_pymatgen(text: str) -> PlainSlab:
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            structures = CifParser.from_str(text).parse_structures(primitive=False)
        except Exception as error:  # pymatgen raises whatever the text leads it to
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise InputError(f"no readable CIF ({reason}); repair or replace the file") from error
    if len(structures) != 1:
        raise InputError(f"{len(structures)} structures in the file, not one; split it")
    return PlainSlab.from_structure(structures[0])
