"""From finished calculations to the records of a bulk and of a slab, with physics and verdicts; no IO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymatgen.core import Structure

from stores.errors import InputError
from stores.records import (
    BulkRecord,
    CalculationRecord,
    Reconstruction,
    ReferenceRecord,
    SurfaceRecord,
    Verdicts,
    content_hash,
)
from stores.structures.document import structure_from_document
from workflows.analysis.reconstruction import score_reconstruction
from workflows.analysis.surface_energy import check_consistency, surface_energy
from workflows.analysis.verdicts import calculation_problems, judge_surface_energy, judge_work_function
from workflows.analysis.work_function import WorkFunction, work_function
from workflows.jobs.calculate import final_structure
from workflows.structures.crystal import bulk_key, crystal_of
from workflows.structures.facets import equivalent_planes
from workflows.structures.layers import free_atoms
from workflows.structures.naming import atom_counts

if TYPE_CHECKING:
    from stores.records import CalculationOutput, Provenance
    from workflows.analysis.surface_energy import SurfaceEnergy
    from workflows.analysis.verdicts import VerdictThresholds
    from workflows.structures.crystal import Crystal
    from workflows.structures.slabs import SlabSettings, SymmetricSlab


def bulk_record(
    record_id: str,
    calculation: CalculationRecord,
    energy: float,
    *,
    initial: Structure,
    final: Structure,
    provenance: Provenance,
) -> BulkRecord:
    """Return the record of a bulk crystal from its calculation, whose energy (eV) is known."""
    before, after = crystal_of(initial), crystal_of(final)
    return BulkRecord(
        id=record_id,
        formula=calculation.formula,
        chemsys=calculation.chemsys,
        method=calculation.method,
        method_fingerprint=calculation.method_fingerprint,
        bulk_key=bulk_key(initial),
        provenance=provenance,
        initial_structure=initial,
        structure=after.structure,
        spacegroup_number=after.spacegroup_number,
        spacegroup_symbol=after.spacegroup_symbol,
        initial_spacegroup_number=before.spacegroup_number,
        energy_per_atom=energy / len(final),
        energy_per_formula_unit=energy / final.composition.get_reduced_composition_and_factor()[1],
        total_magnetization=calculation.output.total_magnetization,
        calculation_id=calculation.id,
    )


def assemble_surface_record(
    slab: SymmetricSlab,
    *,
    identity: dict[str, Any],
    bulk: dict[str, Any],
    references: list[dict[str, Any]],
    oriented: dict[str, Any] | None,
    relaxation: dict[str, Any] | None,
    static: dict[str, Any] | None,
    settings: SlabSettings,
    thresholds: VerdictThresholds,
    campaign: str,
) -> SurfaceRecord:
    """Compute surface energy, work function, reconstruction score and verdicts of one slab.

    Always gives a record; what is missing shows in the verdicts. `bulk` is the output of `relax_bulk`,
    `references` those of `compute_reference`, one per element that could be computed; `oriented`,
    `relaxation` and `static` are outputs of the slab's jobs, None where a job gave nothing.
    """
    relaxed_bulk = BulkRecord.model_validate(bulk["bulk"])
    crystal = structure_from_document(relaxed_bulk.structure, f"record {relaxed_bulk.id}")
    bulk_calculation = CalculationRecord.model_validate(bulk["calculation"])
    runs = {
        role: CalculationRecord.model_validate(plain)
        for role, plain in (("oriented_bulk", oriented), ("relax", relaxation), ("static", static))
        if plain is not None
    }
    elements = {site.specie.symbol for site in slab.structure}
    known = {
        r["reference"]["element"]: r
        for r in references
        if r["reference"] is not None and r["reference"]["element"] in elements
    }
    reference_runs = {e: CalculationRecord.model_validate(r["calculations"][-1]) for e, r in known.items()}
    mu0 = {e: ReferenceRecord.model_validate(r["reference"]).energy_per_atom for e, r in known.items()}
    own = [runs[role] for role in ("relax", "static") if role in runs]
    failed, unconverged = calculation_problems(own)
    if not own:
        failed = ["the slab's calculations did not run; run the campaign again"]
    bulk_runs = [bulk_calculation] + ([runs["oriented_bulk"]] if "oriented_bulk" in runs else [])
    bulk_failed, bulk_unconverged = calculation_problems(bulk_runs)
    if "oriented_bulk" not in runs:
        bulk_failed.append("the oriented bulk was not computed; run the campaign again")
    gamma, missing = _gamma(slab, runs, relaxed_bulk, mu0)
    if gamma is not None and gamma.surface_energy is None:  # for want of a reference: with its problems
        lost = [c for r in references if r["reference"] is None for c in r["calculations"]]
        more = calculation_problems(CalculationRecord.model_validate(c) for c in lost)
        bulk_failed, bulk_unconverged = bulk_failed + more[0], bulk_unconverged + more[1]
    inconsistent: list[str] = []
    if "static" in runs and "oriented_bulk" in runs:
        inconsistent = check_consistency(runs["static"], runs["oriented_bulk"], reference_runs.values())
    output = runs["static"].output if "static" in runs else None
    phi = None
    if output is not None and output.potential is not None:
        phi = work_function_of(output, final_structure(runs["static"]))
    scores, relaxed = _scores(slab, runs.get("relax"), settings)
    first = runs.get("relax", bulk_calculation)
    return SurfaceRecord(
        id=content_hash({**identity, "method": first.method_fingerprint}),
        formula=relaxed_bulk.formula,
        chemsys=relaxed_bulk.chemsys,
        method=first.method,
        method_fingerprint=first.method_fingerprint,
        campaign=campaign,
        bulk_id=relaxed_bulk.id,
        provenance=relaxed_bulk.provenance,
        spacegroup_number=relaxed_bulk.spacegroup_number,
        **plane_fields(slab, crystal_of(crystal)),
        n_atoms=len(slab.structure),
        composition=atom_counts(slab.structure.composition),
        thickness=slab.thickness,
        vacuum=slab.vacuum,
        area=slab.area,
        slab=slab.structure,
        relaxed_slab=relaxed,
        bulk_energy=_per_formula_unit(runs.get("oriented_bulk"), slab),
        chemical_potentials=mu0,
        **result_fields(gamma, phi, output),
        reconstruction=scores,
        verdicts=Verdicts(
            surface_energy=judge_surface_energy(
                gamma.surface_energy if gamma else None,
                scores,
                failed=failed + bulk_failed,
                unconverged=unconverged + bulk_unconverged,
                inconsistent=inconsistent,
                missing=missing,
                thresholds=thresholds,
            ),
            work_function=judge_work_function(
                phi,
                scores,
                failed=failed,
                unconverged=unconverged,
                missing=str(output.details.get("no_work_function", "")) if output else "",
                thresholds=thresholds,
            ),
        ),
        calculation_ids={
            "bulk": bulk_calculation.id,
            **{role: run.id for role, run in runs.items()},
            **{f"reference_{element}": run.id for element, run in reference_runs.items()},
        },
    )


def plane_fields(slab: SymmetricSlab, crystal: Crystal) -> dict[str, Any]:
    """Return the fields of a SurfaceRecord that name the plane and the termination of a slab of a crystal."""
    names = (
        "miller_index",
        "termination",
        "termination_label",
        "termination_key",
        "cut",
        "period",
        "n_layers",
    )
    fields = {name: getattr(slab, name) for name in names}
    return fields | {"equivalent_planes": sorted(equivalent_planes(crystal, slab.miller_index))}


def result_fields(
    gamma: SurfaceEnergy | None, phi: WorkFunction | None, output: CalculationOutput | None
) -> dict[str, Any]:
    """Return the fields of a SurfaceRecord that hold surface energy, work function and the static run."""
    return {
        "energy": output.energy if output else None,
        "formation_energy": gamma.formation_energy if gamma else None,
        "surface_energy": gamma.surface_energy if gamma else None,
        "surface_energy_x_rich": gamma.surface_energy_x_rich if gamma else None,
        "surface_energy_slope": gamma.slope if gamma else None,
        "chemical_potential_window": gamma.window if gamma else None,
        "reference_element": _in_place_of_mg(gamma),
        "excess": gamma.excess if gamma else {},
        "work_function": phi.work_function if phi else None,
        "work_function_sides": phi.sides if phi else None,
        "vacuum_slopes": phi.slopes if phi else None,
        "vacuum_spreads": phi.spreads if phi else None,
        "fermi_energy": output.fermi_energy if output else None,
        "vbm": output.vbm if output else None,
        "cbm": output.cbm if output else None,
        "potential": output.potential if output else None,
        "total_magnetization": output.total_magnetization if output else None,
    }


def _in_place_of_mg(gamma: SurfaceEnergy | None) -> str | None:
    """Return the reference element of a binary without Mg."""
    if gamma is None or len(gamma.excess) != 2 or gamma.reference_element == "Mg":
        return None
    return gamma.reference_element


def _per_formula_unit(oriented: CalculationRecord | None, slab: SymmetricSlab) -> float | None:
    """E_b (eV per reduced formula) from the oriented cell."""
    if oriented is None or oriented.output.energy is None:
        return None
    units = slab.oriented_bulk.composition.get_reduced_composition_and_factor()[1]
    return float(oriented.output.energy / units)


def _gamma(
    slab: SymmetricSlab, runs: dict[str, CalculationRecord], bulk: BulkRecord, mu0: dict[str, float]
) -> tuple[SurfaceEnergy | None, str]:
    """Surface energy, or None and the reason."""
    bulk_energy = _per_formula_unit(runs.get("oriented_bulk"), slab)
    energy = runs["static"].output.energy if "static" in runs else None
    if energy is None or bulk_energy is None:
        return None, "the energy of the slab or of its oriented bulk is missing"
    reduced = slab.oriented_bulk.composition.get_reduced_composition_and_factor()[0]
    gamma = surface_energy(
        slab_energy=energy,
        slab_composition=atom_counts(slab.structure.composition),
        area=slab.area,
        bulk_energy=bulk_energy,
        bulk_composition=reduced.get_el_amt_dict(),
        mu0=mu0,
        conventional_bulk_energy=bulk.energy_per_formula_unit,
    )
    return gamma, gamma.reason


def work_function_of(output: CalculationOutput, slab: Structure) -> WorkFunction | None:
    """Return the work function of a slab as computed, c along its normal; None without a potential."""
    potential, fermi_energy = output.potential, output.fermi_energy
    if potential is None or fermi_energy is None:
        return None
    heights = slab.frac_coords[:, 2] * slab.lattice.c
    try:
        return work_function(potential.z, potential.potential, heights, fermi_energy, slab.lattice.c)
    except InputError as error:  # a potential that is no numbers costs the work function, not the record
        return WorkFunction(reason=str(error))


def _scores(
    slab: SymmetricSlab, relaxation: CalculationRecord | None, settings: SlabSettings
) -> tuple[Reconstruction | None, Structure | None]:
    if relaxation is None or relaxation.output.structure is None:
        return None, None
    relaxed = final_structure(relaxation)
    free = free_atoms(slab.structure, settings.free_depth, settings.layer_tolerance)
    return score_reconstruction(slab.structure, relaxed, free, settings.layer_tolerance), relaxed
