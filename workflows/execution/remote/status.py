"""Jobs of a submitted campaign: states and reasons, retry of failed ones, cancellation."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stores.secrets import masked
from workflows.flows.surface import JOB_METADATA, JobSize, request_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workflows.execution.remote.project import RemoteProject
    from workflows.flows.surface import QueuePlan


STATES: dict[str, tuple[str, ...]] = {
    "waiting": ("WAITING", "READY", "PAUSED"),
    "queued": ("CHECKED_OUT", "UPLOADED", "SUBMITTED", "BATCH_SUBMITTED"),
    "running": ("RUNNING", "BATCH_RUNNING"),
    "finishing": ("RUN_FINISHED", "DOWNLOADED"),
    "done": ("COMPLETED",),
    "failed": ("FAILED", "REMOTE_ERROR"),
    "cancelled": ("STOPPED", "USER_STOPPED"),
}
"""jobflow-remote's states by what they mean for people."""

_CHUNK = 500
_SILENCE = 300  # a runner that sends files may be silent for so long (s)
_PLACES = ("output", "output.calculation", "output.calculations")
"""Where outputs of jobs hold records of calculations."""
_KILLED = (
    (re.compile(r"DUE TO TIME LIMIT|walltime .*exceeded|h_rt", re.I), "stopped at its walltime"),
    (re.compile(r"oom.?kill|out of memory", re.I), "killed for want of memory"),
    (re.compile(r"DUE TO PREEMPTION", re.I), "preempted"),
    (re.compile(r"DUE TO NODE FAILURE", re.I), "its node failed"),
    (re.compile(r"CANCELLED AT", re.I), "cancelled in the queue"),
)


@dataclass
class CampaignState:
    """State of the jobs of one campaign, or of all campaigns in a project."""

    project: str
    campaign: str | None  # None for all
    counts: dict[str, int] = field(default_factory=dict)  # number of jobs by `STATES`
    running: list[str] = field(default_factory=list)  # names of running jobs
    failed: list[tuple[str, str]] = field(default_factory=list)  # name and reason of each failed job
    # name and reason of each job that jobflow-remote could not send or fetch and tries again
    troubled: list[tuple[str, str]] = field(default_factory=list)
    # label and reason of calculations that ended without a result; their jobs are done
    calculations: list[tuple[str, str]] = field(default_factory=list)
    runner: str = ""  # problem of jobflow-remote's runner; empty if it runs

    @property
    def unfinished(self) -> int:
        """Number of jobs that will still run."""
        return sum(self.counts.get(name, 0) for name in ("waiting", "queued", "running", "finishing"))


def chunks(uuids: list[str]) -> Iterator[list[str]]:
    """Yield pieces short enough for one query of a database."""
    for start in range(0, len(uuids), _CHUNK):
        yield uuids[start : start + _CHUNK]


