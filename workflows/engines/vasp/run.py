"""VASP calculations in their folders: prepared, run, restarted if they broke off, read and judged."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import pluralize
from stores.files import replacing
from stores.input_files import is_compressed, open_input
from stores.records import CalculationKind, CalculationOutput, CalculationStatus, content_hash
from stores.structures.document import structure_from_document
from workflows.engines.vasp.custodian import (
    CustodianResult,
    RunControl,
    run_custodian,
    time_left,
    vasp_command,
)
from workflows.engines.vasp.files import find_file
from workflows.engines.vasp.inputs import PARALLEL_TAGS, PATH_TAGS, PinnedSetGenerator
from workflows.engines.vasp.outputs import read_output
from workflows.engines.vasp.potcars import low_cutoffs
from workflows.engines.vasp.restart import (
    RESTART_FILES,
    archive_attempt,
    compress,
    discard_task,
    end_orphan,
    last_geometry,
    read_note,
    write_note,
)
from workflows.engines.worker_tasks import check_ordered

if TYPE_CHECKING:
    from pymatgen.core import Structure


ORDER = "mgsurf_order"
MAY_NOT_MOVE = 1e-4
"""If a frozen atom or a fixed cell changed by more (A), input and output do not belong together."""

SAME_CELL = 1e-3  # largest strain (1) of a run whose plane waves still fit the cell it ended with
CELL_RUNS = 6  # largest number of relaxations of a cell

RESULTS = ("energy", "fermi_energy", "vbm", "cbm", "max_force", "potential", "total_magnetization")
"""Fields that a failed calculation does not have."""


def sorted_cell(structure: Structure) -> tuple[Structure, list[int]]:
    """Group the species as POSCAR and POTCAR need it; return also each atom's number in `structure`."""
    cell = structure.copy()
    cell.add_site_property(ORDER, list(range(len(structure))))
    cell = cell.get_sorted_structure()
    order = [int(number) for number in cell.site_properties[ORDER]]
    cell.remove_site_property(ORDER)
    return cell, order


def run_calculation(
    generator: PinnedSetGenerator,
    structure: Structure,
    directory: Path,
    control: RunControl,
    prev_dir: Path | None = None,
) -> CalculationOutput:
    """Run one calculation in its own folder; an earlier attempt there is resumed.

    The atoms of `structure` may stand in any order, which is that of the result; a slab's free atoms are
    marked by the site property ``selective_dynamics``. WAVECAR and CHGCAR of `prev_dir` are the start of
    SCF. A run that broke off, was stopped or did not converge has that status, with a reason.

    Raises
    ------
    EngineError, InputError
        If the set-up is wrong: command, POTCARs, input.
    OSError
        If the disk is full.
    """
    check_ordered(structure, "vasp")
    vasp_command(control)  # a missing program is reported before anything is written
    cell, order = sorted_cell(structure)
    generator.structure = cell
    task = _task(generator, cell)
    end_orphan(directory)
    relaxes, slab = generator.is_relaxation, generator.kind is CalculationKind.SLAB_STATIC
    start: Structure | None = None
    note = read_note(directory)
    same_task = note.get("task") == task
    if same_task and note.get("status") == CalculationStatus.OK.value:
        # only what was judged: a run that custodian gave up may look converged
        output = read_output(directory, slab=slab)
        if output.status is CalculationStatus.OK and not _lacks_potential(generator, output):
            return _finish(generator, structure, directory, output, CustodianResult(), [])
    if (left := time_left()) < control.walltime_buffer:
        reason = f"not started: the queue ends this job in {max(left, 0):.0f} s; the next run resumes it"
        return CalculationOutput(status=CalculationStatus.FAILED, reason=reason, directory=str(directory))
    if same_task:
        start = last_geometry(directory, cell) if relaxes else None
        archive_attempt(directory)
    else:
        discard_task(directory)
    broken: list[str] = []
    while True:
        _write(generator, start or cell, directory, prev_dir, {"task": task, "order": order})
        result = run_custodian(directory, control)
        output = read_output(directory, slab=slab)
        if not result.broke_off:
            break
        broken.append(_where_it_broke_off(directory, output.ionic_steps or 0))
        if len(broken) > control.restarts or time_left() < control.walltime_buffer:
            break
        start = (last_geometry(directory, cell) or start) if relaxes else None
        archive_attempt(directory)
    return _finish(generator, structure, directory, output, result, broken)


