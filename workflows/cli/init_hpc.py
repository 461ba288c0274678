"""`mgsurf init-hpc`: from a few answers to a project of jobflow-remote."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, StoreError
from stores.secrets import masked, remember_address
from workflows.cli.console import print_note
from workflows.cli.typer_app import SETUP, app

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.execution.remote.project import ProjectAnswers
    from workflows.flows.campaign.resources import JobResources


@dataclass(frozen=True)
class QueueOptions:
    """Resources of jobs unless a campaign sets others: keys of `JobResources`, None where not given."""

    partition: Annotated[str | None, typer.Option(help="Partition or queue of jobs.")] = None
    account: Annotated[str | None, typer.Option(help="Charged account.")] = None
    qos: Annotated[str | None, typer.Option(help="Quality of service (Slurm).")] = None
    nodes: Annotated[int | None, typer.Option(min=1, help="Nodes of a job.")] = None
    tasks_per_node: Annotated[int | None, typer.Option(min=1, help="MPI ranks on each node.")] = None
    cpus_per_task: Annotated[int | None, typer.Option(min=1, help="Cores of each rank.")] = None
    walltime: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of a job: 12h, 30min, 1-12:00:00.")
    ] = None
    parallel_environment: Annotated[str | None, typer.Option(metavar="NAME", help="SGE only.")] = None


@app.command("init-hpc", rich_help_panel=SETUP)
def init_hpc(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the project.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="NAME", help="slurm, pbs or sge.")] = None,
    work_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="For jobs; on a file system that the nodes share.")
    ] = None,
    mongodb: Annotated[str | None, typer.Option(metavar="URI", help="Database of the jobs.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Where the queue is reached by ssh; this machine by default.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Name on that host.")] = None,
    worker: Annotated[str, typer.Option(metavar="NAME", help="Name of the worker.")] = "queue",
    light_worker: Annotated[
        bool, typer.Option("--light-worker", help="Also a worker beside the queue, for lightweight jobs.")
    ] = False,
    prepare: Annotated[
        list[str] | None,
        typer.Option(metavar="COMMAND", help="Before each job (may be repeated); makes mgsurf available."),
    ] = None,
    poll: Annotated[
        float, typer.Option(min=1, max=3600, help="How often the queue is looked at (s).")
    ] = 30.0,
    *,
    queue: QueueOptions,
    force: Annotated[bool, typer.Option("--force", help="Replace a project of this name.")] = False,
) -> int:
    """Write the jobflow-remote project of a cluster; options that are missing are prompted for.

    Example: [cyan]mgsurf init-hpc cluster --scheduler slurm --work-dir /scratch/me/mgsurf
    --mongodb mongodb://localhost/cluster --partition standard --tasks-per-node 32 --walltime 12h[/cyan]
    """
    from workflows.execution.remote.project import (
        ProjectAnswers,
        default_preparation,
        projects_folder,
        write_project,
    )

    resources = asdict(queue)
    folder = projects_folder()
    missing = not (name and scheduler and work_dir and mongodb)
    name = _answer(name, "NAME", "Name of the project", "cluster", _name)
    scheduler = _answer(scheduler, "--scheduler", "Scheduler (slurm, pbs, sge)", "slurm", _scheduler)
    if missing and host is None:
        words = "Host of the queue, reached by ssh (empty: this machine)"
        host = _answer(None, "--host", words, "", optional=True) or None
    shared = "Folder for jobs, on a file system that all nodes share"
    work_dir = _answer(work_dir, "--work-dir", shared, None, _work_dir)
    mongodb = _answer(mongodb, "--mongodb", "MongoDB", f"mongodb://localhost:27017/{name}", _mongodb)
    if missing:
        for key, words, default in (
            ("partition", "Partition or queue (empty: the scheduler's default)", ""),
            ("account", "Account (empty: none)", ""),
            ("tasks_per_node", "MPI ranks on each node", "1"),
            ("walltime", "Walltime of a job unless a campaign sets another", "24h"),
        ):
            if resources.get(key) is None:
                check = partial(_resource, key)
                resources[key] = _answer(None, f"--{key}", words, default, check, optional=True) or None
    if not prepare:
        if host:
            prepare = [_answer(None, "--prepare", "Command that makes mgsurf and jf available there", None)]
        else:
            prepare = default_preparation()
    answers = ProjectAnswers(
        name, scheduler, work_dir, mongodb, _resources(resources), worker, host, user, prepare,
        light_worker, poll,
    )  # fmt: skip
    path, script = write_project(answers, folder, force=force)
    print(f"project  {path}")
    print(f"example  {script}   (what the queue will get)")
    _print_next(answers)
    return 0


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"the name {name!r} may hold letters, digits, - and _ only")
    return name


def _scheduler(scheduler: str) -> str:
    if scheduler.lower() not in ("slurm", "pbs", "sge"):
        raise InputError(f"scheduler {scheduler!r} is not known; allowed: slurm, pbs, sge")
    return scheduler.lower()


def _work_dir(work_dir: str) -> str:
    if not PurePosixPath(work_dir).is_absolute():
        raise InputError(f"--work-dir: {work_dir!r} must be an absolute path on the machine of the queue")
    if re.search(r"[^\w./+@%=:,-]", work_dir):
        raise InputError(f"--work-dir: {work_dir!r} holds a blank or a sign that job scripts do not quote")
    return work_dir


def _mongodb(mongodb: str) -> str:
    remember_address(mongodb)
    if not re.match(r"mongodb(\+srv)?://.", mongodb):
        raise InputError(f"--mongodb: {masked(mongodb)!r} is no address; write mongodb://HOST:PORT/DATABASE")
    return mongodb


def _resource(key: str, value: str) -> str:
    _resources({key: value or None})
    return value


def _answer(
    given: str | None,
    option: str,
    words: str,
    default: str | None,
    check: Callable[[str], str] = str,
    *,
    optional: bool = False,
) -> str:
    """Return an option's value, from a prompt if it was not given; a refused answer is prompted for again."""
    if given:
        return check(given)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        if optional:
            return default or ""
        raise InputError(f"give {option} ({words}); standard input is no terminal")
    while True:
        answer = str(typer.prompt(words, default=default, show_default=bool(default))).strip()
        try:
            return check(answer)
        except InputError as error:
            print_note(str(error))


