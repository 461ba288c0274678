"""The four calculations as atomate2 makers, for any atomate2 or jobflow flow.

The engine does not import them: BaseVaspMaker brings emmet's documents, which take half a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomate2.vasp.jobs.base import BaseVaspMaker
from jobflow import job

from workflows.engines.vasp_calculations import relax_crystal, static_slab
from workflows.engines.vasp_runs import run_calculation
from workflows.engines.vasp_sets import (
    BulkRelaxSetGenerator,
    BulkStaticSetGenerator,
    PinnedSetGenerator,
    SlabRelaxSetGenerator,
    SlabStaticSetGenerator,
)
from workflows.engines.vasp_supervision import RunControl

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from stores.records import CalculationOutput


@dataclass
class PinnedVaspMaker(BaseVaspMaker):
    """Base of the four makers.

    atomate2's own running and parsing is not used: custodian gets handlers chosen for metal slabs, and what
    is returned is a `CalculationOutput`, not a document with all bands and grids.

    Parameters
    ----------
    name
        Of the job.
    input_set_generator
        Of the input files; the mesh is in it.
    control
        How VASP is started and watched.
    """

    input_set_generator: PinnedSetGenerator = field(default_factory=PinnedSetGenerator)
    control: RunControl = field(default_factory=RunControl)

    @job
    def make(self, structure: Structure, prev_dir: str | Path | None = None) -> dict[str, Any]:
        """Run the calculation in the current folder.

        Parameters
        ----------
        structure
            Atoms in any order.
        prev_dir
            A run whose WAVECAR and CHGCAR are a good start.

        Returns
        -------
        dict
            The `CalculationOutput` as plain values.
        """
        before = Path(prev_dir) if prev_dir is not None else None
        # a copy: a generator keeps the structure it was asked for last
        output = self.calculate(replace(self.input_set_generator), structure, Path.cwd(), before)
        return output.model_dump(mode="json")

    def calculate(
        self, generator: PinnedSetGenerator, structure: Structure, directory: Path, before: Path | None
    ) -> CalculationOutput:
        """Run the calculation in a folder; see `vasp_runs.run_calculation`."""
        return run_calculation(generator, structure, directory, self.control, before)


@dataclass
class BulkRelaxMaker(PinnedVaspMaker):
    """Relax cell and positions until the cell rests; see `vasp_calculations.relax_crystal`."""

    name: str = "bulk relax"
    input_set_generator: PinnedSetGenerator = field(default_factory=BulkRelaxSetGenerator)

    def calculate(
        self, generator: PinnedSetGenerator, structure: Structure, directory: Path, before: Path | None
    ) -> CalculationOutput:
        """Run the calculation in folders below `directory`."""
        return relax_crystal(generator, structure, directory, self.control, before)


@dataclass
class BulkStaticMaker(PinnedVaspMaker):
    """Compute the energy of a bulk cell as given."""

    name: str = "bulk static"
    input_set_generator: PinnedSetGenerator = field(default_factory=BulkStaticSetGenerator)


@dataclass
class SlabRelaxMaker(PinnedVaspMaker):
    """Relax the atoms of a slab that selective dynamics leaves free, in the fixed cell."""

    name: str = "slab relax"
    input_set_generator: PinnedSetGenerator = field(default_factory=SlabRelaxSetGenerator)


@dataclass
class SlabStaticMaker(PinnedVaspMaker):
    """Compute energy, Fermi energy and planar electrostatic potential of a slab as given."""

    name: str = "slab static"
    input_set_generator: PinnedSetGenerator = field(default_factory=SlabStaticSetGenerator)

    def calculate(
        self, generator: PinnedSetGenerator, structure: Structure, directory: Path, before: Path | None
    ) -> CalculationOutput:
        """Run the calculation; see `vasp_calculations.static_slab`."""
        return static_slab(generator, structure, directory, self.control, before)
