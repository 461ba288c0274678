"""`mgsurf init-hpc`: from a few answers to a project of jobflow-remote."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stores.backends.mongo import mongo_database
from stores.errors import InputError, StoreError
from stores.secrets import masked, remember_address
from workflows.execution.remote.project import (
    LIGHT_WORKER,
    ProjectAnswers,
    default_preparation,
    projects_folder,
    write_project,
)
from workflows.flows.campaign.resources import JobResources

if TYPE_CHECKING:
    from collections.abc import Callable


def init_hpc(
    name: str | None,
    *,
    scheduler: str | None,
    work_dir: str | None,
    mongodb: str | None,
    host: str | None,
    user: str | None,
    worker: str,
    light: bool,
    prepare: list[str],
    poll: float,
    force: bool,
    resources: dict[str, Any],
) -> int:
    """Write a project; what no option said is asked for if someone is there to answer.

    Parameters
    ----------
    name, scheduler, work_dir, mongodb, host, user, worker, light, prepare, poll
        See `workflows.execution.remote.project.ProjectAnswers`.
    force
        Replace a project of this name.
    resources
        Keys of `JobResources`; None where nothing was said.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    InputError
        If an answer is missing or wrong, or the project exists.
    """
    folder = projects_folder()
    ask = _asker(sys.stdin.isatty() and sys.stdout.isatty())
    missing = not (name and scheduler and work_dir and mongodb)
    name = _name(name) if name else ask("NAME", "Name of the project", "cluster", _name)
    scheduler = (
        _scheduler(scheduler)
        if scheduler
        else ask("--scheduler", "Scheduler (slurm, pbs, sge)", "slurm", _scheduler)
    )
    if missing and host is None:
        host = ask("--host", "Host of the queue, reached by ssh (empty: this machine)", "") or None
    shared = "Folder for jobs, on a file system that all nodes share"
    work_dir = _work_dir(work_dir) if work_dir else ask("--work-dir", shared, None, _work_dir)
    mongodb = (
        _mongodb(mongodb)
        if mongodb
        else ask("--mongodb", "MongoDB", f"mongodb://localhost:27017/{name}", _mongodb)
    )
    if missing:
        for key, words in (
            ("partition", "Partition or queue (empty: the scheduler's default)"),
            ("account", "Account (empty: none)"),
            ("tasks_per_node", "MPI ranks on each node"),
            ("walltime", "Walltime of a job unless a campaign says otherwise"),
        ):
            if resources.get(key) is None:
                default = {"tasks_per_node": "1", "walltime": "24h"}.get(key, "")
                resources[key] = ask(f"--{key}", words, default, partial(_resource, key)) or None
    if not prepare:
        if host:
            prepare = [ask("--prepare", "Command that makes mgsurf and jf available there", None)]
        else:
            prepare = default_preparation()
    answers = ProjectAnswers(
        name, scheduler, work_dir, mongodb, _resources(resources), worker, host, user, prepare, light, poll
    )
    path, script = write_project(answers, folder, force=force)
    print(f"project  {path}")
    print(f"example  {script}   (what the queue will get)")
    _say_next(answers)
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


def _asker(answerable: bool) -> Callable[..., str]:
    """Return a function that prompts for an option; an answer that its check refuses is requested again."""

    def ask(option: str, words: str, default: str | None, check: Callable[[str], str] = str) -> str:
        if not answerable:
            if default == "":
                return ""
            if option in ("--tasks_per_node", "--walltime") and default:
                return default
            raise InputError(f"give {option} ({words}); standard input is no terminal")
        import typer

        while True:
            answer = str(typer.prompt(words, default=default, show_default=bool(default))).strip()
            try:
                return check(answer)
            except InputError as error:
                print(f"mgsurf: {error}", file=sys.stderr)

    return ask


def _resources(values: dict[str, Any]) -> JobResources:
    said = {key: value for key, value in values.items() if value is not None}
    for key in ("nodes", "tasks_per_node", "cpus_per_task"):
        if isinstance(said.get(key), str):
            if not said[key].isdigit():
                raise InputError(f"{key}: {said[key]!r} is no whole number")
            said[key] = int(said[key])
    try:
        return JobResources.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise InputError(f"{option}: {str(first['msg']).removeprefix('Value error, ')}") from None


def _say_next(answers: ProjectAnswers) -> None:
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