def jobs_of(
    project: RemoteProject,
    flows: Iterable[dict[str, Any]],
    states: Iterable[str] | None = None,
    more: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Return the queue's documents of the jobs of some flows, without their arguments.

    `flows` are those of `RemoteProject.flows`, `states` jobflow-remote's (all if None), `more` further fields
    of the documents.
    """
    shown = [*more, "uuid", "index", "db_id", "state", "worker", "remote", "error", "lock_id", "job.name"]
    uuids = [uuid for flow in flows for uuid in flow["jobs"]]
    criteria = {"state": {"$in": list(states)}} if states is not None else {}
    found: list[dict[str, Any]] = []
    for some in chunks(uuids):
        found += project.controller.get_jobs({"uuid": {"$in": some}, **criteria}, [*shown, "job.metadata"])
    return sorted(found, key=lambda job: (len(job["db_id"]), job["db_id"]))


def reason_of(job: dict[str, Any]) -> str:
    """Return in one line why a job failed, from jobflow-remote's document of it."""
    remote = job.get("remote") or {}
    printed = f"{remote.get('queue_err') or ''}\n{remote.get('queue_out') or ''}"
    error = job.get("error") or ""
    for pattern, words in _KILLED:
        # a job that ended by itself has its own error
        if pattern.search(printed) and "Traceback" not in error:
            return f"{words}; mgsurf retry --failed resumes from its last files"
    text = remote.get("error") if job["state"] != "FAILED" else error
    return _one_line(text or error or remote.get("error") or "no reason is known")


def _one_line(text: str) -> str:
    """Return the last line of a traceback, or what a command printed; without secrets."""
    text = masked(text)
    rejected = re.search(
        r"submission failed.*?stderr=(?P<quote>['\"])(?P<text>.*?)(?P=quote),?\s", text, re.S
    )
    if rejected:
        words = " ".join(rejected["text"].replace("\\n", " ").split())
        return f"the queue rejects it: {words}"[:300]
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "no reason is known"
    last = re.sub(r"^(?:[a-z_]\w*\.)+([A-Z]\w*: )", r"\1", last)  # modules before the class of an error
    return re.sub(r"^(?:InputError|StoreError|EngineError|MgsurfError): ", "", last)[:300]


def state_of(project: RemoteProject, campaign: str | None) -> CampaignState:
    """Return the state of a campaign's jobs; InputError if nothing of it was submitted."""
    flows = project.need_flows(campaign)
    state = CampaignState(project.name, campaign, dict.fromkeys(STATES, 0))
    meaning = {name: group for group, names in STATES.items() for name in names}
    for job in jobs_of(project, flows):
        group, name = meaning.get(job["state"], "waiting"), job["job"]["name"]
        state.counts[group] += 1
        if group == "running":
            state.running.append(name)
        elif group == "failed":
            state.failed.append((name, reason_of(job)))
        elif (job.get("remote") or {}).get("error"):
            state.troubled.append((name, _one_line(job["remote"]["error"])))
    bad = [record for document in bad_outputs(project, flows) for record in bad_records(document)]
    lines = [
        (record.get("label") or "?", f"{(found := record['output'])['status']}: {found.get('reason') or ''}")
        for record in bad
    ]
    state.calculations = list(dict.fromkeys(lines))
    if state.unfinished:
        state.runner = runner_trouble(project)
    return state


def bad_outputs(project: RemoteProject, flows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield outputs of jobs, without structures, in which a calculation failed or did not converge.

    Not those of jobs that run again, nor those whose calculations another job finished well: a result stands,
    whenever it came (`stores.ranks`).
    """
    bad = list(_outputs(project, flows, "output.status", ["failed", "unconverged"]))
    if not bad:
        return
    ended = {(job["uuid"], job["index"]) for job in jobs_of(project, flows, STATES["done"])}
    ids = sorted({record["id"] for document in bad for record in bad_records(document)})
    answered = {
        record["id"]
        for some in chunks(ids)
        for document in _outputs(project, flows, "id", some)
        for record in _records(document)
        if (record.get("output") or {}).get("status") == "ok"
    }
    for document in bad:
        finished = all(record["id"] in answered for record in bad_records(document))
        if (document["uuid"], document["index"]) in ended and not finished:
            yield document


def _outputs(
    project: RemoteProject, flows: list[dict[str, Any]], key: str, values: list[str]
) -> Iterator[dict[str, Any]]:
    fields = ("id", "label", "output.status", "output.reason")
    shown = [f"{place}.{name}" for place in _PLACES for name in fields]
    # jobflow-remote reads one output at a time; its job store, a public attribute, answers for many at once
    for some in chunks([uuid for flow in flows for uuid in flow["jobs"]]):
        yield from project.controller.jobstore.query(
            {"uuid": {"$in": some}, "$or": [{f"{place}.{key}": {"$in": values}} for place in _PLACES]},
            ["uuid", "index", *shown],
        )


def _records(document: dict[str, Any]) -> list[dict[str, Any]]:
    output = document["output"]
    found = (output, output.get("calculation"), *(output.get("calculations") or ()))
    return [record for record in found if record and record.get("id")]


def bad_records(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return id, label, status and reason of the calculations that failed or did not converge."""
    bad = ("failed", "unconverged")
    return [record for record in _records(document) if (record.get("output") or {}).get("status") in bad]


def runner_trouble(project: RemoteProject) -> str:
    """Return what is wrong with jobflow-remote's runner, without which no job moves; empty if it runs."""
    start = f"start it with: jf -p {project.name} runner start"
    daemon = project.controller.get_running_runner()
    # a daemon that was killed, or whose machine was restarted, is still noted as running
    seen = [daemon["last_pinged"]] if isinstance(daemon, dict) and daemon.get("last_pinged") else []
    seen += [ping["time"] for ping in project.controller.get_runner_pings()[-1:]]
    if not seen:
        return "" if isinstance(daemon, dict) else f"the runner was never started; {start}"
    last = max(seen).replace(tzinfo=UTC)
    if (datetime.now(UTC) - last).total_seconds() > max(2 * project.config.runner.delay_ping_db, _SILENCE):
        return f"the runner was last seen at {last:%Y-%m-%d %H:%M} UTC; {start}"
    return ""


LOCK_WAIT = 30  # longest wait for the runner to let go of a job (s)

_ON_THE_WAY = (*STATES["queued"], *STATES["running"], *STATES["finishing"])
_NOT_STARTED = (*STATES["waiting"], *STATES["failed"], "CHECKED_OUT", "UPLOADED")


@dataclass
class Changes:
    """Result of a retry or a cancellation."""

    jobs: list[str] = field(default_factory=list)  # names of the jobs that will run again, or were cancelled
    # name and reason of those that could not be changed
    kept: list[tuple[str, str]] = field(default_factory=list)
    requests: int = 0  # number of jobs with a new request


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep jobflow-remote's own messages off the screen; mgsurf prints what matters."""
    logger = logging.getLogger("jobflow_remote")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def retry_failed(project: RemoteProject, campaign: str | None, plan: QueuePlan | None) -> Changes:
    """Run jobs again that failed, that the queue rejected, or whose calculation failed.

    Finished calculations are found by their content, and an interrupted one resumes from the files in its
    folder. Jobs that came after a failed one run again too, because they know its failure only. `plan` has
    the requests of jobs from now on; None changes none. InputError if nothing was submitted.
    """
    flows = project.need_flows(campaign)
    changes = Changes()
    with _quiet():
        if plan is not None:
            changes.requests = _set_requests(project, flows, plan)
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
            # forced, because records are made even of failures and are made again now
            controller.rerun_job(db_id=job["db_id"], force=True, wait=LOCK_WAIT, delete_files=False)
    except ValueError as error:
        if "READY" in str(error) or "WAITING" in str(error):
            return  # reset together with a job before it
        changes.kept.append((name, "other jobs were made of its result; mgsurf submit --again runs it again"))
    except Exception as error:  # noqa: BLE001 -- locks and hosts; one job must not stop the others
        changes.kept.append((name, " ".join(str(error).split())[:200]))
    else:
        changes.jobs.append(name)


def _set_requests(project: RemoteProject, flows: list[dict[str, Any]], plan: QueuePlan) -> int:
    """Give jobs that have not started, and those they will make, a new request."""
    changed = 0
    for job in jobs_of(project, flows, _NOT_STARTED):
        size = (job["job"].get("metadata") or {}).get(JOB_METADATA)
        if size is None:
            continue
        request = request_for(plan, JobSize(size["size"]), size["atoms"])
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
    """Change a job, unless the runner holds it just now or has sent it since; True if it was changed."""
    # `JobController.set_job_run_properties` would do for resources, worker and exec_config alone, and not for
    # jobs that are checked out or uploaded; the resources of jobs that a job makes are in its arguments and
    # its config, which only `set_job_doc_properties` reaches
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

    InputError if nothing was submitted.
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
