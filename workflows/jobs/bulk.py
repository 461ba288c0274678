"""Jobs on bulk crystals: relaxation, and the elements' ground states as references."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Any

from jobflow import job
from pymatgen.core import Structure

from stores.connections import open_store
from stores.errors import InputError
from stores.records import (
    BulkRecord,
    CalculationKind,
    CalculationRecord,
    CalculationStatus,
    Provenance,
    ReferenceRecord,
    content_hash,
)
from stores.structures.document import structure_from_document
from workflows.analysis.surface_energy import formation_energy
from workflows.engines.kpoints import engine_mesh
from workflows.jobs.calculate import CalculationRequest, calculate, final_structure
from workflows.jobs.progress import Stage, announce, relative_cost
from workflows.jobs.surface_record import bulk_record
from workflows.structures.crystal import bulk_key, crystal_of
from workflows.structures.elements import ground_state, ground_state_prototype
from workflows.structures.naming import mg_first_formula

if TYPE_CHECKING:
    from pathlib import Path

    from stores.records import CalculationOutput
    from workflows.engines.protocol import Engine, KMesh
    from workflows.jobs.context import RunContext

REFERENCE_TOLERANCE = 0.005  # mu0 is converged when a denser mesh changes it by less than this (eV/atom)
MESH_FACTORS = (1.0, 1.5, 2.25, 3.4)  # k meshes tried for a reference, as multiples of the engine's own
RELAX_STEPS = 8  # typical number of geometry or equation-of-state steps, for cost estimates only


def relax_bulk_crystal(context: RunContext, structure: Structure) -> CalculationRecord:
    """Relax a crystal's conventional standard cell, or find it relaxed in the store."""
    engine = context.make_engine()
    standard = crystal_of(structure).structure
    formula = mg_first_formula(standard.composition)
    mesh = engine_mesh(engine, standard)
    request = CalculationRequest(
        kind=CalculationKind.BULK_RELAX,
        label=f"{formula} bulk: relax",
        structure=standard,
        identity={"bulk": bulk_key(structure)},
        cost=relative_cost(len(standard), standard.volume, mesh, RELAX_STEPS),
    )
    return calculate(context, request, lambda engine, folder: engine.relax_bulk(standard, folder))


@job(name="relax bulk")
def relax_bulk(context: RunContext, structure: Structure, provenance: dict[str, Any]) -> dict[str, Any]:
    """Relax a bulk crystal and keep it as a BulkRecord.

    Returns
    -------
    dict
        ``calculation``: the CalculationRecord; ``bulk``: the BulkRecord, or None if the relaxation failed.
    """
    calculation = relax_bulk_crystal(context, structure)
    output = calculation.output
    if output.status is not CalculationStatus.OK or output.energy is None:
        return {"calculation": calculation.model_dump(mode="json"), "bulk": None}
    relaxed = final_structure(calculation)
    before, after = crystal_of(structure), crystal_of(relaxed)
    if before.spacegroup_number != after.spacegroup_number:
        announce(
            Stage.NOTE,
            calculation.label,
            text=f"the space group changed from {before.spacegroup_symbol} to {after.spacegroup_symbol}; "
            "facets are indexed in the relaxed cell",
        )
    bulk = bulk_record(
        content_hash({"bulk": calculation.identity["bulk"], "method": calculation.method_fingerprint}),
        calculation,
        output.energy,
        initial=structure,
        final=relaxed,
        provenance=Provenance.model_validate(provenance),
    )
    with open_store(context.store) as store:
        known = store.get(BulkRecord, bulk.id)
        if known is not None and known.energy_per_formula_unit == bulk.energy_per_formula_unit:
            bulk = bulk.model_copy(update={"formation_energy": known.formation_energy})
        store.add(bulk)
    return {"calculation": calculation.model_dump(mode="json"), "bulk": bulk.model_dump(mode="json")}