def _task(generator: PinnedSetGenerator, cell: Structure) -> str:
    """Hash everything that decides the result; what only leads there may differ between attempts."""
    tags = {k: v for k, v in generator.incar.items() if k not in PATH_TAGS and k not in PARALLEL_TAGS}
    return content_hash(
        {
            "kind": generator.kind.value,
            "tags": tags,
            "mesh": [int(n) for n in generator.kpoints.kpts[0]],
            "potcars": [potcar.setup for potcar in generator.potcar_files()],
            "species": [site.specie.symbol for site in cell],
            "lattice": np.round(cell.lattice.matrix, 6).tolist(),
            "positions": np.round(cell.frac_coords, 6).tolist(),
            "free": np.asarray(cell.site_properties.get("selective_dynamics", [])).tolist(),
        }
    )


def _write(
    generator: PinnedSetGenerator,
    start: Structure,
    directory: Path,
    prev_dir: Path | None,
    note: dict[str, Any],
) -> None:
    if prev_dir is not None:
        for name in RESTART_FILES:
            _provide(prev_dir, directory, name, written=generator.is_relaxation)
    given = {name: _has_content(directory / name) for name in RESTART_FILES}
    generator.orbitals_given, generator.density_given = given["WAVECAR"], given["CHGCAR"]
    generator.get_input_set(start).write_input(str(directory))
    write_note(directory, note)


def _provide(prev_dir: Path, directory: Path, name: str, *, written: bool) -> None:
    """Give a run the orbitals or the density of an earlier one."""
    # a run that does not write the file gets a link; for one that does, a link would let a kill while it is
    # written damage what the next attempt begins with
    source = find_file(prev_dir, name)
    if source is None or _has_content(directory / name) or not _has_content(source):
        return
    (directory / name).unlink(missing_ok=True)
    if not written and not is_compressed(source):
        with suppress(OSError):  # another file system, or one without links
            os.link(source, directory / name)
            return
    with (
        replacing(directory / name, alone=True) as new,
        open_input(source) as stream,
        new.open("wb") as plain,
    ):
        shutil.copyfileobj(stream, plain, 1 << 20)


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _where_it_broke_off(directory: Path, ionic_steps: int) -> str:
    """Return the number of complete steps of a run and the last line that it wrote on stderr, if any."""
    found = f"after {pluralize(ionic_steps, 'whole ionic step')}"
    with suppress(OSError):
        lines = (directory / "std_err.txt").read_text(errors="replace").split("\n")
        if last := next((line.strip() for line in reversed(lines) if line.strip()), ""):
            return f"{found}, last line on stderr {last[:160]!r}"
    return found


def _finish(
    generator: PinnedSetGenerator,
    structure: Structure,
    directory: Path,
    output: CalculationOutput,
    result: CustodianResult,
    broken: list[str],
) -> CalculationOutput:
    """Judge a run, map its atoms back, and compress its files."""
    status, reason = _verdict(output, result, broken)
    potcars = generator.potcar_files()
    warnings = low_cutoffs(potcars, generator.settings.cutoff)
    final = None
    if output.structure is not None:
        final, mismatch = _mapped_back(generator, structure, output)
        if mismatch and status is not CalculationStatus.FAILED:
            status, reason = CalculationStatus.FAILED, mismatch
    if status is CalculationStatus.OK and _lacks_potential(generator, output):
        # noted as failed, it is run again by the next call
        status, reason = CalculationStatus.FAILED, str(output.details.get("locpot", "no LOCPOT was written"))
    details = {**output.details, "attempts": len(broken) + 1}
    for key, lines in (("corrections", result.corrections), ("broke_off", broken), ("warnings", warnings)):
        if lines:
            details[key] = lines
    if generator.is_slab:
        details["dipole_correction"] = bool(generator.incar.get("LDIPOL"))
    moments = output.site_magnetizations
    if moments is not None and len(moments) == len(structure):
        moments = [moments[i] for i in np.argsort(sorted_cell(structure)[1])]
    changes: dict[str, Any] = {
        "status": status,
        "reason": reason,
        "structure": None if final is None else final.as_dict(verbosity=0),
        "site_magnetizations": moments,
        "kpoints": tuple(int(n) for n in generator.kpoints.kpts[0]),
        "setups": {potcar.element: potcar.setup for potcar in potcars},
        "retried": bool(result.corrections or broken),
        "directory": str(directory),
        "details": details,
    }
    if status is CalculationStatus.FAILED:
        changes |= dict.fromkeys((*RESULTS, "site_magnetizations"))
    write_note(directory, {**read_note(directory), "status": status.value})
    compress(directory)
    # model_copy would not validate
    return CalculationOutput.model_validate(output.model_dump() | changes)


