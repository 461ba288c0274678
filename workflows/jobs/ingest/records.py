"""Records of slabs, bulks and references computed by hand: schema and verdicts are those of computed ones."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from stores.records import (
    BulkRecord,
    CalculationStatus,
    Reconstruction,
    ReferenceRecord,
    SurfaceRecord,
    Verdict,
    Verdicts,
    VerdictStatus,
    content_hash,
)
from stores.structures.vacuum import find_vacuum
from workflows.analysis.reconstruction import score_reconstruction
from workflows.analysis.surface_energy import SurfaceEnergy, reference_element, surface_energy
from workflows.analysis.verdicts import calculation_problems, judge_surface_energy, judge_work_function
from workflows.jobs.ingest.runs import SOURCE, calculation_of, provenance_of
from workflows.jobs.ingest.settings import differences
from workflows.jobs.surface_record import bulk_record, plane_fields, result_fields, work_function_of
from workflows.structures.crystal import crystal_of
from workflows.structures.elements import ground_state, ground_state_prototype
from workflows.structures.layers import atomic_layers
from workflows.structures.naming import atom_counts, mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from stores.records import Record
    from workflows.analysis.work_function import WorkFunction
    from workflows.jobs.ingest.pairs import Pair
    from workflows.jobs.ingest.runs import FinishedRun, RunChain


@lru_cache(maxsize=128)
def bulk_of(chain: RunChain) -> BulkRecord:
    """Return the record of a bulk; `InputError` if it has no energy, or no symmetry can be found."""
    run = chain.last
    energy = run.output.energy
    if energy is None:
        raise InputError(f"{run.directory}: no energy; {run.output.reason or 'run it again'}")
    calculation = calculation_of(run)
    return bulk_record(
        content_hash({"bulk": calculation.id, "source": SOURCE}),
        calculation,
        energy,
        initial=chain.first.initial,
        final=run.final,
        provenance=provenance_of(chain),
    )


@lru_cache(maxsize=128)
def reference_of(chain: RunChain) -> ReferenceRecord:
    """Return the record of an element's bulk as the zero of its chemical potential; errors as `bulk_of`."""
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
    """Return a line if a reference is not the element's ground state; empty if it is."""
    (element,) = chain.last.elements
    try:
        prototype, bulk = ground_state_prototype(element), bulk_of(chain)
    except InputError:  # the ground state is not known
        return ""
    if _is_ground_state(element, bulk):
        return ""
    return (
        f"{chain.last.directory}: reference of {element} is {bulk.spacegroup_symbol}, not its ground state "
        f"{prototype}; surface energies that rest on it are off by the difference; add a run of that"
    )


def _is_ground_state(element: str, bulk: BulkRecord) -> bool:
    try:
        return crystal_of(ground_state(element)).spacegroup_number == bulk.spacegroup_number
    except InputError:
        return False


UNKNOWN_PLANE = (0, 0, 0)  # Miller index of a slab whose plane is not known
STRAINED = 0.01  # in-plane cells of slab and bulk farther apart than this (relative) are not compared


def surface_of(pair: Pair) -> tuple[SurfaceRecord, list[Record]]:
    """Return the record of one slab, and those of its calculations, bulk and references.

    What is missing shows in the verdicts.
    """
    chain, slab = pair.slab, pair.slab.last
    calculations = [calculation_of(run) for run in chain.runs]
    others: list[Record] = list(calculations)
    bulk, trouble = _bulk_record(pair, others)
    gamma, missing, mu0 = _gamma(pair, bulk, others)
    phi = work_function_of(slab.output, slab.final)
    scores, moved = _scores(chain)
    own = [*calculation_problems(calculation_of(run) for run in chain.judged)]
    own[0] += moved
    compared = [] if pair.bulk is None else [pair.bulk, *mu0.values()]
    bulk_failed, bulk_unconverged = calculation_problems(
        calculation_of(run) for chain in compared for run in chain.judged
    )
    inconsistent = [line for c in compared for line in differences(slab, c.last)] + _strain(pair)
    first = calculations[0]
    initial = chain.first.initial
    naming = _naming(pair, initial)
    output = slab.output
    vacuum = find_vacuum(np.asarray(initial.frac_coords)[:, 2] * initial.lattice.c, initial.lattice.c)
    surface = SurfaceRecord(
        id=content_hash({"surface": first.id, "source": SOURCE}),
        formula=bulk.formula if bulk else first.formula,
        chemsys=bulk.chemsys if bulk else first.chemsys,
        method=calculations[-1].method,
        method_fingerprint=calculations[-1].method_fingerprint,
        bulk_id=bulk.id if bulk else "",
        provenance=provenance_of(chain, *([pair.bulk] if pair.bulk else [])),
        spacegroup_number=bulk.spacegroup_number if bulk else 0,
        **naming,
        n_atoms=len(initial),
        composition=atom_counts(initial.composition),
        thickness=vacuum.top - vacuum.bottom,
        vacuum=vacuum.width,
        area=_area(initial),
        slab=initial,
        relaxed_slab=slab.final if chain.first.is_relaxation and not slab.failed else None,
        bulk_energy=bulk.energy_per_formula_unit if bulk else None,
        chemical_potentials={e: bulk_of(c).energy_per_atom for e, c in mu0.items()},
        **result_fields(gamma, phi, output),
        reconstruction=scores,
        verdicts=Verdicts(
            surface_energy=judge_surface_energy(
                gamma.surface_energy if gamma else None,
                scores,
                failed=own[0] + bulk_failed + trouble,
                unconverged=own[1] + bulk_unconverged,
                inconsistent=inconsistent,
                asymmetric=pair.asymmetric,
                missing=missing,
            ),
            work_function=_judge_work_function(pair, phi, scores, *own),
        ),
        calculation_ids={
            **{
                ("relax" if run.is_relaxation else "static"): c.id
                for run, c in zip(chain.runs, calculations, strict=True)
            },
            **({"bulk": bulk.calculation_id} if bulk else {}),
            **{f"reference_{e}": calculation_of(c.last).id for e, c in mu0.items()},
        },
    )
    return surface, others