def _resources(values: dict[str, Any]) -> JobResources:
    from pydantic import ValidationError

    from workflows.flows.campaign.resources import JobResources

    given = {key: value for key, value in values.items() if value is not None}
    for key in ("nodes", "tasks_per_node", "cpus_per_task"):
        if isinstance(given.get(key), str):
            if not given[key].isdigit():
                raise InputError(f"{key}: {given[key]!r} is no whole number")
            given[key] = int(given[key])
    try:
        return JobResources.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise InputError(f"{option}: {str(first['msg']).removeprefix('Value error, ')}") from None


def _print_next(answers: ProjectAnswers) -> None:
    from stores.backends.mongo import mongo_database
    from workflows.execution.remote.project import LIGHT_WORKER

    try:
        mongo_database(answers.mongodb).client.close()
    except (StoreError, InputError) as error:
        print(f"MongoDB  {error}")
    else:
        print(f"MongoDB  {masked(answers.mongodb)} answers")
    if answers.light:
        print(
            f"worker   {LIGHT_WORKER} runs lightweight jobs; write `resources: {{light: "
            f"{{worker: {LIGHT_WORKER}}}}}` into the campaign file to use it"
        )
    print(f"next     jf -p {answers.name} project check --errors")
    print(f"         jf -p {answers.name} runner start")
    print(f"         mgsurf submit CAMPAIGN.yaml --project {answers.name}")
