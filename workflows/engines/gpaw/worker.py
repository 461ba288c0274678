"""Runs one GPAW calculation in a process (or MPI job) of its own.

Started in the calculation's directory, where it reads ``input.json`` and leaves ``output.json``. It is
run by path, serially by ``python -P`` or on every MPI rank by ``python -P -m gpaw python``. This is the
only file that imports gpaw. Finished geometries are kept in a journal, so that an interrupted relaxation
resumes where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Run by path: the directory of this file (whose gpaw.py would hide the real one) must not be on the
    # path, the repository root must.
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.optimize import BFGS

from stores.files import write_file
from workflows.engines.gpaw.bulk import (
    BulkRelaxation,
    KeepSymmetry,
    mesh_symmetries,
    primitive_cell,
    relax_cell,
)
from workflows.engines.kpoints import mesh_of_lattice

# A gap smaller than this (eV) in the sampled bands is taken as that of a metal.
SMALLEST_GAP = 0.1

# Where BFGS of slabs starts (eV/A^2), near the curvature of a metal's layers, and its longest step (A). From
# ASE's 70 the first step is so short that the forces change by no more than their own error at the demo
# criteria (0.02 eV/A), and the Hessian built from that threw MgAg (110) 0.09 eV uphill. MgAg (100) takes 6
# geometries and 40 SCF steps, 9 and 55 from 70.
SURFACE_CURVATURE = 25.0
LONGEST_STEP = 0.1


# Geometries that agree to this many decimals (A) are the same; a replayed path agrees exactly.
DECIMALS = 7


def geometry_key(atoms: Atoms, mesh: tuple[int, ...]) -> str:
    """Return a hash of a geometry and its k mesh."""
    numbers = np.round(np.concatenate([np.ravel(atoms.cell[:]), np.ravel(atoms.positions)]), DECIMALS) + 0.0
    text = json.dumps([atoms.numbers.tolist(), list(mesh), numbers.tolist()])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Journal:
    """Results of finished geometries, one JSON line each; a line cut short by a kill is ignored.

    One rank only `writes` the file.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.entries: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    entry = json.loads(line)
                    self.entries.setdefault(entry["key"], {}).update(entry["results"])
                except (ValueError, KeyError, TypeError):
                    continue

    def add(self, key: str, results: dict[str, Any]) -> None:
        """Keep results, on the writing rank also on disk."""
        self.entries.setdefault(key, {}).update(results)
        if self.writes:
            with self.path.open("a") as file:
                # The leading newline ends a line that an earlier kill may have cut short.
                file.write("\n" + json.dumps({"key": key, "results": results}) + "\n")


