"""Plug in an engine of your own, and run the flow of one compound from Python.

    python examples/own_engine.py

The engine is ASE's effective-medium theory: fcc Ag in seconds, without DFT. It has no electrons, so no
potential, and every work function gets the verdict `failed` with that reason; surface energies are real.
"""

import tempfile
import warnings
from pathlib import Path

from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.io.ase import AseAtomsAdaptor

from stores.errors import EngineError
from stores.records import CalculationOutput, CalculationStatus, Method
from workflows.engines.kpoints import mesh_of_lattice

FORCE_TOLERANCE = 0.01  # eV/A


class EMTEngine:
    """Effective-medium theory behind `workflows.engines.protocol.Engine`."""

    name = "emt"

    def __init__(self, preset="demo"):
        self.preset = preset

    def method(self):
        """Say what decides the numbers; the fingerprint of every record is made of it."""
        return Method(
            engine=self.name,
            preset=self.preset,
            functional="EMT",
            cutoff=0.0,
            k_density=1.0,
            smearing="none",
            smearing_width=0.0,
            force_tolerance=FORCE_TOLERANCE,
        )

    def check_elements(self, elements):
        """Refuse what the engine cannot do before anything is computed."""
        if refused := set(elements) - {"Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"}:
            raise EngineError(f"emt has no parameters of {', '.join(sorted(refused))}; use another engine")

    def kpoints(self, structure, *, slab=False):
        """Return a mesh, which EMT ignores but records and consistency checks look at."""
        return mesh_of_lattice(structure.lattice.matrix, 1.0, slab)

    def relax_bulk(self, structure, directory):
        """Relax cell and positions."""
        atoms = self._atoms(structure)
        converged = BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=FORCE_TOLERANCE, steps=200)
        return self._output(atoms, self.kpoints(structure), converged)

    def static_bulk(self, structure, kpoints, directory):
        """Compute the energy of a cell."""
        return self._output(self._atoms(structure), kpoints)

    def relax_slab(self, structure, free, kpoints, directory):
        """Relax the free atoms; the others stay."""
        atoms = self._atoms(structure)
        atoms.set_constraint(FixAtoms(mask=[not is_free for is_free in free]))
        converged = BFGS(atoms, logfile=None).run(fmax=FORCE_TOLERANCE, steps=200)
        return self._output(atoms, kpoints, converged)

    def static_slab(self, structure, kpoints, directory, prev_dir=None):
        """Compute the energy of a slab; a DFT engine would add Fermi energy and planar potential."""
        return self._output(self._atoms(structure), kpoints)

    def _atoms(self, structure):
        atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
        atoms.calc = EMT()
        return atoms

    def _output(self, atoms, kpoints, converged=True):
        return CalculationOutput(
            status=CalculationStatus.OK if converged else CalculationStatus.UNCONVERGED,
            reason="" if converged else "forces not converged in 200 steps",
            structure=AseAtomsAdaptor.get_structure(atoms),
            energy=float(atoms.get_potential_energy()),
            kpoints=kpoints,
            setups=dict.fromkeys(atoms.get_chemical_symbols(), "emt"),
        )


def main():
    from jobflow import run_locally

    from stores.connections import open_job_store, open_store
    from workflows.flows.surface import SurfaceMaker
    from workflows.jobs.context import RunContext
    from workflows.structures.elements import ground_state

    warnings.simplefilter("ignore", FutureWarning)  # jobflow uses a function that monty will remove
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder).absolute()}/emt.sqlite"
        context = RunContext(store=uri, work_dir=folder, engine="own_engine:EMTEngine", campaign="example")
        flow = SurfaceMaker(context).make(ground_state("Ag"))
        run_locally(flow, store=open_job_store(uri), root_dir=folder, log=False)
        with open_store(uri) as store:
            for record in store.surfaces(sort={"surface_energy": 1}):
                verdicts = record.verdicts
                print(
                    f"{record.formula} {record.miller_index}  {record.surface_energy:.4f} eV/A^2 "
                    f"({verdicts.surface_energy.status})   work function: {verdicts.work_function.reason}"
                )


if __name__ == "__main__":
    main()
