"""Trees of finished calculations as people keep them, computed by the stand-in VASP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Lattice, Structure

from tests.stand_in_vasp.running import run, write_inputs
from workflows.structures.layers import free_atoms
from workflows.structures.slabs import SlabSettings, enumerate_slabs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

B2 = Structure(Lattice.cubic(3.34), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
HCP_MG = Structure(Lattice.hexagonal(3.2, 5.2), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
RELAX = {"NSW": 40, "IBRION": 2, "ISIF": 2, "EDIFFG": -0.02}
STATIC = {"NSW": 0, "LVHAR": True}


def compute(folder: Path, structure: Structure, **settings: Any) -> Path:
    """Run the stand-in in a new folder."""
    write_inputs(folder, structure, **settings)
    done = run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def compute_bulk(folder: Path, structure: Structure, **settings: Any) -> Structure:
    """Relax a bulk; return the relaxed cell."""
    compute(folder, structure, **{"kpoints": (4, 4, 4), **RELAX, "ISIF": 3, **settings})
    return Structure.from_file(folder / "CONTCAR")


def cut(bulk: Structure, miller: tuple[int, int, int], number: int = 0, thickness: float = 6.0) -> Structure:
    """Cut one symmetric slab."""
    (facet,) = enumerate_slabs(bulk, SlabSettings(min_thickness=thickness), miller_indices=[miller])
    return facet.slabs[number].structure


def compute_slab(
    folder: Path, slab: Structure, free: Sequence[bool] | None = None, **settings: Any
) -> Structure:
    """Relax a slab in ``relax`` and compute its potential in ``static``; return the relaxed slab."""
    mesh = {"kpoints": (4, 4, 1)}
    marks = free_atoms(slab) if free is None else free
    compute(folder / "relax", slab, free=marks, **{**mesh, **RELAX, **settings})
    relaxed = Structure.from_file(folder / "relax" / "CONTCAR")
    tags = {key: value for key, value in settings.items() if key not in RELAX}
    compute(folder / "static", relaxed, **{**mesh, **STATIC, **tags})
    return relaxed


def reordered(structure: Structure, order: Sequence[int]) -> Structure:
    """Return the same atoms with the lattice vectors in another order."""
    chosen = list(order)
    matrix = np.asarray(structure.lattice.matrix)[chosen]
    return Structure(Lattice(matrix), structure.species, structure.frac_coords[:, chosen])


def quick_tree(root: Path) -> None:
    """Bulk MgAg, hcp Mg, and the slabs (100) with Mg and with Ag outermost."""
    bulk = compute_bulk(root / "MgAg" / "bulk", B2)
    compute_bulk(root / "Mg", HCP_MG)
    for number in (0, 1):
        slab = cut(bulk, (1, 0, 0), number)
        top = slab[int(np.argmax(slab.frac_coords[:, 2]))].specie.symbol
        compute_slab(root / "MgAg" / f"100_{top}", slab)
