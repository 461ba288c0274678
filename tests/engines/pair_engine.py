"""A fast engine for tests of flows: a pair potential, and a slab potential known in closed form.

Real in every respect but its physics: forces are consistent with energies, relaxations relax, the work
function that must come out is known (`VACUUM_LEVEL` - `FERMI_ENERGY` + 0.1 eV per Ag in the outermost layer).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from stores.errors import EngineError
from stores.records import CalculationOutput, Method, PlanarPotential

VACUUM_LEVEL = 4.0
FERMI_ENERGY = 0.25
CUTOFF = 7.0
DEPTH = {("Mg", "Mg"): 0.10, ("Ag", "Ag"): 0.16, ("Ag", "Mg"): 0.22, ("Al", "Ni"): 0.2}
LENGTH = {("Mg", "Mg"): 3.2, ("Ag", "Ag"): 2.9, ("Ag", "Mg"): 2.95, ("Al", "Ni"): 2.6}
STIFFNESS = 1.3  # 1/A


def pair_energy(structure: Structure) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (eV/A, shape (n, 3)) and stress trace dE/dln(a) (eV) of a Morse crystal."""
    centres, neighbours, images, distances = structure.get_neighbor_list(CUTOFF)
    symbols = [site.specie.symbol for site in structure]
    pairs = [tuple(sorted((symbols[i], symbols[j]))) for i, j in zip(centres, neighbours, strict=True)]
    depth = np.array([DEPTH.get(p, 0.12) for p in pairs])
    length = np.array([LENGTH.get(p, 3.0) for p in pairs])
    # Morse, taken to zero smoothly at the cut-off
    inner = np.exp(-STIFFNESS * (distances - length))
    morse, slope = depth * (inner**2 - 2 * inner), depth * STIFFNESS * (2 * inner - 2 * inner**2)
    x = (distances / CUTOFF) ** 2
    smooth, smooth_slope = (1 - x) ** 2, -4 * (1 - x) * distances / CUTOFF**2
    energy = 0.5 * float((morse * smooth).sum())
    derivative = slope * smooth + morse * smooth_slope
    cartesian = structure.cart_coords
    vectors = cartesian[neighbours] + images @ structure.lattice.matrix - cartesian[centres]
    forces = np.zeros_like(cartesian)
    np.add.at(forces, centres, (derivative / distances)[:, None] * vectors)
    return energy, forces, 0.5 * float((derivative * distances).sum())


