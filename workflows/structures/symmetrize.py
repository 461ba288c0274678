"""Crystals that are more symmetric within a looser tolerance: a note, and the symmetrised crystal."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymatgen.core import Structure

from stores.errors import InputError
from stores.structures.reading import show_notes
from workflows.structures.crystal import crystal_of
from workflows.structures.space_group import dataset_of, order, search
from workflows.structures.tolerances import LOOSE_SYMPREC, SYMPREC


def with_symmetry(structure: Structure, name: str, symprec: float | None = None) -> Structure:
    """Return a crystal from a file symmetrised, or as it is; a line is logged if it is not symmetric.

    Parameters
    ----------
    structure
        Ordered crystal in any cell.
    name
        Of its file, for the line.
    symprec
        Tolerance within which it is symmetrised (A); None leaves it as it is.

    Raises
    ------
    InputError
        If no symmetry is found within `symprec`.
    """
    if symprec is None:
        show_notes(looser_symmetry(structure, name))
        return structure
    try:
        ideal, note = symmetrized(structure, symprec)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    show_notes([f"{name}: {note}"])
    return ideal


def symmetrized(structure: Structure, symprec: float) -> tuple[Structure, str]:
    """Move atoms and cell edges of a crystal to where its symmetry within a tolerance wants them.

    Parameters
    ----------
    structure
        Ordered crystal in any cell.
    symprec
        Distance tolerance of the symmetry search (A).

    Returns
    -------
    structure
        The same atoms in the same cell, up to a rotation in space, without their deviations.
    note
        One line: space groups before and after, the largest displacement of an atom and strain of an edge.

    Raises
    ------
    InputError
        As `crystal_of`.
    """
    before, crystal = crystal_of(structure), crystal_of(structure, symprec)
    moved = structure.frac_coords @ crystal.transformation.T + crystal.origin_shift
    difference = crystal.positions[None, :, :] - moved[:, None, :]
    difference -= np.rint(difference)
    distance = np.linalg.norm(difference @ crystal.lattice, axis=2)
    species = np.array([site.specie.symbol for site in structure])
    distance[species[:, None] != np.array(crystal.species)[None, :]] = np.inf
    nearest = distance.argmin(axis=1)
    ideal = moved + difference[np.arange(len(moved)), nearest] - crystal.origin_shift
    positions = np.linalg.solve(crystal.transformation, ideal.T).T
    result = Structure(crystal.transformation.T @ crystal.lattice, species.tolist(), positions)
    lengths = np.array(structure.lattice.abc)
    strain = float(np.abs(np.array(result.lattice.abc) / lengths - 1).max())
    note = (
        f"symmetrised within {symprec:g} A from {before.spacegroup_symbol} to {crystal.spacegroup_symbol}; "
        f"atoms moved by up to {distance.min(axis=1).max():.4f} A, cell edges by {100 * strain:.2f} %"
    )
    return result, note


def looser_symmetry(structure: Structure, name: str) -> list[str]:
    """Return one line if a crystal is more symmetric within `LOOSE_SYMPREC`, none if it is not.

    Parameters
    ----------
    structure
        Ordered crystal in any cell.
    name
        Put first: its file or formula.
    """
    found, loose = dataset_of(structure), search(structure, LOOSE_SYMPREC)
    if found is None or loose is None or order(loose) <= order(found):
        return []
    return [
        f"{name}: space group {_named(found)} within {SYMPREC:g} A, but {_named(loose)} within "
        f"{LOOSE_SYMPREC:g} A; planes and slabs are those of {found.international}; to cut the more "
        f"symmetric crystal, give --symprec {LOOSE_SYMPREC:g} (in a campaign, `symprec: {LOOSE_SYMPREC:g}` "
        "beside the file)"
    ]


def _named(dataset: Any) -> str:
    return f"{dataset.international} (no. {dataset.number})"