class JournalCalculator(Calculator):
    """Returns results of the journal where it can, else computes and keeps them.

    A relaxation that is started again computes the same geometries in the same order: the finished ones
    cost nothing, and the optimiser builds up the same Hessian on the way. `compute` returns the named
    properties of a geometry: energy and free_energy (eV), forces (eV/A), stress (eV/A^3).
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 -- as ASE has it

    def __init__(
        self,
        journal: Journal,
        mesh: tuple[int, ...],
        compute: Callable[[Atoms, list[str]], dict[str, Any]],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.journal = journal
        self.mesh = mesh
        self.compute = compute

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results` with at least the requested properties (ASE's interface)."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        geometry = self.atoms
        if geometry is None:
            raise ValueError("a calculator needs atoms")
        key = geometry_key(geometry, self.mesh)
        wanted = list(properties or ["energy"])
        known = self.journal.entries.get(key, {})
        if any(name not in known for name in wanted):
            self.journal.add(key, self.compute(geometry, wanted))
            known = self.journal.entries[key]
        self.results.update(
            {name: np.array(value) if isinstance(value, list) else value for name, value in known.items()}
        )


class Session:
    """GPAW with the settings of one calculation, and the one retry of an SCF that does not converge."""

    def __init__(self, task: dict[str, Any]) -> None:
        from gpaw.mpi import world

        self.task = task
        self.is_master = world.rank == 0
        self.journal = Journal(Path("journal.jsonl"), writes=self.is_master)
        # No rank may read the journal after the first one has begun to write it.
        world.barrier()
        self.retried = False
        self.own_symmetry = False
        self.scf_steps = 0
        self._calculators: dict[tuple[int, ...], Any] = {}
        self._n_logs = 0

    def _new_gpaw(self, atoms: Atoms, mesh: tuple[int, ...]) -> Any:
        from gpaw import GPAW, PW, FermiDirac

        settings = dict(self.task["settings"])
        maxiter = settings["maxiter"]
        extra: dict[str, Any] = {}
        if settings.get("empty_bands"):
            extra["nbands"] = -(len(atoms) + 4)  # beyond the occupied ones: a fifth and 4, GPAW's own rule
        if self.own_symmetry:
            extra["symmetry"] = {"rotations": mesh_symmetries(atoms, mesh)}
        if self.retried:
            gentler = settings["gentler"]
            extra |= {"eigensolver": gentler["eigensolver"], "mixer": gentler["mixer"]}
            maxiter *= gentler["maxiter_factor"]
        self._n_logs += 1
        return GPAW(
            mode=PW(settings["cutoff"]),
            xc=settings["functional"],
            occupations=FermiDirac(settings["smearing_width"]),
            kpts={"size": tuple(mesh), "gamma": True},
            setups=settings["setups"],
            convergence=settings["convergence"],
            maxiter=maxiter,
            spinpol=settings["spin_polarized"],
            txt="gpaw.txt" if self._n_logs == 1 else f"gpaw-{self._n_logs}.txt",
            **{"eigensolver": settings["eigensolver"], **extra},
        )

    def compute(self, atoms: Atoms, properties: list[str], mesh: tuple[int, ...]) -> dict[str, Any]:
        """Converge SCF at a geometry and return its energies and the requested properties.

        KohnShamConvergenceError if SCF has not converged with the gentler settings either.
        """
        from gpaw import KohnShamConvergenceError
        from gpaw.new.symmetry import SymmetryAnalysisBug

        while True:
            try:
                return self._compute(atoms, properties, mesh)
            except KohnShamConvergenceError:
                if self.retried:
                    raise
                self.retried = True
            except SymmetryAnalysisBug:
                # GPAW looks for matrices of -1, 0 and 1 only. In a tilted cell, such as that of an oriented
                # bulk, these need not form a group, and it stops.
                if self.own_symmetry:
                    raise
                self.own_symmetry = True
            self._calculators.clear()

    def _compute(self, atoms: Atoms, properties: list[str], mesh: tuple[int, ...]) -> dict[str, Any]:
        if mesh not in self._calculators:
            # One cell at a time: wave functions of another mesh only take memory.
            self._calculators.clear()
            self._calculators[mesh] = self._new_gpaw(atoms, mesh)
        gpaw = self._calculators[mesh]
        bare = atoms.copy()
        bare.set_constraint()
        bare.set_initial_magnetic_moments(self.start_moments(bare))
        # At the geometry of its last SCF, GPAW returns its results without another.
        needs_scf = not gpaw.results or gpaw.calculation_required(bare, ["energy"])
        results: dict[str, Any] = {
            "energy": float(gpaw.get_potential_energy(bare)),
            "free_energy": float(gpaw.get_potential_energy(bare, force_consistent=True)),
        }
        if needs_scf:
            self.scf_steps += int(gpaw.get_number_of_iterations())
        if "forces" in properties:
            results["forces"] = gpaw.get_forces(bare).tolist()
        if "stress" in properties:
            results["stress"] = gpaw.get_stress(bare).tolist()
        return results

    def start_moments(self, atoms: Atoms) -> list[float]:
        """Return the start moment of each atom (Bohr magnetons)."""
        moments = self.task["settings"]["start_moments"]
        return [float(moments.get(symbol, 0.0)) for symbol in atoms.get_chemical_symbols()]

    def calculator(self, mesh: tuple[int, ...]) -> JournalCalculator:
        """Return an ASE calculator for one k mesh."""
        return JournalCalculator(
            self.journal, mesh, lambda atoms, properties: self.compute(atoms, properties, mesh)
        )

    def final_state(self, atoms: Atoms, mesh: tuple[int, ...], slab: bool) -> dict[str, Any]:
        """Return all that is kept of the converged state of a geometry."""
        import gpaw as package

        results = self.compute(atoms, ["energy"], mesh)
        gpaw = self._calculators[mesh]
        state: dict[str, Any] = {
            "energy": results["energy"],
            "fermi_energy": float(gpaw.get_fermi_level()),
            "engine_version": package.__version__,
            "cell": atoms.cell[:].tolist(),
            "positions": atoms.positions.tolist(),
            "mesh": list(mesh),
            "retried": self.retried,
            "scf_steps": self.scf_steps,
            "setup_fingerprints": setup_fingerprints(atoms.get_chemical_symbols(), gpaw.setups),
        }
        state |= _band_edges(gpaw.eigenvalues(), state["fermi_energy"])
        if self.task["settings"]["spin_polarized"]:
            state["total_magnetization"] = float(gpaw.get_magnetic_moment(gpaw.atoms))
            state["site_magnetizations"] = [float(m) for m in gpaw.get_magnetic_moments(gpaw.atoms)]
        if slab:
            state["potential"] = _planar_potential(gpaw, atoms)
        return state


def setup_fingerprints(symbols: list[str], setups: Sequence[Any]) -> dict[str, str]:
    """Return the start of the MD5 sum that GPAW took of each element's setup when it read it."""
    return {s: setup.fingerprint[:8] for s, setup in zip(symbols, setups, strict=True) if setup.fingerprint}


