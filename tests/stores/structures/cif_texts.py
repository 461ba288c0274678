"""CIF texts for tests, made of a few words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from pymatgen.core import Structure

from stores.errors import InputError
from stores.structures.reading import read_structure

COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z")
HCP = (3.2, 3.2, 5.2, 90, 90, 120)
CUBE = (3.3, 3.3, 3.3, 90, 90, 90)
IDENTITY = ("x,y,z",)


def cif(
    rows: Sequence[str],
    cell: Sequence[float] = CUBE,
    *,
    operators: Sequence[str] = (),
    columns: Sequence[str] = COLUMNS,
    block: str = "x",
    **tags: object,
) -> str:
    """Return a CIF; further tags by their names without the first underscore, ``-`` as ``__``."""
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"data_{block}", *(f"_cell_{name} {value}" for name, value in zip(names, cell, strict=True))]
    lines += [f"_{name.replace('__', '-')} {_quoted(str(value))}" for name, value in tags.items()]
    if operators:
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{operator}'" for operator in operators)]
    lines += ["loop_", *(f"_atom_site_{column}" for column in columns), *rows]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def written(path: Path, content: str | bytes, name: str = "x.cif") -> Path:
    """Write a file of a test's folder."""
    file = path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refusal(path: Path) -> str:
    """Return the one line with which a file is refused, which names it."""
    with pytest.raises(InputError) as error:
        read_structure(path)
    message = str(error.value)
    assert "\n" not in message
    assert path.name in message
    return message


def formula(structure: Structure) -> str:
    """Return e.g. ``Mg8 Cu16``."""
    return str(structure.composition.formula)
