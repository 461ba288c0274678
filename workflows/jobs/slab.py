"""Jobs on one slab: oriented bulk, relaxation, static run, and the record made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import job

from stores.connections import open_store
from stores.records import CalculationKind, CalculationRecord, CalculationStatus, SurfaceRecord
from workflows.jobs.calculate import CalculationRequest, calculate, final_structure
from workflows.jobs.pre_relaxation import NONE, identity_of, pre_relax
from workflows.jobs.progress import Stage, announce, relative_cost
from workflows.jobs.surface_record import assemble_surface_record
from workflows.structures.layers import free_atoms
from workflows.structures.naming import format_plane, mg_first_formula
from workflows.structures.slabs import SlabSettings

if TYPE_CHECKING:
    from stores.records import CalculationOutput
    from workflows.analysis.verdicts import VerdictThresholds
    from workflows.engines.protocol import Engine, KMesh
    from workflows.jobs.context import RunContext
    from workflows.structures.slabs import SymmetricSlab

SLAB_RELAX_STEPS = 6  # typical number of geometry steps, for cost estimates only


def slab_label(slab: SymmetricSlab) -> str:
    """Name a slab for people, e.g. "MgAg (100) Ag"."""
    formula = mg_first_formula(slab.oriented_bulk.composition)
    return f"{formula} {format_plane(slab.miller_index, slab.spacegroup_number)} {slab.termination_label}"


def slab_identity(slab: SymmetricSlab, bulk_key: str, settings: SlabSettings) -> dict[str, Any]:
    """Return what a slab's id is the hash of; nothing in it depends on relaxed coordinates."""
    return {
        "bulk": bulk_key,
        "facet": list(slab.miller_index),
        "termination": slab.termination_key,
        "layers": slab.n_layers,
        # float: 15 and 15.0 are one vacuum, but two texts
        "vacuum": round(float(slab.vacuum), 3),
        "free_depth": round(float(settings.free_depth), 3),
        "layer_tolerance": round(float(settings.layer_tolerance), 3),
        **identity_of(settings.pre_relaxation),
    }


def oriented_request(slab: SymmetricSlab, bulk_key: str, kpoints: KMesh) -> CalculationRequest:
    """Return the request for the energy of the facet's oriented bulk cell."""
    formula = mg_first_formula(slab.oriented_bulk.composition)
    cell = slab.oriented_bulk
    return CalculationRequest(
        kind=CalculationKind.BULK_STATIC,
        label=f"{formula} {format_plane(slab.miller_index, slab.spacegroup_number)} oriented bulk: static",
        structure=cell,
        identity={
            "bulk": bulk_key,
            "cell": "oriented",
            "facet": list(slab.miller_index),
            "kpoints": list(kpoints),
        },
        cost=relative_cost(len(cell), cell.volume, kpoints, 1),
    )


def slab_requests(
    slab: SymmetricSlab, bulk_key: str, kpoints: KMesh, settings: SlabSettings
) -> tuple[CalculationRequest, CalculationRequest]:
    """Return the requests of a slab: its relaxation, then its energy and potential."""
    cell = slab.structure
    identity = slab_identity(slab, bulk_key, settings)

    def request(kind: CalculationKind, verb: str, ionic_steps: int) -> CalculationRequest:
        return CalculationRequest(
            kind=kind,
            label=f"{slab_label(slab)}: {verb}",
            structure=cell,
            identity={**identity, "kpoints": list(kpoints)},
            cost=relative_cost(len(cell), cell.volume, kpoints, ionic_steps),
        )

    return (
        request(CalculationKind.SLAB_RELAX, "relax", SLAB_RELAX_STEPS),
        request(CalculationKind.SLAB_STATIC, "static", 1),
    )


def _settings(free_depth: float, layer_tolerance: float, pre_relaxation: str) -> SlabSettings:
    """Return the settings of a job, whose arguments are plain numbers as in jobs that wait in a queue."""
    return SlabSettings(free_depth=free_depth, layer_tolerance=layer_tolerance, pre_relaxation=pre_relaxation)


