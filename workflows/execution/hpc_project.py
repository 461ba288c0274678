"""Write a project of jobflow-remote: its worker on a queue, its database, an example of a job's script."""

from __future__ import annotations

import io
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.files import write_file
from stores.mongo import database_name
from stores.secrets import masked
from stores.user import user_name
from workflows.execution.hpc_requests import header_keys
from workflows.execution.remote_project import EXTRA

if TYPE_CHECKING:
    from workflows.flows.campaign_resources import JobResources

LIGHT_WORKER = "front"
"""Worker of lightweight jobs, on the machine from which the queue is reached."""


@dataclass
class ProjectAnswers:
    """What a project file is made of.

    Attributes
    ----------
    name
        Of the project.
    scheduler
        slurm, pbs or sge.
    work_dir
        Absolute folder on a file system that the nodes share.
    mongodb
        URI of the database of jobs.
    resources
        What jobs ask for unless a campaign says otherwise.
    worker
        Name of the worker.
    host, user
        Where the queue is reached by ssh; this machine if there is no host.
    prepare
        Shell lines before each job, which must make ``jf`` and mgsurf available.
    light
        True: lightweight jobs may run beside the queue, on a worker named `LIGHT_WORKER`.
    poll
        How often the runner looks at queue and database (s).
    """

    name: str
    scheduler: str
    work_dir: str
    mongodb: str
    resources: JobResources
    worker: str = "queue"
    host: str | None = None
    user: str | None = None
    prepare: list[str] = field(default_factory=list)
    light: bool = False
    poll: float = 30.0


def default_preparation() -> list[str]:
    """Return the lines that make this very installation, and its VASP, available on the same file system."""
    lines = [f'export PATH="{Path(sys.executable).parent}:$PATH"', "export OMP_NUM_THREADS=1"]
    for name in ("MGSURF_VASP_CMD", "PMG_VASP_PSP_DIR"):
        if value := os.environ.get(name):  # PBS and SGE hand no environment on
            lines.append(f'[ -n "${name}" ] || export {name}={shlex.quote(value)}')
    return lines


def project_document(answers: ProjectAnswers) -> dict[str, Any]:
    """Build the content of a project file.

    Raises
    ------
    InputError
        If the scheduler cannot do what is asked, or jobflow-remote refuses the project.
    """
    where: dict[str, Any] = {"type": "local"}
    if answers.host:
        where = {"type": "remote", "host": answers.host}
        if answers.user:
            where["user"] = answers.user
    common = {
        **where,
        "work_dir": answers.work_dir,
        "pre_run": "\n".join(answers.prepare) + "\n",
        "timeout_execute": 120,
    }
    workers = {
        answers.worker: {
            **common,
            "scheduler_type": answers.scheduler,
            "resources": header_keys(answers.scheduler, answers.resources),
        }
    }
    if answers.scheduler == "sge":  # its qstat cannot be asked for single jobs
        name = answers.user or user_name()
        if name is None:
            raise InputError(
                "--user: the queue lists jobs by user, and this user number has no name; give the name"
            )
        workers[answers.worker]["scheduler_username"] = name
    if answers.light:
        shell = {"@module": "workflows.execution.front_shell", "@class": "FrontShell"}
        workers[LIGHT_WORKER] = {**common, "scheduler_type": shell, "max_jobs": 4}
    database = {"type": "MongoStore", "database": database_name(answers.mongodb), "uri": answers.mongodb}
    document = {
        "name": answers.name,
        "workers": workers,
        # names of their own, so that results may live in the same database
        "queue": {
            "store": {**database, "collection_name": "jf_jobs"},
            "flows_collection": "jf_flows",
            "batches_collection": "jf_batches",
        },
        "jobstore": {"docs_store": {**database, "collection_name": "jf_outputs"}},
        "runner": {
            "delay_checkout": answers.poll,
            "delay_check_run_status": answers.poll,
            "delay_advance_status": answers.poll,
            "delay_ping_db": 60,  # so that mgsurf status soon knows of a runner that died
        },
    }
    _validate(document)
    return document


def _validate(document: dict[str, Any]) -> Any:
    try:
        from jobflow_remote.config.base import Project
    except ImportError:
        raise InputError(EXTRA) from None
    from pydantic import ValidationError

    name = ""
    try:
        project = Project.model_validate(document)
        for name, worker in project.workers.items():  # noqa: B007 -- named in the message below
            worker.get_scheduler_io().generate_header(dict(worker.resources or {}))
            worker.get_host()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        text = str(first["msg"]).strip().splitlines()[-1]
        raise InputError(f"{place}: {masked(text)}") from None
    except Exception as error:  # QToolKit's own errors
        raise InputError(f"worker {name}: {' '.join(str(error).split())}") from error
    return project


def example_script(document: dict[str, Any], worker: str) -> str:
    """Return the script of a job as jobflow-remote will hand it to the queue.

    Parameters
    ----------
    document
        From `project_document`.
    worker
        Name of the worker.
    """
    from jobflow_remote.remote.queue import set_name_out

    found = _validate(document).workers[worker]
    folder = f"{found.work_dir}/FOLDER-OF-THE-JOB"
    options = dict(found.resources or {})
    set_name_out(options, "NAME-OF-THE-JOB", f"{folder}/queue.out", f"{folder}/queue.err")
    commands = [f"cd {folder}", found.pre_run.rstrip(), f"jf -fe execution run {folder}"]
    script: str = found.get_scheduler_io().get_submission_script(commands, options)
    return script + "\n"


def write_project(answers: ProjectAnswers, folder: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write project file and example script.

    Parameters
    ----------
    answers
        What to write.
    folder
        From `projects_folder`.
    force
        Replace a project of the same name.

    Returns
    -------
    tuple of Path
        Project file and script.

    Raises
    ------
    InputError
        If the project exists, is refused, or cannot be written.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import walk_tree

    path, script = folder / f"{answers.name}.yaml", folder / answers.name / "example_job.sh"
    others = [folder / f"{answers.name}.{ending}" for ending in ("json", "toml")]
    taken = next((place for place in (path, *others) if place.exists()), None)
    if taken is not None and not force:
        raise InputError(f"{taken} exists; --force replaces it, or choose another name")
    if taken is not None and taken != path:
        raise InputError(f"{taken} is a project of the same name in another format; remove it first")
    document = project_document(answers)
    example = example_script(document, answers.worker)
    text = io.StringIO()
    text.write("# Project of jobflow-remote, written by mgsurf init-hpc; edit it freely.\n")
    text.write("# Fields: https://matgenix.github.io/jobflow-remote/user/projectconf.html\n")
    walk_tree(document)  # several lines as a block
    yaml = YAML()
    yaml.width = 1000
    yaml.dump(document, text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        script.parent.mkdir(exist_ok=True)
        write_file(path, text.getvalue(), mode=0o600)  # the address of the database may hold a password
        script.write_text(masked(example), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be written: {error.strerror}; correct its permissions, or set "
            "JFREMOTE_PROJECTS_FOLDER to another folder"
        ) from None
    return path, script