def _lacks_potential(generator: PinnedSetGenerator, output: CalculationOutput) -> bool:
    return generator.kind is CalculationKind.SLAB_STATIC and output.potential is None


def _verdict(
    output: CalculationOutput, result: CustodianResult, broken: list[str]
) -> tuple[CalculationStatus, str]:
    runs = [(len(list(same)), words) for words, same in groupby(result.corrections)]
    listed = "; ".join(words if n == 1 else f"{words}, {n} times" for n, words in runs)
    corrections = f"; corrections: {listed}" if listed else ""
    if result.gave_up:
        unconverged = result.unconverged and output.status is CalculationStatus.UNCONVERGED
        status = CalculationStatus.UNCONVERGED if unconverged else CalculationStatus.FAILED
        found = f"{output.reason}; " if unconverged else ""
        return status, f"{found}custodian gave up: {result.gave_up}{corrections}"
    if result.broke_off:
        times = f"{len(broken)} times" if len(broken) > 1 else "once"
        places = "; ".join(dict.fromkeys(broken))
        return CalculationStatus.FAILED, f"VASP was killed or crashed {times}: {places}{corrections}"
    if output.energy is not None and output.energy > 0:
        # relative to single atoms no crystal or slab has one
        found = f"the energy is positive ({output.energy:.3f} eV): atoms overlap or SCF diverged"
        return CalculationStatus.FAILED, f"{found}{corrections}"
    if output.status is CalculationStatus.OK:
        return output.status, ""
    if result.walltime:
        reason = "stopped before the queue's time ran out; the next run resumes from the last geometry"
        return CalculationStatus.FAILED, reason
    return output.status, f"{output.reason}{corrections}"


def _mapped_back(
    generator: PinnedSetGenerator, structure: Structure, output: CalculationOutput
) -> tuple[Structure | None, str]:
    """Return the final geometry with the atoms, images and order of `structure`, or why it does not fit."""
    from pymatgen.core import Lattice, Structure

    cell, order = sorted_cell(structure)
    found = structure_from_document(output.structure, "vasprun.xml")
    if [site.specie.symbol for site in found] != [site.specie.symbol for site in cell]:
        return None, "the atoms in vasprun.xml are not those of the input; remove the folder and run again"
    step = found.frac_coords - cell.frac_coords
    step -= np.round(step)  # VASP wraps positions into the cell
    lattice = cell.lattice.matrix
    if generator.kind is CalculationKind.BULK_RELAX:
        lattice = found.lattice.matrix
    elif np.abs(found.lattice.matrix - lattice).max() > MAY_NOT_MOVE:
        return None, "the cell in vasprun.xml is not that of the input; remove the folder and run again"
    frozen: np.ndarray = np.ones(len(cell), dtype=bool)
    if generator.kind is CalculationKind.BULK_RELAX:
        frozen[:] = False
    elif generator.kind is CalculationKind.SLAB_RELAX:
        frozen = np.array(~np.asarray(generator.poscar.selective_dynamics, dtype=bool).any(axis=1))
    moved = np.abs((step @ lattice)[frozen]).max(initial=0.0)
    if moved > MAY_NOT_MOVE:
        return None, f"an atom that should stay moved by {moved:.4f} A; remove the folder and run again"
    step[frozen] = 0.0
    positions = np.empty_like(step)
    positions[order] = cell.frac_coords + step
    kept = {key: v for key, v in structure.site_properties.items() if key != "selective_dynamics"}
    return Structure(Lattice(lattice), structure.species, positions, site_properties=kept), ""


def relax_crystal(
    generator: PinnedSetGenerator,
    static_generator: PinnedSetGenerator,
    structure: Structure,
    directory: Path,
    control: RunControl,
) -> CalculationOutput:
    """Relax cell and positions, run after run until the cell rests, then compute its energy.

    A run keeps the plane waves of the cell it began with; in another cell they are another cut-off. So the
    relaxation starts again from the cell it ended with until that no longer changes, and a static run with
    that cell's own plane waves gives the energy. Each run has a folder of its own below `directory`.
    Errors are those of `run_calculation`.
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
    folder = directory / "static"
    folder.mkdir(exist_ok=True)
    static = run_calculation(static_generator, cell, folder, control, before)
    outputs.append(static)
    if static.status is CalculationStatus.OK:
        drop_restart_files(folder, *directory.glob("cell_*"))
        static = static.model_copy(update={"max_force": output.max_force})
    return _together(outputs, directory, static)


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