@dataclass
class PairEngine:
    """Morse crystal behind the `Engine` protocol.

    Parameters
    ----------
    k_density, cutoff
        Enter the method only.
    delay
        Sleep in each calculation (s).
    log
        File that gets one line for each calculation that was really run, at its end.
    fail_on, unconverged_on, crash_on
        Folder-independent marks: a calculation whose description (``kind formula natoms``) contains the mark
        fails, does not converge, or raises.
    corrected
        Element whose crystals were computed wrongly by an older version.
    """

    preset: str = "demo"
    k_density: float = 2.0
    cutoff: float = 300.0
    delay: float = 0.0
    log: str = ""
    fail_on: str = ""
    unconverged_on: str = ""
    crash_on: str = ""
    corrected: str = ""
    ranks: int = 1

    name = "pair"

    def method(self) -> Method:
        return Method(
            engine=self.name,
            preset=self.preset,
            functional="morse",
            cutoff=self.cutoff,
            k_density=self.k_density,
            smearing="none",
            smearing_width=0.0,
            setups={"default": "morse"},
            force_tolerance=0.01,
        )

    def revision(self, elements: Iterable[str]) -> dict[str, bool]:
        return {"corrected": True} if set(elements) == {self.corrected} else {}

    def check_elements(self, elements: Iterable[str]) -> None:
        if "Xe" in elements:
            raise EngineError("engine 'pair' has no parameters for Xe; remove it")

    def kpoints(self, structure: Structure, *, slab: bool = False) -> tuple[int, int, int]:
        n = [
            max(1, int(np.ceil(self.k_density * b / 2 - 1e-3)))
            for b in structure.lattice.reciprocal_lattice.abc
        ]
        return (n[0], n[1], 1 if slab else n[2])

    def relax_bulk(self, structure: Structure, directory: Path) -> CalculationOutput:
        def work() -> CalculationOutput:
            scaled = structure.copy()
            for _ in range(60):  # Newton steps on ln(a) by the virial, for cells whose shape symmetry fixes
                _, _, virial = pair_energy(scaled)
                step = 1e-4
                bigger = scaled.copy()
                bigger.scale_lattice(scaled.volume * (1 + step) ** 3)
                curvature = (pair_energy(bigger)[2] - virial) / np.log(1 + step)
                change = -virial / abs(curvature)
                if abs(change) < 1e-9:
                    break
                scaled.scale_lattice(scaled.volume * np.exp(np.clip(change, -0.02, 0.02)) ** 3)
            return self._output(scaled, pair_energy(scaled)[0], kpoints=self.kpoints(structure))

        return self._do("bulk_relax", structure, directory, work)

    def static_bulk(
        self, structure: Structure, kpoints: tuple[int, int, int], directory: Path
    ) -> CalculationOutput:
        return self._do(
            "bulk_static",
            structure,
            directory,
            lambda: self._output(structure, pair_energy(structure)[0], kpoints=kpoints),
        )

    def relax_slab(
        self,
        structure: Structure,
        free: Sequence[bool],
        kpoints: tuple[int, int, int],
        directory: Path,
    ) -> CalculationOutput:
        def work() -> CalculationOutput:
            relaxed, mask = structure.copy(), np.array(free)[:, None]
            for step in range(300):  # noqa: B007 -- the number of steps is reported
                _, forces, _ = pair_energy(relaxed)
                forces = forces * mask
                if np.abs(forces).max() < 0.01:
                    break
                relaxed = Structure(
                    relaxed.lattice,
                    relaxed.species,
                    relaxed.cart_coords + 0.1 * forces,
                    coords_are_cartesian=True,
                )
            energy = pair_energy(relaxed)[0]
            return self._output(
                relaxed, energy, kpoints=kpoints, ionic_steps=step + 1, max_force=float(np.abs(forces).max())
            )

        return self._do("slab_relax", structure, directory, work)

    def static_slab(
        self,
        structure: Structure,
        kpoints: tuple[int, int, int],
        directory: Path,
        prev_dir: Path | None = None,
    ) -> CalculationOutput:
        def work() -> CalculationOutput:
            height = structure.lattice.c
            z = np.arange(0.0, height, 0.1)
            atoms = structure.cart_coords[:, 2]
            top = [s.specie.symbol for s in structure if s.coords[2] > atoms.max() - 0.5]
            level = VACUUM_LEVEL + 0.1 * top.count("Ag")
            outside = np.maximum(np.maximum(atoms.min() - z, z - atoms.max()), 0.0)
            potential = level - (level + 6.0) * np.exp(-((outside / 1.2) ** 2))
            return self._output(
                structure,
                pair_energy(structure)[0],
                kpoints=kpoints,
                fermi_energy=FERMI_ENERGY,
                potential=PlanarPotential(z=z.tolist(), potential=potential.tolist()),
            )

        return self._do("slab_static", structure, directory, work)

    def _output(self, structure: Structure, energy: float, **more: Any) -> CalculationOutput:
        elements = sorted({site.specie.symbol for site in structure})
        return CalculationOutput(
            status="ok",
            structure=structure,
            energy=energy,
            setups=dict.fromkeys(elements, "morse"),
            engine_version="1",
            **more,
        )

    def _do(self, kind: str, structure: Structure, directory: Path, work: Any) -> CalculationOutput:
        what = f"{kind} {structure.composition.reduced_formula} {len(structure)}"
        time.sleep(self.delay)
        if self.crash_on and self.crash_on in what:
            raise RuntimeError(f"crash requested in {what}")
        if self.fail_on and self.fail_on in what:
            output = CalculationOutput(status="failed", reason="failure requested")
        elif self.unconverged_on and self.unconverged_on in what:
            output = CalculationOutput(
                status="unconverged", reason="set not to converge", structure=structure
            )
        else:
            output = work()
        if self.log:
            with Path(self.log).open("a") as log:
                log.write(f"{directory.name} {what}\n")
                log.flush()
                os.fsync(log.fileno())
        return output