@job(name="oriented bulk static")
def static_oriented_bulk(
    context: RunContext, slab: SymmetricSlab, bulk_key: str, kpoints: KMesh
) -> dict[str, Any]:
    """Compute E_b in the facet's own oriented cell on the slab's in-plane mesh."""
    mesh = (kpoints[0], kpoints[1], kpoints[2])
    record = calculate(
        context,
        oriented_request(slab, bulk_key, mesh),
        lambda engine, folder: engine.static_bulk(slab.oriented_bulk, mesh, folder),
    )
    return record.model_dump(mode="json")


@job(name="slab relax")
def relax_slab(
    context: RunContext,
    slab: SymmetricSlab,
    bulk_key: str,
    kpoints: KMesh,
    free_depth: float,
    layer_tolerance: float,
    pre_relaxation: str = NONE,
) -> dict[str, Any]:
    """Relax the outer layers of a slab, from where it was cut or from where a pre-relaxation left it."""
    mesh = (kpoints[0], kpoints[1], kpoints[2])
    free = free_atoms(slab.structure, free_depth, layer_tolerance)
    request, _ = slab_requests(slab, bulk_key, mesh, _settings(free_depth, layer_tolerance, pre_relaxation))

    def run(engine: Engine, folder: Path) -> CalculationOutput:
        if pre_relaxation == NONE:
            return engine.relax_slab(slab.structure, free, mesh, folder)
        start, metadata = pre_relax(slab.structure, free, layer_tolerance, folder, request.label)
        output = engine.relax_slab(start, free, mesh, folder)
        return output.model_copy(update={"details": {**output.details, "pre_relaxation": metadata}})

    return calculate(context, request, run).model_dump(mode="json")


@job(name="slab static")
def static_slab(
    context: RunContext,
    slab: SymmetricSlab,
    bulk_key: str,
    kpoints: KMesh,
    free_depth: float,
    layer_tolerance: float,
    relaxation: dict[str, Any],
    pre_relaxation: str = NONE,
) -> dict[str, Any] | None:
    """Compute energy and planar potential of the relaxed slab; None if its relaxation gave nothing."""
    relaxed = CalculationRecord.model_validate(relaxation)
    settings = _settings(free_depth, layer_tolerance, pre_relaxation)
    _, request = slab_requests(slab, bulk_key, kpoints, settings)
    if relaxed.output.status is not CalculationStatus.OK:
        announce(Stage.SKIPPED, request.label, cost=request.cost)
        return None
    mesh = (kpoints[0], kpoints[1], kpoints[2])
    structure = final_structure(relaxed)
    previous = Path(relaxed.output.directory)
    record = calculate(
        context,
        request,
        lambda engine, folder: engine.static_slab(
            structure, mesh, folder, prev_dir=previous if previous.is_dir() else None
        ),
    )
    return record.model_dump(mode="json")


@job(name="record surface")
def record_surface(
    context: RunContext,
    slab: SymmetricSlab,
    bulk: dict[str, Any],
    references: list[dict[str, Any] | None],
    oriented: dict[str, Any] | None,
    relaxation: dict[str, Any] | None,
    static: dict[str, Any] | None,
    free_depth: float,
    layer_tolerance: float,
    thresholds: VerdictThresholds,
    pre_relaxation: str = NONE,
) -> dict[str, Any]:
    """Make a SurfaceRecord of everything known about a slab and keep it, whatever its verdict.

    Returns
    -------
    dict
        ``id`` and ``surface``, the SurfaceRecord.
    """
    settings = _settings(free_depth, layer_tolerance, pre_relaxation)
    record = assemble_surface_record(
        slab,
        identity=slab_identity(slab, bulk["bulk"]["bulk_key"], settings),
        bulk=bulk,
        references=[r for r in references if r is not None],
        oriented=oriented,
        relaxation=relaxation,
        static=static,
        settings=settings,
        thresholds=thresholds,
        campaign=context.campaign,
    )
    with open_store(context.store) as store:
        known = store.get(SurfaceRecord, record.id)
        if known is not None and known.campaign:  # the first campaign stays named
            record = record.model_copy(update={"campaign": known.campaign})
        if known is not None and not set(known.calculation_ids) <= set(record.calculation_ids):
            store.add_unless_better(record)  # a job broke off: what it lacks is no new judgement
        else:
            store.add(record)
    announce(Stage.RECORDED, slab_label(slab), text=record.id)
    return {"id": record.id, "surface": record.model_dump(mode="json")}
