"""The engine vasp on the stand-in VASP, and small cells for it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymatgen.core import Lattice, Structure

from tests.stand_in_vasp.potcars import write_potcars
from workflows.engines.vasp.engine import VaspEngine
from workflows.structures.layers import free_atoms
from workflows.structures.slabs import enumerate_slabs

if TYPE_CHECKING:
    import pytest

STAND_IN = shlex.join([sys.executable, str(Path(__file__).parents[1] / "stand_in_vasp" / "vasp_std")])
QUICK = {"vasp_command": STAND_IN, "polling_time": 0.05, "monitor_time": 0.3}
"""Options for runs that last a tenth of a second."""

MESH = (3, 4, 1)


def set_up(monkeypatch: pytest.MonkeyPatch, folder: Path, names: list[str] | None = None) -> None:
    """Give pymatgen and mgsurf a folder of synthetic POTCARs, and the stand-in no faults."""
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(write_potcars(folder / "potcars", names)))
    for name in ("SLURM_JOB_END_TIME", "MGSURF_JOB_END_TIME", "STAND_IN_VASP_FAULT", "STAND_IN_VASP_STATE"):
        monkeypatch.delenv(name, raising=False)


def engine(**options: Any) -> VaspEngine:
    """Build a quick engine of the preset demo."""
    return VaspEngine(**({"preset": "demo"} | QUICK | options))


def mgag() -> Structure:
    """B2 MgAg, atoms in the order Mg Ag."""
    return Structure(Lattice.cubic(3.34), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def mgag_slab() -> tuple[Structure, list[bool]]:
    """MgAg (110) with its species in turn, as no POSCAR may list them, and the atoms that are free."""
    slab = enumerate_slabs(mgag(), miller_indices=[(1, 1, 0)])[0].slabs[0].structure
    by_species = {"Mg": [], "Ag": []}  # type: dict[str, list[int]]
    for i, site in enumerate(slab):
        by_species[site.specie.symbol].append(i)
    turns = [i for pair in zip(by_species["Ag"], by_species["Mg"], strict=True) for i in pair]
    mixed = Structure(slab.lattice, [slab.species[i] for i in turns], slab.frac_coords[turns])
    return mixed, free_atoms(mixed)