def _band_edges(eigenvalues: Any, fermi_energy: float) -> dict[str, float]:
    """Return VBM and CBM (eV) if every k point has the same number of bands below the Fermi energy."""
    occupied = eigenvalues < fermi_energy
    counts = occupied.sum(axis=2)
    if not occupied.any() or any(len(set(of_spin)) > 1 for of_spin in counts.tolist()) or occupied.all():
        return {}
    vbm = float(eigenvalues[occupied].max())
    cbm = float(eigenvalues[~occupied].min())
    return {"vbm": vbm, "cbm": cbm} if cbm - vbm > SMALLEST_GAP else {}


def _planar_potential(gpaw: Any, atoms: Atoms) -> dict[str, list[float]]:
    """Average the electrostatic potential (eV, an electron's energy) over planes parallel to the surface."""
    average = gpaw.get_electrostatic_potential().mean(axis=(0, 1))
    height = atoms.get_volume() / np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1]))
    z = np.arange(len(average)) * height / len(average)
    return {"z": z.round(6).tolist(), "potential": average.round(6).tolist()}


def relax_bulk(session: Session, atoms: Atoms) -> dict[str, Any]:
    """Relax cell and positions, then compute energy and forces in the primitive cell on its own mesh.

    Energy and structure are those of the cell as given. A spin-polarised crystal is computed in that cell
    itself: its magnetic order may be larger than the primitive cell, and each atom's moment is kept.
    """
    settings = session.task["settings"]
    density = settings["bulk_k_density"]

    def calculator_factory(k_density: float) -> Callable[[Atoms], JournalCalculator]:
        return lambda cell: session.calculator(mesh_of_lattice(cell.cell[:], k_density))

    relaxation: BulkRelaxation = relax_cell(
        atoms,
        calculator_factory(settings["k_density"]),
        calculator_factory(density),
        settings["force_tolerance"],
        settings["max_ionic_steps"],
    )
    relaxed = relaxation.atoms
    cell = relaxed if settings["spin_polarized"] else primitive_cell(relaxed)
    state = session.final_state(cell, mesh_of_lattice(cell.cell[:], density), slab=False)
    state["max_force"] = _largest_force(session, cell, tuple(state["mesh"]))
    return state | {
        "energy": state["energy"] * len(relaxed) / len(cell),
        "cell": relaxed.cell[:].tolist(),
        "positions": relaxed.positions.tolist(),
        "status": "ok" if relaxation.converged else "unconverged",
        "reason": relaxation.reason,
        "ionic_steps": relaxation.ionic_steps,
        "details": relaxation.details,
    }


def _largest_force(session: Session, atoms: Atoms, mesh: tuple[int, ...]) -> float:
    forces = session.compute(atoms, ["energy", "forces"], mesh)["forces"]
    return float(np.linalg.norm(np.array(forces), axis=1).max())


