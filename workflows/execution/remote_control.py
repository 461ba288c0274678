"""Try failed jobs of a submitted campaign again, or cancel what is not finished."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workflows.execution.remote_state import STATES, bad_outputs, bad_records, chunks, jobs_of
from workflows.flows.queue_plan import JOB_METADATA, JobSize, request_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workflows.execution.remote_project import RemoteProject
    from workflows.flows.queue_plan import QueuePlan

LOCK_WAIT = 30
"""Longest wait for the runner to let go of a job (s)."""

_ON_THE_WAY = (*STATES["queued"], *STATES["running"], *STATES["finishing"])
_NOT_STARTED = (*STATES["waiting"], *STATES["failed"], "CHECKED_OUT", "UPLOADED")


@dataclass
class Changes:
    """What was done.

    Attributes
    ----------
    jobs
        Names of the jobs that will run again, or were cancelled.
    kept
        Name and reason of those that could not be changed.
    requests
        Number of jobs that ask for something else now.
    """

    jobs: list[str] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)
    requests: int = 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep jobflow-remote's own words off the screen; what matters is told by us."""
    logger = logging.getLogger("jobflow_remote")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def retry_failed(project: RemoteProject, campaign: str | None, plan: QueuePlan | None) -> Changes:
    """Run jobs again that failed, that the queue rejected, or whose calculation failed.

    Finished calculations are found by their content, and an interrupted one goes on from the files in its
    folder. Jobs that came after a failed one run again too, because they know its failure only.

    Parameters
    ----------
    project
        Where.
    campaign
        Its name; None for all campaigns of the project.
    plan
        What jobs ask for from now on; None to change nothing.

    Raises
    ------
    InputError
        If nothing was submitted.
    """
    flows = project.need_flows(campaign)
    changes = Changes()
    with _quiet():
        if plan is not None:
            changes.requests = _ask_for(project, flows, plan)
        failed = jobs_of(project, flows, STATES["failed"])
        failed += [job for job in jobs_of(project, flows, _ON_THE_WAY) if (job["remote"] or {}).get("error")]
        known = {(job["uuid"], job["index"]) for job in failed}
        again = {
            (document["uuid"], document["index"])
            for document in bad_outputs(project, flows)
            if any(record["output"]["status"] == "failed" for record in bad_records(document))
        }
        done = [
            job for job in jobs_of(project, flows, STATES["done"]) if (job["uuid"], job["index"]) in again
        ]
        for job in failed + [job for job in done if (job["uuid"], job["index"]) not in known]:
            _start_again(project, job, changes)
    return changes


def _start_again(project: RemoteProject, job: dict[str, Any], changes: Changes) -> None:
    controller, name = project.controller, job["job"]["name"]
    try:
        if job["state"] == "REMOTE_ERROR" or job["state"] in _ON_THE_WAY:
            controller.retry_job(db_id=job["db_id"], wait=LOCK_WAIT)
        else:
            # forced, because records are made even of failures and are made anew now
            controller.rerun_job(db_id=job["db_id"], force=True, wait=LOCK_WAIT, delete_files=False)
    except ValueError as error:
        if "READY" in str(error) or "WAITING" in str(error):
            return  # reset together with a job before it
        changes.kept.append((name, "other jobs were made of its result; mgsurf submit --again runs it anew"))
    except Exception as error:  # noqa: BLE001 -- locks and hosts; one job must not stop the others
        changes.kept.append((name, " ".join(str(error).split())[:200]))
    else:
        changes.jobs.append(name)


def _ask_for(project: RemoteProject, flows: list[dict[str, Any]], plan: QueuePlan) -> int:
    """Give jobs that have not started, and those they will make, a new request."""
    changed = 0
    for job in jobs_of(project, flows, _NOT_STARTED):
        said = (job["job"].get("metadata") or {}).get(JOB_METADATA)
        if said is None:
            continue
        request = request_for(plan, JobSize(said["size"]), said["atoms"])
        values = {
            "resources": request["resources"],
            "worker": request["worker"],
            "exec_config": request.get("exec_config"),
            "job.config.manager_config": request,
        }
        changed += _set(project, job, values)
    for some in chunks([uuid for flow in flows for uuid in flow["jobs"]]):
        makers = {
            "uuid": {"$in": some},
            "state": {"$in": list(_NOT_STARTED)},
            "job.function_args.0.@class": "SurfaceMaker",
        }
        for job in project.controller.get_jobs(makers, ["db_id"]):
            _set(project, job, {"job.function_args.0.queue": plan})
    return changed


def _set(project: RemoteProject, job: dict[str, Any], values: dict[str, Any]) -> bool:
    """Change a job, unless the runner holds it just now or has sent it since; True if it was changed.

    `JobController.set_job_run_properties` would do for resources, worker and exec_config alone, and not for
    jobs that are checked out or uploaded; the resources of jobs that a job makes are in its arguments
    and its config, which only `set_job_doc_properties` reaches.
    """
    from jobflow_remote.jobs.state import JobState
    from jobflow_remote.utils.db import JobLockedError

    states = [JobState(name) for name in _NOT_STARTED]
    try:
        project.controller.set_job_doc_properties(values, db_id=job["db_id"], acceptable_states=states)
    except (JobLockedError, ValueError):
        return False
    return True


def cancel(project: RemoteProject, campaign: str | None) -> Changes:
    """Cancel every job that is not finished; finished calculations and files stay.

    Raises
    ------
    InputError
        If nothing was submitted.
    """
    flows = project.need_flows(campaign)
    controller, changes = project.controller, Changes()
    unfinished = [state for group in ("waiting", "queued", "running", "finishing") for state in STATES[group]]
    with _quiet():
        before = jobs_of(project, flows, unfinished)
        for flow in flows:  # first those that wait, so that none of them starts meanwhile
            controller.stop_jobflow(flow_uuid=flow["uuid"])
        for _ in range(2):  # a job that ended just now may have made others
            for job in jobs_of(project, flows, unfinished):
                try:
                    if job["state"] == "PAUSED":
                        controller.resume_job(db_id=job["db_id"], wait=LOCK_WAIT)
                    if job["state"] not in ("WAITING", "PAUSED"):
                        controller.stop_job(db_id=job["db_id"], wait=LOCK_WAIT)
                except Exception as error:  # noqa: BLE001 -- one job must not stop the others
                    reason = " ".join(str(error).split())[:200]
                    changes.kept.append((job["job"]["name"], reason))
            for flow in flows:
                controller.stop_jobflow(flow_uuid=flow["uuid"])
        for flow in flows:  # stop_jobflow leaves the state of the flow as it was
            with controller.lock_flow(filter={"uuid": flow["uuid"]}) as lock:
                if lock.locked_document:
                    controller.update_flow_state(flow["uuid"])
        stopped = jobs_of(project, flows, STATES["cancelled"])
    wanted = {job["db_id"] for job in before}
    changes.jobs = [job["job"]["name"] for job in stopped if job["db_id"] in wanted]
    left = {job["job"]["name"] for job in jobs_of(project, flows, unfinished)}
    changes.kept = [(name, reason) for name, reason in dict(changes.kept).items() if name in left]
    return changes
