"""The calculations that are more than one run, or a run and a condition on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stores.records import CalculationOutput, CalculationStatus
from stores.structures.document import structure_from_document
from workflows.engines.vasp_restart import RESTART_FILES
from workflows.engines.vasp_runs import run_calculation
from workflows.engines.vasp_sets import BulkStaticSetGenerator, PinnedSetGenerator

if TYPE_CHECKING:
    from pathlib import Path

    from pymatgen.core import Structure

    from workflows.engines.vasp_supervision import RunControl

SAME_CELL = 1e-3
"""Largest strain (1) of a run whose plane waves still fit the cell it ended with."""

CELL_RUNS = 6
"""Runs a cell gets to come to rest."""


def relax_crystal(
    generator: PinnedSetGenerator,
    structure: Structure,
    directory: Path,
    control: RunControl,
) -> CalculationOutput:
    """Relax cell and positions, run after run until the cell rests, then compute its energy.

    A run keeps the plane waves of the cell it began with; in another cell they are another cut-off. So the
    relaxation starts again from the cell it ended with until that no longer changes, and a static run with
    that cell's own plane waves gives the energy. Each run has a folder of its own below `directory`.
    Parameters and errors are those of `vasp_runs.run_calculation`.
    """
    outputs: list[CalculationOutput] = []
    cell: Structure = structure
    before: Path | None = None
    for number in range(1, CELL_RUNS + 1):
        folder = directory / f"cell_{number}"
        folder.mkdir(exist_ok=True)
        output = run_calculation(replace(generator), cell, folder, control, before)
        outputs.append(output)
        if output.status is not CalculationStatus.OK or output.structure is None:
            return _together(outputs, directory, output)
        relaxed = structure_from_document(output.structure, str(folder))
        strain = _strain(cell, relaxed)
        cell, before = relaxed, folder
        if strain < SAME_CELL:
            break
    else:
        reason = f"the cell still changed by {100 * strain:.2f} % in relaxation {CELL_RUNS}"
        unrested = output.model_copy(update={"status": CalculationStatus.UNCONVERGED, "reason": reason})
        return _together(outputs, directory, unrested)
    static = _static_of(generator, cell, directory / "static", control, before)
    outputs.append(static)
    if static.status is CalculationStatus.OK:
        runs = [directory / f"cell_{n}" for n in range(1, len(outputs))]
        drop_restart_files(directory / "static", *runs)
        static = static.model_copy(update={"max_force": output.max_force})
    return _together(outputs, directory, static)


def _static_of(
    relaxation: PinnedSetGenerator,
    cell: Structure,
    directory: Path,
    control: RunControl,
    before: Path | None,
) -> CalculationOutput:
    """Compute a relaxed crystal with the settings and the mesh of its relaxation."""
    asked = replace(relaxation)
    asked.structure = cell
    n = asked.kpoints.kpts[0]
    generator = BulkStaticSetGenerator(
        preset=asked.preset,
        overrides=dict(asked.overrides),
        labels=dict(asked.labels),
        user_incar_settings=dict(asked.user_incar_settings),
        mesh=(int(n[0]), int(n[1]), int(n[2])),
    )
    directory.mkdir(exist_ok=True)
    return run_calculation(generator, cell, directory, control, before)


def _together(
    outputs: list[CalculationOutput], directory: Path, last: CalculationOutput
) -> CalculationOutput:
    """Return the last run's numbers with the steps and corrections of all."""
    details = {**last.details, "runs": len(outputs)}
    for key in ("corrections", "broke_off"):
        lines = [line for output in outputs for line in output.details.get(key, [])]
        if lines:
            details[key] = lines
    return last.model_copy(
        update={
            "ionic_steps": sum(output.ionic_steps or 0 for output in outputs),
            "scf_steps": sum(output.scf_steps or 0 for output in outputs),
            "wall_time": sum(output.wall_time or 0.0 for output in outputs),
            "retried": any(output.retried for output in outputs),
            "directory": str(directory),
            "details": details,
        }
    )


def static_slab(
    generator: PinnedSetGenerator,
    structure: Structure,
    directory: Path,
    control: RunControl,
    prev_dir: Path | None = None,
) -> CalculationOutput:
    """Compute a slab as given, and remove the orbitals and densities that it needed.

    Parameters and errors are those of `vasp_runs.run_calculation`.
    """
    output = run_calculation(generator, structure, directory, control, prev_dir)
    if output.status is CalculationStatus.OK:
        drop_restart_files(directory, *([prev_dir] if prev_dir is not None else []))
    return output


def drop_restart_files(*folders: Path) -> None:
    """Remove WAVECAR and CHGCAR where the run that needed them has ended well: they are most of the disk."""
    for folder in folders:
        for name in RESTART_FILES:
            (folder / name).unlink(missing_ok=True)


def _strain(before: Structure, after: Structure) -> float:
    """Return the largest component of the strain between two cells, rotations left out (1)."""
    deformation = np.linalg.solve(before.lattice.matrix, after.lattice.matrix)
    strain = (deformation @ deformation.T - np.eye(3)) / 2
    return float(np.abs(strain).max())