def static(session: Session, atoms: Atoms, slab: bool) -> dict[str, Any]:
    """Compute a cell as given."""
    mesh = tuple(session.task["mesh"])
    state = session.final_state(atoms, mesh, slab)
    return state | {"status": "ok", "reason": "", "ionic_steps": 1}


def relax_slab(session: Session, atoms: Atoms) -> dict[str, Any]:
    """Relax the free atoms in the fixed cell and keep the potential of the last geometry."""
    settings = session.task["settings"]
    mesh = tuple(session.task["mesh"])
    free = np.array(session.task["free"], dtype=bool)
    if "start_positions" in session.task:
        atoms.set_positions(session.task["start_positions"])
    atoms.set_constraint([KeepSymmetry(atoms, adjust_cell=False), FixAtoms(mask=~free)])
    atoms.calc = session.calculator(mesh)
    optimizer = BFGS(atoms, logfile=None, alpha=SURFACE_CURVATURE, maxstep=LONGEST_STEP)
    converged = bool(optimizer.run(fmax=settings["force_tolerance"], steps=settings["max_ionic_steps"]))
    largest = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    state = session.final_state(atoms, mesh, slab=True)
    reason = ""
    if not converged:
        reason = (
            f"forces still {largest:.3f} eV/A after {optimizer.nsteps} ionic steps "
            f"(limit {settings['force_tolerance']:g})"
        )
    return state | {
        "status": "ok" if converged else "unconverged",
        "reason": reason,
        "max_force": largest,
        "ionic_steps": optimizer.nsteps + 1,
    }


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run one task; SCF that does not converge is a status, not an error."""
    from gpaw import KohnShamConvergenceError

    session = Session(task)
    atoms = Atoms(task["symbols"], positions=task["positions"], cell=task["cell"], pbc=True)
    kind = task["kind"]
    try:
        if kind == "bulk_relax":
            return relax_bulk(session, atoms)
        if kind == "slab_relax":
            return relax_slab(session, atoms)
        return static(session, atoms, slab=kind == "slab_static")
    except KohnShamConvergenceError:
        settings = task["settings"]
        steps = settings["maxiter"] * settings["gentler"]["maxiter_factor"]
        return {
            "status": "unconverged",
            "reason": f"SCF not converged in {settings['maxiter']} steps, nor in {steps} with gentler mixing",
            "cell": atoms.cell[:].tolist(),
            "positions": atoms.positions.tolist(),
            "mesh": task.get("mesh"),
            "retried": True,
            "scf_steps": session.scf_steps,
        }


def _end_with_parent() -> None:
    """End this rank when the process that started the calculation, or mpirun, is gone."""
    parent = int(os.environ.get("MGSURF_PARENT_PID", "0"))
    launcher = os.getppid()

    def watch() -> None:
        while True:
            time.sleep(0.5)
            gone = os.getppid() != launcher
            if parent and not gone:
                try:
                    os.kill(parent, 0)
                except ProcessLookupError:
                    gone = True
                except PermissionError:
                    gone = False
            if gone:
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Read the task, run it, and write its result in one atomic step."""
    _end_with_parent()
    Path("worker.started").touch()
    task = json.loads(Path("input.json").read_text())
    from gpaw.mpi import world

    ranks = os.environ.get("MGSURF_WORKER_RANKS", str(world.size))
    if int(ranks) != world.size:
        # Each process takes itself for the first rank and would write over the others.
        Path("worker.other-mpi").touch()
        sys.exit(f"{ranks} MPI ranks were requested, GPAW sees {world.size}: mpirun is not of GPAW's MPI")
    begin = time.time()
    try:
        answer = run(task)
    except Exception as error:
        # The parent shows this line; the traceback goes to worker.err.
        message = " ".join(str(error).split()) or "no message"
        Path(f"error-{world.rank}.txt").write_text(f"{type(error).__name__}: {message}\n")
        raise
    if world.rank == 0:
        answer["wall_time"] = time.time() - begin
        answer["cpu_time"] = time.process_time()
        answer["ranks"] = world.size
        answer["task_hash"] = task["task_hash"]
        write_file(Path("output.json"), json.dumps(answer), alone=True)
    world.barrier()


if __name__ == "__main__":
    main()
