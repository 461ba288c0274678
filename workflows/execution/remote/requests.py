"""Requests of jobs as keys of QToolKit's header templates, for each scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from workflows.flows.campaign.resources import seconds_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.flows.campaign.resources import JobResources, Resources
    from workflows.flows.surface import QueuePlan

SCHEDULERS = ("slurm", "pbs", "sge", "shell")
"""Schedulers for which requests can be written; shell runs jobs at once, without a queue."""


JOB_END_TIME = "MGSURF_JOB_END_TIME"
"""Variable with the end of a job in the queue (seconds since the epoch), for engines."""

_TIME = {"slurm": "time", "pbs": "walltime", "sge": "walltime"}
_CORES = {"nodes", "tasks_per_node", "cpus_per_task"}
_SHAPES: dict[str, dict[str, set[str]]] = {
    "slurm": {"nodes": {"nodes"}, "ntasks_per_node": {"tasks_per_node"}, "cpus_per_task": {"cpus_per_task"}},
    "pbs": {"select": {*_CORES, "memory_per_cpu"}, "place": _CORES},
    "sge": {"model": {*_CORES, "parallel_environment"}},
}
"""Keys of a template that are always written, and the fields that make them differ from the worker's."""


def header_keys(scheduler: str, wanted: JobResources) -> dict[str, Any]:
    """Write a request for a scheduler of `SCHEDULERS`, as keys of its template; none for a shell.

    InputError if the scheduler has no key for something in the request, or is not known.
    """
    if scheduler not in SCHEDULERS:
        raise InputError(
            f"resources cannot be written for the scheduler {scheduler!r}, only for {', '.join(SCHEDULERS)}; "
            "leave the section out and give the worker its resources in the project file"
        )
    if scheduler == "shell":
        return {}
    if scheduler != "slurm" and wanted.qos is not None:
        raise InputError(f"resources.qos is for Slurm; {scheduler.upper()} has none, remove it")
    keys = {"slurm": _slurm, "pbs": _pbs, "sge": _sge}[scheduler](wanted)
    return {**{key: value for key, value in keys.items() if value is not None}, **wanted.options}


def request_keys(scheduler: str, wanted: JobResources, own: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write a request, and take what it leaves open from the worker: partition, account, cores, walltime.

    jobflow-remote takes either a job's request or the worker's (`own`, of the project file), never a part of
    each.
    """
    keys = header_keys(scheduler, wanted)
    if not own or scheduler == "shell" or "@class" in own:
        return keys
    kept = dict(own)
    for key, fields in _SHAPES[scheduler].items():
        if fields & wanted.model_fields_set:
            kept.pop(key, None)
        elif key in kept:
            keys.pop(key, None)
    return {**kept, **keys}


def _variables(scheduler: str, keys: Mapping[str, Any], wanted: JobResources) -> dict[str, str]:
    """Return the environment of a job: its end, and its threads."""
    found = {}
    seconds = wanted.walltime or seconds_in(str(keys.get(_TIME.get(scheduler, ""), "")))
    if seconds:
        # not every scheduler gives a job its end; VASP is stopped in time by this
        found[JOB_END_TIME] = f"$(( $(date +%s) + {seconds} ))"
    threads = keys.get("cpus_per_task", 1) if scheduler == "slurm" else wanted.cpus_per_task
    if scheduler != "shell" and str(threads).isdigit() and int(threads) > 1:
        found["OMP_NUM_THREADS"] = str(threads)
        if scheduler == "slurm":
            found["SRUN_CPUS_PER_TASK"] = str(threads)  # since Slurm 22.05 srun does not take sbatch's
    return found


def _clock(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _slurm(wanted: JobResources) -> dict[str, Any]:
    return {
        "partition": wanted.partition,
        "account": wanted.account,
        "qos": wanted.qos,
        "nodes": wanted.nodes,
        "ntasks_per_node": wanted.tasks_per_node,
        "cpus_per_task": wanted.cpus_per_task,
        "mem_per_cpu": f"{wanted.memory_per_cpu}M" if wanted.memory_per_cpu else None,
        "time": _clock(wanted.walltime),
    }


def _pbs(wanted: JobResources) -> dict[str, Any]:
    cores = wanted.tasks_per_node * wanted.cpus_per_task
    select = f"select={wanted.nodes}:ncpus={cores}:mpiprocs={wanted.tasks_per_node}"
    if wanted.cpus_per_task > 1:
        select += f":ompthreads={wanted.cpus_per_task}"
    if wanted.memory_per_cpu:
        select += f":mem={cores * wanted.memory_per_cpu}mb"
    return {
        "queue": wanted.partition,
        "account": wanted.account,
        "select": select,
        "place": "scatter" if wanted.nodes > 1 else None,
        "walltime": _clock(wanted.walltime),
    }


def _sge(wanted: JobResources) -> dict[str, Any]:
    # slots are spread over nodes by the parallel environment
    slots = wanted.nodes * wanted.tasks_per_node * wanted.cpus_per_task
    return {
        "queue": wanted.partition,
        "device": wanted.account,  # the template's name of -P, the project
        "model": f"{wanted.parallel_environment} {slots}" if slots > 1 else None,
        "select": f"mem_free={wanted.memory_per_cpu}M" if wanted.memory_per_cpu else None,
        "walltime": _clock(wanted.walltime),
    }


def queue_plan(resources: Resources, workers: Mapping[str, Any], worker: str) -> QueuePlan:
    """Return the requests that a campaign's flow carries, for the project's workers by name.

    `worker` is for jobs whose section names no other. InputError if a worker is unknown, or a scheduler
    does not know a key.
    """
    return {
        "light": job_request(resources.of_light(), workers, worker, "resources.light"),
        "bulk": job_request(resources.of_bulk(), workers, worker, "resources.bulk"),
        "slabs": [
            [most, job_request(wanted, workers, worker, f"resources.slabs[{number}]")]
            for number, (most, wanted) in enumerate(resources.of_slabs(), start=1)
        ],
    }


def job_request(wanted: JobResources, workers: Mapping[str, Any], worker: str, where: str) -> dict[str, Any]:
    """Return the request of one kind of job, a jobflow-remote ``manager_config``.

    `workers`, `worker` and errors are as for `queue_plan`; `where` names the section in them.
    """
    name = wanted.worker or worker
    if name not in workers:
        raise InputError(f"{where}: no worker {name!r} in the project; there are {', '.join(workers)}")
    scheduler, keys = _checked(workers[name], wanted, where)
    found: dict[str, Any] = {"worker": name, "resources": keys}
    if variables := _variables(scheduler, keys, wanted):
        found["exec_config"] = {"export": variables}
    return found


def _checked(worker: Any, wanted: JobResources, where: str) -> tuple[str, dict[str, Any]]:
    """Write a request and let QToolKit fill its template, so that no job is refused for it later."""
    from qtoolkit.io import scheduler_mapping

    io = worker.get_scheduler_io()
    known = [name for name, kind in scheduler_mapping.items() if isinstance(io, kind)]
    name = known[0] if known else type(io).__name__
    keys = request_keys(name, wanted, getattr(worker, "resources", None))
    try:
        io.generate_header(dict(keys))
    except Exception as error:  # each scheduler of QToolKit has its own
        raise InputError(f"{where}: {name} cannot do that: {' '.join(str(error).split())}") from error
    return name, keys