def keep_formation_energy(
    context: RunContext, bulk: dict[str, Any], references: list[dict[str, Any] | None]
) -> dict[str, Any]:
    """Add its formation energy to the stored bulk, where the references of all its elements are known.

    Returns
    -------
    dict
        `bulk` with the record as it now is: the same number as in the records of its surfaces. An element
        has none.
    """
    record = BulkRecord.model_validate(bulk["bulk"])
    known = [r["reference"] for r in references if r is not None and r["reference"] is not None]
    mu0 = {reference["element"]: reference["energy_per_atom"] for reference in known}
    composition = structure_from_document(record.structure, f"record {record.id}").composition
    amounts = composition.get_reduced_composition_and_factor()[0].get_el_amt_dict()
    energy = formation_energy(record.energy_per_formula_unit, amounts, mu0) if len(amounts) > 1 else None
    if energy is None or energy == record.formation_energy:
        return bulk
    # a later time, so that `mgsurf pull` puts it in the place of the record without
    update = {"formation_energy": energy, "created_at": datetime.now(UTC)}
    record = record.model_copy(update=update)
    with open_store(context.store) as store:
        store.add(record)
    return {**bulk, "bulk": record.model_dump(mode="json")}


@job(name="compute reference")
def compute_reference(context: RunContext, element: str) -> dict[str, Any]:
    """Compute mu0 of an element as a job: `reference_of`."""
    return reference_of(context, element)


def reference_of(context: RunContext, element: str) -> dict[str, Any]:
    """Compute mu0 of an element: its relaxed ground state on k meshes of growing density.

    Returns
    -------
    dict
        ``calculations``: the CalculationRecords; ``reference``: the ReferenceRecord, or None if one failed
        or no reference structure of the element is known.
    """
    try:
        structure = ground_state(element)
    except InputError as error:
        announce(Stage.NOTE, f"{element} reference", text=str(error))
        return {"calculations": [], "reference": None}
    relaxation = relax_bulk_crystal(context, structure)
    calculations = [relaxation]
    if relaxation.output.status is CalculationStatus.OK:
        relaxed = crystal_of(final_structure(relaxation)).primitive_structure
        calculations += _dense_statics(context, element, relaxed, relaxation.identity["bulk"])
    plain = [calculation.model_dump(mode="json") for calculation in calculations]
    densest = calculations[-1]
    if len(calculations) == 1 or densest.output.status is not CalculationStatus.OK:
        return {"calculations": plain, "reference": None}
    assert densest.output.energy is not None
    reference = ReferenceRecord(
        id=content_hash({"element": element, "method": densest.method_fingerprint}),
        formula=element,
        chemsys=element,
        method=densest.method,
        method_fingerprint=densest.method_fingerprint,
        element=element,
        prototype=ground_state_prototype(element),
        structure=densest.output.structure or relaxation.output.structure,
        energy_per_atom=densest.output.energy / len(relaxed),
        total_magnetization=densest.output.total_magnetization,
        calculation_id=densest.id,
    )
    with open_store(context.store) as store:
        store.add(reference)
    return {"calculations": plain, "reference": reference.model_dump(mode="json")}


def _dense_statics(
    context: RunContext, element: str, relaxed: Structure, key: str
) -> list[CalculationRecord]:
    """Densify the mesh of the primitive cell until the energy changes by less than `REFERENCE_TOLERANCE`."""
    coarse = engine_mesh(context.make_engine(), relaxed)
    calculations: list[CalculationRecord] = []
    for factor in MESH_FACTORS:
        mesh = (ceil(coarse[0] * factor), ceil(coarse[1] * factor), ceil(coarse[2] * factor))
        request = CalculationRequest(
            kind=CalculationKind.BULK_STATIC,
            label=f"{element} reference: static {mesh[0]}x{mesh[1]}x{mesh[2]}",
            structure=relaxed,
            identity={"bulk": key, "cell": "primitive", "kpoints": list(mesh)},
            cost=relative_cost(len(relaxed), relaxed.volume, mesh, 1),
        )

        def run(engine: Engine, folder: Path, mesh: KMesh = mesh) -> CalculationOutput:
            return engine.static_bulk(relaxed, mesh, folder)

        calculations.append(calculate(context, request, run))
        energies = [c.output.energy for c in calculations[-2:] if c.output.energy is not None]
        if len(energies) < min(len(calculations), 2):
            return calculations
        if len(energies) == 2 and abs(energies[1] - energies[0]) / len(relaxed) < REFERENCE_TOLERANCE:
            return calculations
    announce(
        Stage.NOTE,
        f"{element} reference",
        text=f"not converged to {1000 * REFERENCE_TOLERANCE:g} meV/atom on the densest mesh {mesh}",
    )
    return calculations
