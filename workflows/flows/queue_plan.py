"""What the jobs of a flow ask of a queue; carried inside the flow, for most jobs are made while it runs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from jobflow import JobConfig, OnMissing

if TYPE_CHECKING:
    from jobflow import Job

QueuePlan = dict[str, Any]
"""``{"light": request, "bulk": request, "slabs": [[atoms, request], ...]}`` with plain values only.

A request is a jobflow-remote ``manager_config``: ``resources`` (keys of the scheduler's header), ``worker``,
and ``exec_config`` (variables of the job). A slab gets the first request whose number of atoms it does not
exceed, else the last.
"""

JOB_METADATA = "mgsurf_job"
"""Key of a job's metadata under which stands what it asked for: ``{"size": ..., "atoms": ...}``."""


class JobSize(StrEnum):
    """Light jobs cut slabs and make records; the others run the engine."""

    LIGHT = "light"
    BULK = "bulk"
    SLAB = "slab"


def request_for(plan: QueuePlan, size: JobSize, atoms: int = 0) -> dict[str, Any]:
    """Return what a job asks of the queue.

    Parameters
    ----------
    plan
        The campaign's.
    size
        Which kind of job.
    atoms
        Atoms of the slab.
    """
    if size is not JobSize.SLAB:
        return dict(plan[size.value])
    tiers = plan["slabs"]
    chosen = next((request for most, request in tiers if most is None or atoms <= most), tiers[-1][1])
    return dict(chosen)


def prepare(
    job: Job, plan: QueuePlan | None, size: JobSize, atoms: int = 0, *, keep_going: bool = False
) -> None:
    """Say what a job needs, and whether it runs even if a job before it has failed.

    Parameters
    ----------
    job
        Changed in place.
    plan
        None where there is no queue.
    size, atoms
        See `request_for`.
    keep_going
        True: failures before it end in verdicts, not in silence.
    """
    job.metadata[JOB_METADATA] = {"size": size.value, "atoms": atoms}
    job.config = JobConfig(
        on_missing_references=OnMissing.NONE if keep_going else OnMissing.ERROR,
        manager_config=request_for(plan, size, atoms) if plan else {},
        pass_manager_config=False,  # a light job makes heavy ones
    )
