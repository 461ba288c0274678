"""One compound: from its bulk crystal to a record for every facet; resources of its jobs on a queue."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from jobflow import Flow, JobConfig, Maker, OnMissing, Response, job
from pymatgen.core import Structure

from stores.structures.document import structure_from_document
from workflows.analysis.verdicts import VerdictThresholds
from workflows.engines.kpoints import engine_mesh
from workflows.jobs.bulk import compute_reference, keep_formation_energy, relax_bulk
from workflows.jobs.context import RunContext
from workflows.jobs.progress import Stage, announce
from workflows.jobs.slab import (
    oriented_request,
    record_surface,
    relax_slab,
    slab_label,
    slab_requests,
    static_oriented_bulk,
    static_slab,
)
from workflows.structures.naming import format_plane, mg_first_formula
from workflows.structures.slabs import DEFAULT_SETTINGS, SlabSettings, SymmetricSlab, enumerate_slabs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobflow import Job

    from workflows.engines.protocol import KMesh


QueuePlan = dict[str, Any]
"""``{"light": request, "bulk": request, "slabs": [[atoms, request], ...]}`` with plain values only.

A request is a jobflow-remote ``manager_config``: ``resources`` (keys of the scheduler's header), ``worker``,
and ``exec_config`` (variables of the job). A slab gets the first request whose number of atoms it does not
exceed, else the last. The plan is carried inside the flow, for most jobs are made while it runs.
"""

JOB_METADATA = "mgsurf_job"  # key of a job's metadata for its size: ``{"size": ..., "atoms": ...}``


class JobSize(StrEnum):
    """Light jobs cut slabs and make records; the others run the engine."""

    LIGHT = "light"
    BULK = "bulk"
    SLAB = "slab"


def request_for(plan: QueuePlan, size: JobSize, atoms: int = 0) -> dict[str, Any]:
    """Return the request of a job; `atoms` is the size of its slab."""
    if size is not JobSize.SLAB:
        return dict(plan[size.value])
    tiers = plan["slabs"]
    chosen = next((request for most, request in tiers if most is None or atoms <= most), tiers[-1][1])
    return dict(chosen)


def prepare(
    job: Job, plan: QueuePlan | None, size: JobSize, atoms: int = 0, *, keep_going: bool = False
) -> None:
    """Set a job's request (none without a plan), and whether it runs even if a job before it has failed.

    With `keep_going` failures before it end in verdicts, not in silence.
    """
    job.metadata[JOB_METADATA] = {"size": size.value, "atoms": atoms}
    job.config = JobConfig(
        on_missing_references=OnMissing.NONE if keep_going else OnMissing.ERROR,
        manager_config=request_for(plan, size, atoms) if plan else {},
        pass_manager_config=False,  # a light job makes heavy ones
    )


def reference_jobs(context: RunContext, elements: Iterable[str], plan: QueuePlan | None) -> dict[str, Job]:
    """Return the jobs that compute the references of elements."""
    jobs = {element: compute_reference(context, element) for element in sorted(elements)}
    for element, reference in jobs.items():
        reference.name = f"{element} reference"
        prepare(reference, plan, JobSize.BULK)
    return jobs


@dataclass
class SurfaceMaker(Maker):
    """All facets of one compound.

    1. Relax the bulk.
    2. Compute the elements' references, unless they are given.
    3. Cut every symmetric slab of the relaxed bulk.
    4. For each facet: a static run of the oriented bulk. For each slab: relaxation, static run, record.

    Parameters
    ----------
    context
        Engine, store, working directory and campaign name.
    slabs
        How slabs are cut, and which of their atoms relax.
    thresholds
        Limits of the verdicts.
    queue
        Requests of the jobs on a queue; None where there is none.
    """

    context: RunContext
    name: str = "surface"
    slabs: SlabSettings = DEFAULT_SETTINGS
    thresholds: VerdictThresholds = field(default_factory=VerdictThresholds)
    queue: QueuePlan | None = None

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> SurfaceMaker:
        """Rebuild a maker; those of flows submitted earlier have each slab setting as a field of its own."""
        own = {setting.name for setting in fields(SlabSettings)}
        values = {name: value for name, value in plain.items() if name not in own}
        if settings := {name: value for name, value in plain.items() if name in own}:
            values["slabs"] = SlabSettings(**settings)
        return cast("SurfaceMaker", super().from_dict(values))

    def make(
        self,
        structure: Structure,
        provenance: dict[str, Any] | None = None,
        miller_indices: list[tuple[int, int, int]] | None = None,
        references: list[Any] | None = None,
    ) -> Flow:
        """Build the flow of one compound.

        Parameters
        ----------
        structure
            Bulk crystal of one or two elements, in any setting.
        provenance
            Fields of `stores.records.Provenance`.
        miller_indices
            Only these facets; all up to ``slabs.max_miller_index`` if None.
        references
            Outputs of `compute_reference` jobs, one per element; made here if None.

        Returns
        -------
        Flow
            Its output is ``{"formula", "surfaces"}``: ids of the SurfaceRecords.
        """
        formula = mg_first_formula(structure.composition)
        jobs: list[Flow | Job] = []
        if references is None:
            jobs += reference_jobs(self.context, structure.symbol_set, self.queue).values()
            references = [reference.output for reference in jobs]
        bulk = relax_bulk(self.context, structure, provenance or {"source": "python"})
        bulk.name = f"{formula} relax bulk"
        surfaces = cut_and_compute(self, bulk.output, references, miller_indices)
        surfaces.name = f"{formula} surfaces"
        prepare(bulk, self.queue, JobSize.BULK, len(structure))
        prepare(surfaces, self.queue, JobSize.LIGHT, keep_going=True)
        return Flow([*jobs, bulk, surfaces], output=surfaces.output, name=f"{formula} {self.name}")

    def cut(
        self, bulk: Structure, miller_indices: list[tuple[int, int, int]] | None = None
    ) -> list[SymmetricSlab]:
        """Cut the slabs of a relaxed bulk; a note states why a facet has none."""
        formula = mg_first_formula(bulk.composition)
        slabs = []
        for facet in enumerate_slabs(bulk, self.slabs, miller_indices=miller_indices):
            for note in [facet.reason] if facet.reason else facet.notes:
                plane = format_plane(facet.miller_index, facet.spacegroup_number)
                announce(Stage.NOTE, f"{formula} {plane}", text=note)
            slabs += facet.slabs
        return slabs


@job(name="cut slabs")
def cut_and_compute(
    maker: SurfaceMaker,
    bulk: dict[str, Any] | None,
    references: list[dict[str, Any] | None],
    miller_indices: list[tuple[int, int, int]] | None = None,
) -> Any:
    """Cut the relaxed bulk and replace this job by those of its facets and slabs."""
    if bulk is None or bulk["bulk"] is None:
        label = bulk["calculation"]["label"] if bulk else "bulk"
        announce(Stage.PROBLEM, label, text="no facet of it can be computed without its relaxed bulk")
        return Response(output={"formula": None, "surfaces": []})
    bulk = keep_formation_energy(maker.context, bulk, references)
    formula, key = bulk["bulk"]["formula"], bulk["bulk"]["bulk_key"]
    planes = [(h, k, l) for h, k, l in miller_indices] if miller_indices else None
    slabs = maker.cut(structure_from_document(bulk["bulk"]["structure"], f"bulk {key}"), planes)
    engine = maker.context.make_engine()
    oriented: dict[tuple[int, int, int], Job] = {}
    surfaces: list[Job] = []
    for slab in slabs:
        mesh = engine_mesh(engine, slab.structure, slab=True)
        if slab.miller_index not in oriented:
            bulk_mesh = (mesh[0], mesh[1], engine_mesh(engine, slab.oriented_bulk)[2])
            request = oriented_request(slab, key, bulk_mesh)
            announce(Stage.PLANNED, request.label, cost=request.cost)
            static = static_oriented_bulk(maker.context, slab, key, bulk_mesh)
            static.name = request.label
            prepare(static, maker.queue, JobSize.BULK, len(slab.oriented_bulk))
            oriented[slab.miller_index] = static
        for request in slab_requests(slab, key, mesh, maker.slabs):
            announce(Stage.PLANNED, request.label, cost=request.cost)
        surface = compute_slab(maker, slab, bulk, references, oriented[slab.miller_index].output, mesh)
        surface.name = slab_label(slab)
        prepare(surface, maker.queue, JobSize.LIGHT, keep_going=True)
        surfaces.append(surface)
    output = {"formula": formula, "surfaces": [surface.output for surface in surfaces]}
    kept = {"bulk": bulk["bulk"]}  # here `mgsurf pull` finds it with its formation energy
    if not surfaces:
        return Response(output={**output, **kept})
    flow = Flow([*oriented.values(), *surfaces], output=output, name=f"{formula} slabs")
    return Response(output=kept, replace=flow)


@job(name="slab")
def compute_slab(
    maker: SurfaceMaker,
    slab: SymmetricSlab,
    bulk: dict[str, Any],
    references: list[dict[str, Any] | None],
    oriented: dict[str, Any] | None,
    kpoints: KMesh,
) -> Any:
    """Replace this job by relaxation, static run and record of one slab.

    A replacement runs before the next slab begins, so that records arrive one by one.
    """
    key, context, settings = bulk["bulk"]["bulk_key"], maker.context, maker.slabs
    cut, start = (settings.free_depth, settings.layer_tolerance), settings.pre_relaxation
    relax = relax_slab(context, slab, key, kpoints, *cut, start)
    static = static_slab(context, slab, key, kpoints, *cut, relax.output, start)
    record = record_surface(
        context, slab, bulk, references, oriented, relax.output, static.output, *cut, maker.thresholds, start
    )
    relax.name, static.name = f"{slab_label(slab)} relax", f"{slab_label(slab)} static"
    record.name = f"{slab_label(slab)} record"
    for heavy in (relax, static):
        prepare(heavy, maker.queue, JobSize.SLAB, len(slab.structure))
    prepare(record, maker.queue, JobSize.LIGHT, keep_going=True)
    # only the id is passed on: all records of a campaign in one output exceed the limits of a database
    return Response(replace=Flow([relax, static, record], output=record.output["id"], name=slab_label(slab)))