def _judge_work_function(
    pair: Pair,
    phi: WorkFunction | None,
    scores: Reconstruction | None,
    failed: list[str],
    unconverged: list[str],
) -> Verdict:
    verdict = judge_work_function(
        phi, scores, failed=failed, unconverged=unconverged, asymmetric=pair.asymmetric
    )
    if phi is None and verdict.status is VerdictStatus.FAILED and not failed:
        output = pair.slab.last.output
        details = output.details
        why = (
            details.get("fermi_energy")
            or details.get("locpot")
            or "vasprun.xml and OUTCAR name no Fermi energy"
        )
        return Verdict(status=VerdictStatus.FAILED, reason=str(why))
    remark = pair.slab.last.output.details.get("locpot")
    sound = verdict.status in (VerdictStatus.ACCEPTED, VerdictStatus.VACUUM_NOT_FLAT)
    if phi is not None and remark and sound:
        return Verdict(status=VerdictStatus.FAILED, reason=str(remark))
    return verdict


def _bulk_record(pair: Pair, others: list[Record]) -> tuple[BulkRecord | None, list[str]]:
    if pair.bulk is None:
        return None, []
    try:
        bulk = bulk_of(pair.bulk)
    except InputError as error:
        return None, [str(error)]
    others += [*(calculation_of(run) for run in pair.bulk.runs), bulk]
    return bulk, []


def _gamma(
    pair: Pair, bulk: BulkRecord | None, others: list[Record]
) -> tuple[SurfaceEnergy | None, str, dict[str, RunChain]]:
    """Surface energy, the reason why there is none, and the references that enter it."""
    slab = pair.slab.last
    if bulk is None or pair.bulk is None:
        return None, pair.reason or "the bulk could not be used", {}
    if slab.output.energy is None:
        return None, "the energy of the slab is missing", {}
    amounts = atom_counts(slab.initial.composition)
    reduced = pair.bulk.last.initial.composition.get_reduced_composition_and_factor()[0].get_el_amt_dict()
    used = dict(pair.references)
    stoichiometric = len({amounts.get(e, 0) / n for e, n in reduced.items()}) == 1
    # the label rests on one reference at most: a bad one of another element must not spoil it
    needed = "" if stoichiometric or len(reduced) != 2 else reference_element(reduced)
    used = {e: c for e, c in used.items() if e == needed or _is_good(slab, c)}
    mu0 = {}
    for element, chain in list(used.items()):
        try:
            reference = reference_of(chain)
        except InputError:
            del used[element]
            continue
        mu0[element] = reference.energy_per_atom
        others += [*(calculation_of(run) for run in chain.runs), reference]
    try:
        gamma = surface_energy(
            slab_energy=slab.output.energy,
            slab_composition=amounts,
            area=_area(slab.initial),
            bulk_energy=bulk.energy_per_formula_unit,
            bulk_composition=reduced,
            mu0=mu0,
        )
    except InputError as error:
        return None, str(error), {}
    return gamma, gamma.reason, used


def _is_good(slab: FinishedRun, reference: RunChain) -> bool:
    sound = all(run.output.status is CalculationStatus.OK for run in reference.judged)
    return sound and not differences(slab, reference.last)


def _scores(chain: RunChain) -> tuple[Reconstruction | None, list[str]]:
    first, last = chain.first, chain.last
    if not first.is_relaxation or last.failed:
        return None, []
    try:
        return score_reconstruction(first.initial, last.final, first.free), []
    except InputError:
        return None, [
            f"{first.directory}: the slab's cell changed in the relaxation; keep it fixed (ISIF = 2)"
        ]


def _strain(pair: Pair) -> list[str]:
    if pair.match is None or pair.bulk is None or pair.match.strain <= STRAINED:
        return []
    return [
        f"in-plane cell of the slab differs by {100 * pair.match.strain:.1f} % from that of the bulk "
        f"{pair.bulk.last.directory}"
    ]


def _naming(pair: Pair, initial: Structure) -> dict[str, Any]:
    """Plane and termination, or what stands for them where they are not known."""
    if pair.match is not None and pair.bulk is not None:
        return plane_fields(pair.match.slab, crystal_of(pair.bulk.last.final))
    layers = [_layer_formula(initial, layer) for layer in atomic_layers(initial)]
    bottom, top = layers[0], layers[-1]
    return {
        "miller_index": UNKNOWN_PLANE,
        "termination": 0,
        "termination_label": top if top == bottom else f"{bottom}/{top}",
        "termination_key": "|".join(reversed(layers)),
        "cut": 0.0,
        "period": 0.0,
        "n_layers": len(layers),
    }


def _layer_formula(structure: Structure, layer: Sequence[int]) -> str:
    symbols = [structure[i].specie.symbol for i in layer]
    return mg_first_formula({symbol: symbols.count(symbol) for symbol in set(symbols)})


def _area(structure: Structure) -> float:
    a, b, _ = structure.lattice.matrix
    return float(np.linalg.norm(np.cross(a, b)))
