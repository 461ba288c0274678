"""Records of bulk crystals and elemental references that were computed by hand."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from stores.errors import InputError
from stores.method import content_hash
from stores.records import BulkRecord, ReferenceRecord
from workflows.jobs.ingest_calculations import SOURCE, calculation_of, provenance_of
from workflows.structures.crystal import crystal_of
from workflows.structures.elements import ground_state_prototype
from workflows.structures.identity import bulk_key
from workflows.structures.naming import chemsys, mg_first_formula

if TYPE_CHECKING:
    from workflows.jobs.ingest_runs import RunChain


@lru_cache(maxsize=128)
def bulk_of(chain: RunChain) -> BulkRecord:
    """Return the record of a bulk.

    Raises
    ------
    InputError
        If it has no energy, or no symmetry can be found.
    """
    run = chain.last
    energy = run.output.energy
    if energy is None:
        raise InputError(f"{run.directory}: no energy; {run.output.reason or 'run it again'}")
    calculation = calculation_of(run)
    before, after = crystal_of(chain.first.initial), crystal_of(run.final)
    composition = run.initial.composition
    return BulkRecord(
        id=content_hash({"bulk": calculation.id, "source": SOURCE}),
        formula=mg_first_formula(composition),
        chemsys=chemsys(composition),
        method=calculation.method,
        method_fingerprint=calculation.method_fingerprint,
        bulk_key=bulk_key(chain.first.initial),
        provenance=provenance_of(chain),
        initial_structure=chain.first.initial,
        structure=after.structure,
        spacegroup_number=after.spacegroup_number,
        spacegroup_symbol=after.spacegroup_symbol,
        initial_spacegroup_number=before.spacegroup_number,
        energy_per_atom=energy / len(run.initial),
        energy_per_formula_unit=energy / composition.get_reduced_composition_and_factor()[1],
        total_magnetization=run.output.total_magnetization,
        calculation_id=calculation.id,
    )


@lru_cache(maxsize=128)
def reference_of(chain: RunChain) -> ReferenceRecord:
    """Return the record of an element's bulk as the zero of its chemical potential.

    Raises
    ------
    InputError
        As `bulk_of`.
    """
    bulk = bulk_of(chain)
    (element,) = chain.last.elements
    try:
        prototype = ground_state_prototype(element)
    except InputError:
        prototype = ""
    return ReferenceRecord(
        id=content_hash({"reference": bulk.calculation_id, "source": SOURCE}),
        formula=element,
        chemsys=element,
        method=bulk.method,
        method_fingerprint=bulk.method_fingerprint,
        element=element,
        prototype=prototype if _is_ground_state(element, bulk) else bulk.spacegroup_symbol,
        structure=bulk.structure,
        energy_per_atom=bulk.energy_per_atom,
        total_magnetization=bulk.total_magnetization,
        calculation_id=bulk.calculation_id,
    )


def metastable(chain: RunChain) -> str:
    """Say that a reference has another structure than the element's ground state; empty if it has not."""
    (element,) = chain.last.elements
    try:
        prototype, bulk = ground_state_prototype(element), bulk_of(chain)
    except InputError:  # of an unknown ground state nothing can be said
        return ""
    if _is_ground_state(element, bulk):
        return ""
    return (
        f"{chain.last.directory}: reference of {element} is {bulk.spacegroup_symbol}, not its ground state "
        f"{prototype}; surface energies that rest on it are off by the difference; add a run of that"
    )


def _is_ground_state(element: str, bulk: BulkRecord) -> bool:
    from workflows.structures.elements import ground_state

    try:
        return crystal_of(ground_state(element)).spacegroup_number == bulk.spacegroup_number
    except InputError:
        return False
