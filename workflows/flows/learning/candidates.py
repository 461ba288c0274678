"""Candidates of a campaign: every slab that can be cut of its crystals and was not computed yet."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Structure

from stores.errors import EngineError, InputError
from stores.learning.candidates import (
    CANDIDATES,
    CandidateRecord,
    CutRecord,
    CutSlab,
    PackedSlab,
    add_candidates,
    computed_slabs,
    known_candidates,
    known_cuts,
    remove_candidates,
    slab_key,
)
from stores.method_names import stored_methods
from stores.records import content_hash
from stores.structures.document import structure_from_document
from workflows.engines.kpoints import engine_mesh
from workflows.flows.campaign.file import check_runnable
from workflows.flows.enumeration.cost import Work
from workflows.jobs.progress import relative_cost
from workflows.jobs.slab import slab_identity
from workflows.structures.crystal import bulk_key
from workflows.structures.naming import chemsys, mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from stores.learning.candidates import SlabKey
    from stores.records import Method
    from stores.surfaces import SurfaceStore
    from workflows.engines.protocol import Engine
    from workflows.flows.campaign.file import CampaignStructure
    from workflows.flows.enumeration.cost import CostModel
    from workflows.flows.surface import SurfaceMaker
    from workflows.structures.slabs import SymmetricSlab

_KEPT_AT_ONCE = 20  # crystals cut before their slabs are written; an interruption loses at most these

_DIGITS = 6
"""Of stored coordinates: 1e-6 of 40 A is far below anything a graph feels, and the file is half as large."""


@dataclass(frozen=True)
class CampaignCandidates:
    """Slabs of a campaign that are left to compute."""

    ids: list[str]  # of the candidates
    n_computed: int = 0  # slabs of the campaign that were computed with its method
    n_failed: int = 0  # those of them that failed; `mgsurf run` tries them again
    n_cut: int = 0  # candidates that are new
    left_out: list[str] = field(default_factory=list)  # one line for each compound that cannot be computed


def update_candidates_of(
    store: SurfaceStore,
    maker: SurfaceMaker,
    entries: Sequence[CampaignStructure],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> CampaignCandidates:
    """Cut the crystals that were not cut before, store their slabs, and return those not computed by DFT.

    A crystal whose bulk was relaxed with the campaign's method is cut from the relaxed one; its candidates
    are then exactly the slabs that `mgsurf run` would compute. Another crystal is cut as it came.

    Parameters
    ----------
    store
        Of the campaign.
    maker
        Its engine and slab settings.
    entries
        Its crystals.
    progress
        Called with the number of crystals done and how many there are.
    """
    engine = maker.context.make_engine()
    method = engine.method()
    relaxed = _relaxed(store, method)
    crystals, left_out = _crystals(maker, engine, method, entries)
    computed = computed_slabs(store, method)
    cuts = known_cuts(store, list(crystals))
    there = known_candidates(store, [slab["id"] for cut in cuts.values() for slab in cut["slabs"]])
    wanted: dict[str, SlabKey] = {}
    waiting: list[tuple[list[CandidateRecord], CutRecord]] = []
    n_cut = 0
    for number, (cut_id, entry) in enumerate(crystals.items(), start=1):
        slabs = _known(cuts.get(cut_id), relaxed, computed, there)
        if slabs is None:
            try:
                cut, records = _cut(store, maker, engine, method, relaxed, cut_id, entry)
            except InputError as error:
                left_out.append(f"{entry.where}: {error}")
                continue
            slabs = {r.id: (cut.bulk_key, r.miller_index, r.termination_key) for r in records}
            waiting.append(([record for record in records if slabs[record.id] not in computed], cut))
            if len(waiting) >= _KEPT_AT_ONCE:
                n_cut += _keep(store, waiting)
        wanted |= slabs
        if progress is not None:
            progress(number, len(crystals))
    n_cut += _keep(store, waiting)
    done = {name: key for name, key in wanted.items() if key in computed}
    remove_candidates(store, [name for name in done if name in there])
    return CampaignCandidates(
        ids=[name for name in wanted if name not in done],
        n_computed=len(set(done.values())),
        n_failed=sum(computed[key] for key in set(done.values())),
        n_cut=n_cut,
        left_out=left_out,
    )


def slab_core_hours(cost: CostModel, candidate: dict[str, Any]) -> float:
    """Estimate what a candidate costs: its relaxation and static run (core-hours).

    Bulk, oriented bulk and references are left out, for the slabs of a compound share them.
    """
    n1, n2, n3 = candidate["kpoints"]
    work = relative_cost(candidate["n_atoms"], candidate["volume"], (n1, n2, n3), 1)
    return cost.core_hours(Work(slabs=(work,)))


def _relaxed(store: SurfaceStore, method: Method) -> dict[str, str]:
    """Return the ids of the bulks that were relaxed with a method, by their keys."""
    known = stored_methods(store, "bulks")

    @cache
    def by_method(fingerprint: str, system: str) -> bool:
        return fingerprint in known and method.covers(known[fingerprint], system.split("-"))

    return {
        bulk["bulk_key"]: bulk["id"]
        for bulk in store.query({}, ["id", "bulk_key", "method_fingerprint", "chemsys"], collection="bulks")
        if by_method(bulk["method_fingerprint"], bulk["chemsys"])
    }


def _crystals(
    maker: SurfaceMaker, engine: Engine, method: Method, entries: Sequence[CampaignStructure]
) -> tuple[dict[str, CampaignStructure], list[str]]:
    """Return the crystals that can be computed by ids of their cuts, and a line for each of the others."""
    # the id is a hash of the crystal as it was given, so that a known one needs no symmetry search
    found: dict[str, CampaignStructure] = {}
    left_out = []
    for entry in entries:
        try:
            check_runnable(entry.structure, entry.where)
            engine.check_elements(entry.structure.symbol_set)
        except InputError as error:
            left_out.append(str(error))
            continue
        except EngineError as error:
            left_out.append(f"{entry.where}: {error}")
            continue
        facets = sorted(map(list, entry.facets)) if entry.facets else None
        given = {**_packed(entry.structure).model_dump(), "guess": entry.provenance.lattice_is_guess}
        own = method.for_elements(entry.structure.symbol_set).fingerprint
        settings = {"settings": _settings(maker), "method": own}
        found.setdefault(content_hash({"given": given, "facets": facets, **settings}), entry)
    return found, left_out


def _known(
    cut: dict[str, Any] | None, relaxed: dict[str, str], computed: Container[SlabKey], there: Container[str]
) -> dict[str, SlabKey] | None:
    """Return the slabs of a cut that still holds: keys by ids; None if the crystal must be cut (again)."""
    if cut is None or relaxed.get(cut["bulk_key"], "") != cut["bulk_id"]:
        return None
    bulk = {"bulk_key": cut["bulk_key"]}
    slabs = {slab["id"]: slab_key({**slab, **bulk}) for slab in cut["slabs"]}
    # a candidate that was removed, or whose record was, is not there any more
    return slabs if all(key in computed or name in there for name, key in slabs.items()) else None


def _settings(maker: SurfaceMaker) -> dict[str, Any]:
    """Return the slab settings as they enter the ids of cuts."""
    values = asdict(maker.slabs)
    return {name: float(value) if isinstance(value, int) else value for name, value in values.items()}


def _cut(
    store: SurfaceStore,
    maker: SurfaceMaker,
    engine: Engine,
    method: Method,
    relaxed: dict[str, str],
    cut_id: str,
    entry: CampaignStructure,
) -> tuple[CutRecord, list[CandidateRecord]]:
    structure, key = entry.structure, bulk_key(entry.structure)
    fingerprint = method.for_elements(structure.symbol_set).fingerprint
    bulk_id = relaxed.get(key, "")
    if bulk_id:
        bulk = next(store.query({"id": bulk_id}, ["structure"], collection="bulks"))
        structure = structure_from_document(bulk["structure"], f"record {bulk_id}")
        # those cut from the estimated lattice are no candidates any more
        old = {"bulk_key": key, "method_fingerprint": fingerprint, "bulk_id": {"$ne": bulk_id}}
        store.remove(old, collection=CANDIDATES)
    common = {
        "campaign": maker.context.campaign,
        "bulk_key": key,
        "bulk_id": bulk_id,
        "lattice_is_guess": entry.provenance.lattice_is_guess and not bulk_id,
        "method_fingerprint": fingerprint,
    }
    records = [_record(slab, maker, engine, common) for slab in maker.cut(structure, entry.facets)]
    slabs = [
        CutSlab(id=r.id, miller_index=r.miller_index, termination_key=r.termination_key) for r in records
    ]
    made_with = {"method": method, "method_fingerprint": fingerprint}
    return CutRecord(id=cut_id, bulk_key=key, bulk_id=bulk_id, slabs=slabs, **made_with), records


def _record(
    slab: SymmetricSlab, maker: SurfaceMaker, engine: Engine, common: dict[str, Any]
) -> CandidateRecord:
    cell, key = slab.structure, common["bulk_key"]
    identity = slab_identity(slab, key, maker.slabs)
    return CandidateRecord(
        id=content_hash({**identity, "method": common["method_fingerprint"]}),
        **common,
        formula=mg_first_formula(slab.oriented_bulk.composition),
        chemsys=chemsys(slab.oriented_bulk.composition),
        spacegroup_number=slab.spacegroup_number,
        miller_index=slab.miller_index,
        termination_label=slab.termination_label,
        termination_key=slab.termination_key,
        n_layers=slab.n_layers,
        n_atoms=len(cell),
        volume=round(float(cell.volume), 3),
        kpoints=engine_mesh(engine, cell, slab=True),
        slab=_packed(cell),
    )


def _packed(structure: Structure) -> PackedSlab:
    return PackedSlab(
        numbers=[int(z) for z in structure.atomic_numbers],
        lattice=(np.round(structure.lattice.matrix, _DIGITS) + 0.0).tolist(),
        fractional=(np.round(structure.frac_coords, _DIGITS) + 0.0).tolist(),
    )


def _keep(store: SurfaceStore, waiting: list[tuple[list[CandidateRecord], CutRecord]]) -> int:
    """Write what was cut; return how many candidates are new. Those that are there keep their predictions."""
    records = {record.id: record for part, _ in waiting for record in part}
    there = known_candidates(store, list(records))
    new = [record for name, record in records.items() if name not in there]
    written = add_candidates(store, new, [cut for _, cut in waiting])
    waiting.clear()
    return written
