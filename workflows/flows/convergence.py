"""Convergence of surface energy and work function with thickness, k density, cut-off and vacuum.

Slabs are taken as cut: the scans show errors of the method, which relaxing would hide behind noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from pymatgen.core import Structure

from stores.errors import EngineError, InputError
from stores.records import CalculationKind, CalculationRecord, CalculationStatus
from workflows.analysis.surface_energy import surface_energy
from workflows.analysis.work_function import work_function
from workflows.engines.kpoints import engine_mesh
from workflows.jobs.bulk import relax_bulk_crystal
from workflows.jobs.calculate import CalculationRequest, calculate, final_structure
from workflows.jobs.progress import relative_cost
from workflows.jobs.slab import oriented_request, slab_identity, slab_label
from workflows.structures.crystal import bulk_key, crystal_of
from workflows.structures.elements import ground_state
from workflows.structures.naming import atom_counts
from workflows.structures.slabs import SlabSettings, SymmetricSlab, enumerate_slabs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workflows.jobs.context import RunContext
    from workflows.structures.facets import Miller

SCANS = {
    "thickness": "slab thickness (A)",
    "k_density": "k density (A)",
    "cutoff": "plane-wave cut-off (eV)",
    "vacuum": "vacuum (A)",
}
"""The scans, each with its unit."""

VACUA = (12.0, 15.0, 18.0, 22.0)
FACTORS = {"k_density": (0.75, 1.0, 1.25, 1.5), "cutoff": (0.8, 1.0, 1.2, 1.4)}
N_THICKNESSES = 4
AS_CUT = SlabSettings(free_depth=0.0, layer_tolerance=0.0)
REFERENCE_MESH = 1.5  # the references' mesh as a multiple of the engine's


@dataclass(frozen=True)
class ScanPoint:
    """Results at one setting."""

    setting: float  # value of the scanned setting, in the unit of `SCANS`
    surface_energy: float | None  # Mg-rich, of the slab as cut (eV/A^2)
    work_function: float | None  # mean of both sides (eV); None if the vacuum leaves no plateau
    n_units: float  # bulk formula units N_X/b in the slab (atoms for an element)
    bulk_like_energy: float  # slab energy less the reservoir's part, 2 A gamma + n_units E_b (eV)
    area: float  # of one side (A^2)


@dataclass(frozen=True)
class SlabScan:
    """Scans of one termination of one facet."""

    context: RunContext  # engine, store and working directory
    structure: Structure  # bulk crystal, relaxed here first
    # miller_index, termination: of the slab
    miller_index: Miller
    termination: int = 0
    # min_thickness, vacuum: of the slab while another setting is scanned (A)
    min_thickness: float = 10.0
    vacuum: float = 15.0

    def points(self, scan: str) -> Iterator[ScanPoint]:
        """Compute one scan (a key of `SCANS`), point by point.

        Raises
        ------
        InputError
            If scan, facet or termination do not exist.
        EngineError
            If a calculation fails.
        """
        if scan not in SCANS:
            raise InputError(f"scan '{scan}' is unknown; choose from {', '.join(SCANS)}")
        bulk = _finished(relax_bulk_crystal(self.context, self.structure))
        relaxed = final_structure(bulk)
        key = bulk_key(self.structure)
        method = self.context.make_engine().method()
        if scan == "thickness":
            for slab in self._thicknesses(relaxed):
                yield self._point(self.context, slab, key, scan, slab.thickness)
        elif scan == "vacuum":
            for vacuum in VACUA:
                slab = self._cut(relaxed, self.min_thickness, vacuum)
                yield self._point(self.context, slab, key, scan, vacuum)
        else:
            slab = self._cut(relaxed, self.min_thickness, self.vacuum)
            # the bulk is not the one that the scanned settings would give, so neither is its identity
            own = method.for_elements(relaxed.symbol_set)
            key = f"{key} relaxed by {own.fingerprint}"
            for factor in FACTORS[scan]:
                value = round(getattr(method, scan) * factor, 3)
                context = replace(self.context, options={**self.context.options, scan: value})
                yield self._point(context, slab, key, scan, value)

    def _cut(self, bulk: Structure, min_thickness: float, vacuum: float) -> SymmetricSlab:
        settings = SlabSettings(min_thickness=min_thickness, vacuum=vacuum, max_atoms=None)
        (facet,) = enumerate_slabs(bulk, settings, miller_indices=[self.miller_index])
        if facet.reason:
            raise InputError(f"{facet.miller_index}: {facet.reason}; choose another facet")
        if not 0 <= self.termination < len(facet.slabs):
            labels = ", ".join(f"{s.termination} ({s.termination_label})" for s in facet.slabs)
            raise InputError(
                f"{facet.miller_index} has no termination {self.termination}; choose from {labels}"
            )
        return facet.slabs[self.termination]

    def _thicknesses(self, bulk: Structure) -> list[SymmetricSlab]:
        slabs = [self._cut(bulk, 0.6 * self.min_thickness, self.vacuum)]
        while len(slabs) < N_THICKNESSES:
            slabs.append(self._cut(bulk, slabs[-1].thickness + 0.1, self.vacuum))
        return slabs

    def _point(
        self, context: RunContext, slab: SymmetricSlab, key: str, scan: str, setting: float
    ) -> ScanPoint:
        """Compute slab, oriented bulk and references with the same settings."""
        what = f"{scan.replace('_', ' ')} {setting:.1f}"
        engine = context.make_engine()
        mesh = engine_mesh(engine, slab.structure, slab=True)
        bulk_mesh = (mesh[0], mesh[1], engine_mesh(engine, slab.oriented_bulk)[2])
        oriented = _finished(
            calculate(
                context,
                oriented_request(slab, key, bulk_mesh),
                lambda engine, folder: engine.static_bulk(slab.oriented_bulk, bulk_mesh, folder),
            )
        )
        cell = slab.structure
        request = CalculationRequest(
            kind=CalculationKind.SLAB_STATIC,
            label=f"{slab_label(slab)}, {what}: static as cut",
            structure=cell,
            identity={**slab_identity(slab, key, AS_CUT), "kpoints": list(mesh), "as_cut": True},
            cost=relative_cost(len(cell), cell.volume, mesh, 1),
        )
        static = _finished(
            calculate(context, request, lambda engine, folder: engine.static_slab(cell, mesh, folder))
        )
        reduced, units = slab.oriented_bulk.composition.get_reduced_composition_and_factor()
        composition = atom_counts(cell.composition)
        mu0 = {e: self._mu0(context, e) for e in composition} if len(composition) > 1 else {}
        assert static.output.energy is not None
        assert oriented.output.energy is not None
        gamma = surface_energy(
            slab_energy=static.output.energy,
            slab_composition=composition,
            area=slab.area,
            bulk_energy=oriented.output.energy / units,
            bulk_composition=reduced.get_el_amt_dict(),
            mu0=mu0,
        )
        reference = gamma.reference_element
        reservoir = gamma.excess.get(reference, 0.0) * mu0.get(reference, 0.0)
        partner = next((e for e in composition if e != reference), reference)
        return ScanPoint(
            setting=setting,
            surface_energy=gamma.surface_energy,
            work_function=_work_function(static, cell),
            n_units=composition[partner] / reduced[partner],
            bulk_like_energy=static.output.energy - reservoir,
            area=slab.area,
        )

    def _mu0(self, context: RunContext, element: str) -> float:
        """Energy per atom of an element's ground state, relaxed with the scan's base settings (eV)."""
        structure = ground_state(element)
        relaxed = crystal_of(
            final_structure(_finished(relax_bulk_crystal(self.context, structure)))
        ).primitive_structure
        coarse = engine_mesh(context.make_engine(), relaxed)
        mesh = tuple(ceil(REFERENCE_MESH * n) for n in coarse)
        dense = (mesh[0], mesh[1], mesh[2])
        request = CalculationRequest(
            kind=CalculationKind.BULK_STATIC,
            label=f"{element} reference: static {dense[0]}x{dense[1]}x{dense[2]}",
            structure=relaxed,
            identity={
                "bulk": bulk_key(structure),
                "cell": "primitive",
                "kpoints": list(dense),
                "relaxed_with": self.context.make_engine().method().for_elements((element,)).fingerprint,
            },
            cost=relative_cost(len(relaxed), relaxed.volume, dense, 1),
        )
        record = _finished(
            calculate(context, request, lambda engine, folder: engine.static_bulk(relaxed, dense, folder))
        )
        assert record.output.energy is not None
        return record.output.energy / len(relaxed)


def _work_function(static: CalculationRecord, cell: Structure) -> float | None:
    potential, fermi = static.output.potential, static.output.fermi_energy
    if potential is None or fermi is None:
        return None
    return work_function(
        potential.z, potential.potential, cell.cart_coords[:, 2], fermi, cell.lattice.c
    ).work_function


def _finished(record: CalculationRecord) -> CalculationRecord:
    """Return the record, or raise `EngineError` if its calculation did not end well."""
    if record.output.status is not CalculationStatus.OK:
        raise EngineError(f"{record.label}: {record.output.status.value}: {record.output.reason}")
    return record


def thickness_series(points: Sequence[ScanPoint]) -> tuple[list[float], list[float], float]:
    """Return units, energies and area as `workflows.analysis.convergence.fit_thickness` takes them."""
    return [p.n_units for p in points], [p.bulk_like_energy for p in points], points[0].area
