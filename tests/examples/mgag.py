"""A store of MgAg with published values, as the quickstart would leave it."""

from __future__ import annotations

from stores.connections import open_store
from stores.records import (
    BulkRecord,
    Method,
    Provenance,
    SurfaceRecord,
    Verdict,
    Verdicts,
    VerdictStatus,
    content_hash,
)
from workflows.analysis.surface_energy import surface_energy
from workflows.structures.crystal import bulk_key, crystal_of
from workflows.structures.prototypes import structure_for
from workflows.structures.slabs import enumerate_slabs

# G. Shi et al., J. Magnes. Alloys (2024): Mg-rich surface energy (eV/A^2), work function (eV)
PUBLISHED = {
    ((1, 0, 0), "Mg"): (0.0364, 3.378),
    ((1, 0, 0), "Ag"): (0.0778, 4.304),
    ((1, 1, 0), "MgAg"): (0.0505, 4.078),
    ((1, 1, 1), "Mg"): (0.0537, 3.611),
    ((1, 1, 1), "Ag"): (0.0722, 3.841),
}
MU0 = {"Mg": -1.5, "Ag": -2.7}
FORMATION_ENERGY = -0.7
BULK_ENERGY = MU0["Mg"] + MU0["Ag"] + FORMATION_ENERGY
METHOD = Method(
    engine="published",
    preset="production",
    functional="PBE",
    cutoff=480.0,
    k_density=6.0,
    smearing="none",
    smearing_width=0.0,
    force_tolerance=0.02,
)
ACCEPTED = Verdict(status=VerdictStatus.ACCEPTED)


def write_store(uri: str) -> None:
    """Write the bulk and the five facets of MgAg into a store."""
    crystal = crystal_of(structure_for("MgAg", "B2"))
    common = {
        "formula": "MgAg",
        "chemsys": "Ag-Mg",
        "method": METHOD,
        "method_fingerprint": METHOD.fingerprint,
        "provenance": Provenance(source="prototype", identifiers=["B2"]),
        "spacegroup_number": crystal.spacegroup_number,
    }
    key = bulk_key(crystal.structure)
    bulk = BulkRecord(
        id=content_hash({"bulk": key, "method": METHOD.fingerprint}),
        bulk_key=key,
        initial_structure=crystal.structure,
        structure=crystal.structure,
        spacegroup_symbol=crystal.spacegroup_symbol,
        initial_spacegroup_number=crystal.spacegroup_number,
        energy_per_atom=BULK_ENERGY / 2,
        energy_per_formula_unit=BULK_ENERGY,
        formation_energy=FORMATION_ENERGY,
        calculation_id="bulk",
        **common,
    )
    surfaces = [surface(slab, bulk, common) for f in enumerate_slabs(crystal) for slab in f.slabs]
    assert len(surfaces) == len(PUBLISHED)
    with open_store(uri) as store:
        store.add([bulk, *surfaces])


def surface(slab, bulk, common) -> SurfaceRecord:
    label, phi = PUBLISHED[slab.miller_index, slab.termination_label]
    composition = {e: int(n) for e, n in slab.structure.composition.get_el_amt_dict().items()}
    excess_mg = composition["Mg"] - composition["Ag"]
    energy = 2 * slab.area * label + composition["Ag"] * BULK_ENERGY + excess_mg * MU0["Mg"]
    gamma = surface_energy(energy, composition, slab.area, BULK_ENERGY, {"Mg": 1, "Ag": 1}, MU0)
    return SurfaceRecord(
        id=content_hash({"bulk": bulk.id, "facet": slab.miller_index, "key": slab.termination_key}),
        bulk_id=bulk.id,
        miller_index=slab.miller_index,
        termination=slab.termination,
        termination_label=slab.termination_label,
        termination_key=slab.termination_key,
        cut=slab.cut,
        period=slab.period,
        n_layers=slab.n_layers,
        n_atoms=len(slab.structure),
        composition=composition,
        thickness=slab.thickness,
        vacuum=slab.vacuum,
        area=slab.area,
        slab=slab.structure,
        energy=energy,
        bulk_energy=BULK_ENERGY,
        chemical_potentials=MU0,
        formation_energy=gamma.formation_energy,
        surface_energy=gamma.surface_energy,
        surface_energy_x_rich=gamma.surface_energy_x_rich,
        surface_energy_slope=gamma.slope,
        chemical_potential_window=gamma.window,
        excess=gamma.excess,
        work_function=phi,
        verdicts=Verdicts(surface_energy=ACCEPTED, work_function=ACCEPTED),
        **common,
    )
