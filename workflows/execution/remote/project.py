"""A project of jobflow-remote: written by init-hpc, found by its name, its database opened."""

from __future__ import annotations

import io
import os
import shlex
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.backends.mongo import database_name
from stores.errors import InputError, StoreError, install_command
from stores.files import write_file
from stores.input_files import TooDeepError, load_yaml, read_text
from stores.paths import expand_user, user_name
from stores.secrets import masked, remember, remember_address
from workflows.execution.remote.requests import header_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError

    from workflows.flows.campaign.resources import JobResources


EXTRA = f"jobs go to a queue through jobflow-remote, which is not installed: {install_command('hpc')}"
SERVER_TIMEOUT_MS = 5000
METADATA = "mgsurf"  # key under which flows and jobs carry ``{"campaign": name, ...}``


@dataclass(frozen=True)
class RemoteProject:
    """An open project."""

    name: str  # of the project
    config: Any  # jobflow-remote's ``Project``
    controller: Any  # jobflow-remote's ``JobController``, connected

    def worker(self, name: str | None) -> str:
        """Return the name of a worker, the first if none is named; InputError if there is no such worker."""
        workers = list(self.config.workers)
        if not workers:
            raise InputError(f"project {self.name} has no worker; add one with mgsurf init-hpc")
        if name is None:
            return str(workers[0])
        if name not in workers:
            raise InputError(f"project {self.name} has no worker {name!r}; there are {', '.join(workers)}")
        return name

    def flows(self, campaign: str | None) -> list[dict[str, Any]]:
        """Return uuid, name, state, jobs and metadata of the flows of a campaign, or of all campaigns."""
        wanted: Any = campaign if campaign is not None else {"$exists": True}
        found = self.controller.get_flows_info(
            metadata={f"{METADATA}.campaign": wanted}, sort=[("created_on", 1)]
        )
        return [
            {
                "uuid": flow.flow_id,
                "name": flow.name,
                "state": flow.state.value,
                "jobs": list(dict.fromkeys(flow.job_ids)),  # a job that replaced itself is listed twice
                "metadata": flow.flow_metadata,
            }
            for flow in found
        ]

    def need_flows(self, campaign: str | None) -> list[dict[str, Any]]:
        """Return the flows of a campaign; InputError if there are none."""
        found = self.flows(campaign)
        if not found:
            known = self.campaigns()
            what = f"campaign {campaign!r}" if campaign else "any campaign"
            there = f"; there are {', '.join(known)}" if known else ""
            raise InputError(
                f"nothing of {what} was submitted to project {self.name}{there}; "
                "submit it with mgsurf submit CAMPAIGN.yaml, or mgsurf transfer STUDY.yaml --submit"
            )
        return found

    def campaigns(self) -> list[str]:
        """Return the names of the campaigns submitted so far."""
        return sorted({flow["metadata"][METADATA]["campaign"] for flow in self.flows(None)})


def load_config(name: str | None) -> Any:
    """Return jobflow-remote's ``Project`` of a name; None is JFREMOTE_PROJECT, or the only project.

    Raises
    ------
    InputError
        If jobflow-remote is not installed, or there is no such project, or its file is wrong.
    """
    try:
        from jobflow_remote.config.base import ConfigError, ProjectUndefinedError
        from jobflow_remote.config.manager import ConfigManager
    except ImportError:
        raise InputError(EXTRA) from None
    try:
        manager = ConfigManager(warn=False)
    except (ConfigError, OSError) as error:
        raise InputError(" ".join(str(error).split())) from error
    known = sorted(manager.projects_data)
    listing = f"known projects: {', '.join(known)}" if known else "none found"
    place = f"in {manager.projects_folder}"
    make = "mgsurf init-hpc makes one"
    try:
        chosen = manager.select_project_name(name)
    except ProjectUndefinedError:
        raise InputError(f"name the project with --project ({listing} {place}; {make})") from None
    if chosen not in manager.projects_data:
        wrong = _why_wrong(manager.projects_folder, chosen)
        raise InputError(wrong or f"no project {chosen!r} ({listing} {place}; {make})")
    return manager.projects_data[chosen].project


def _why_wrong(folder: Path, name: str) -> str:
    """Return what is wrong in a project file that jobflow-remote skips in silence; empty if nothing."""
    from jobflow_remote.config.base import Project
    from pydantic import ValidationError
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = folder / f"{name}.yaml"
    if not path.exists():
        return ""
    try:
        Project.model_validate(load_yaml(read_text(path), YAML(typ="safe")))
    except ValidationError as error:
        return f"{path}: {first_problem(error)}; correct the file"
    except YAMLError as error:
        # without the line it quotes: that may hold a password
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        problem = " ".join(masked(str(getattr(error, "problem", None) or "unreadable")).split())[:200]
        return f"{path}: not valid YAML{place}: {problem}; correct it"
    except (TooDeepError, UnicodeDecodeError) as error:
        return f"{path}: not valid YAML: {error}; correct it"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}; check its permissions"
    return ""


def first_problem(error: ValidationError) -> str:
    """Return place and message of the first of pydantic's errors, in one line and without passwords."""
    first = error.errors(include_url=False)[0]
    text = str(first["msg"]).strip().splitlines()[-1]  # the message may hold a whole traceback
    return f"{'.'.join(map(str, first['loc']))}: {masked(text)}"


@contextmanager
def open_project(name: str | None) -> Iterator[RemoteProject]:
    """Open a project and close it again; `name` is that of `load_config`.

    Raises
    ------
    InputError
        As `load_config`.
    StoreError
        If the database cannot be reached or fails.
    """
    config = load_config(name)
    from jobflow_remote.jobs.jobcontroller import JobController
    from pymongo.errors import PyMongoError, ServerSelectionTimeoutError

    _check_address(config)

    queue, jobs = config.get_queue_store(), config.get_jobstore()
    for store in (queue, jobs.docs_store, *jobs.additional_stores.values()):
        options = getattr(store, "mongoclient_kwargs", None)
        if isinstance(options, dict):  # half a minute is too long to wait for a wrong address
            options.setdefault("serverSelectionTimeoutMS", SERVER_TIMEOUT_MS)
    controller = None
    try:
        controller = JobController(
            queue_store=queue,
            jobstore=jobs,
            flows_collection=config.queue.flows_collection,
            auxiliary_collection=config.queue.auxiliary_collection,
            batches_collection=config.queue.batches_collection,
            project=config,
        )
        controller.get_running_runner()  # any query: the server answers, or the errors below are raised
        yield RemoteProject(config.name, config, controller)
    except ServerSelectionTimeoutError as error:
        raise StoreError(
            f"the MongoDB of project {config.name} does not answer ({_short(error)}); jobs on the queue "
            "still run, nothing is lost: start it or correct the project file, then type the same command "
            "again"
        ) from error
    except PyMongoError as error:
        raise StoreError(
            f"the MongoDB of project {config.name} failed: {_short(error)}; jobs on the queue still run, "
            "nothing is lost: check the server, or user, password and database in "
            f"{_file_of(config.name)}"
        ) from error
    finally:
        if controller is not None:
            controller.close()


def projects_folder() -> Path:
    """Return the folder of jobflow-remote's projects; InputError if it is not installed."""
    try:
        from jobflow_remote import SETTINGS
    except ImportError:
        raise InputError(EXTRA) from None
    return expand_user(SETTINGS.projects_folder, "JFREMOTE_PROJECTS_FOLDER")


def _file_of(name: str) -> str:
    return str(projects_folder() / f"{name}.yaml")


def _check_address(config: Any) -> None:
    """Refuse an address that pymongo cannot read, without repeating any part of its password."""
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    stores = [config.queue.store or {}, *((config.jobstore or {}).get("docs_store") or {},)]
    for store in stores:
        remember_address(str(store.get("uri") or ""))
        remember(str(store.get("password") or ""))
    uri = stores[0].get("uri")
    if not isinstance(uri, str) or uri.startswith("mongodb+srv:"):  # the latter needs a name server
        return
    try:
        parse_uri(uri)
    except (ValueError, PyMongoError):
        raise StoreError(
            f"the address of the MongoDB in {_file_of(config.name)} cannot be read; it has the form "
            "mongodb://USER:PASSWORD@HOST:PORT/DATABASE, with : / ? # [ ] @ % in user or password written "
            "as %3A %2F %3F %23 %5B %5D %40 %25"
        ) from None


def _short(error: Exception) -> str:
    return " ".join(masked(str(error)).split(", Timeout")[0].split())[:200]


def initialise(project: RemoteProject) -> None:
    """Prepare an empty database, as jobflow-remote requires before the first job."""
    controller = project.controller
    if controller.get_running_runner() != "NO_DOCUMENT":
        return
    if controller.count_flows() or controller.count_jobs():
        raise StoreError(
            f"the database of project {project.name} holds jobs but not jobflow-remote's counters; "
            f"look at it with jf -p {project.name} admin before you submit again"
        )
    controller.reset()


LIGHT_WORKER = "front"  # worker of lightweight jobs, on the machine from which the queue is reached


@dataclass
class ProjectAnswers:
    """Content of a project file."""

    name: str  # of the project
    scheduler: str  # slurm, pbs or sge
    work_dir: str  # absolute folder on a file system that the nodes share
    mongodb: str  # URI of the database of jobs
    resources: JobResources  # request of jobs unless a campaign has its own
    worker: str = "queue"  # name of the worker
    # where the queue is reached by ssh; this machine if there is no host
    host: str | None = None
    user: str | None = None
    # shell lines before each job, which must make ``jf`` and mgsurf available
    prepare: list[str] = field(default_factory=list)
    light: bool = False  # whether lightweight jobs may run beside the queue, on a worker named `LIGHT_WORKER`
    poll: float = 30.0  # time between the runner's looks at queue and database (s)


def default_preparation() -> list[str]:
    """Return the lines that make this very installation, and its VASP, available on the same file system."""
    lines = [f'export PATH="{Path(sys.executable).parent}:$PATH"', "export OMP_NUM_THREADS=1"]
    for name in ("MGSURF_VASP_CMD", "PMG_VASP_PSP_DIR"):
        if value := os.environ.get(name):  # PBS and SGE hand no environment on
            lines.append(f'[ -n "${name}" ] || export {name}={shlex.quote(value)}')
    return lines


def project_document(answers: ProjectAnswers) -> dict[str, Any]:
    """Return the content of a project file.

    InputError if the scheduler cannot do what is requested, or jobflow-remote refuses the project.
    """
    where = {"type": "local"}
    if answers.host:
        where = {"type": "remote", "host": answers.host} | ({"user": answers.user} if answers.user else {})
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
    if answers.scheduler == "sge":  # its qstat cannot list single jobs
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
        # names of their own: results may be in the same database
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
            "delay_ping_db": 60,  # so that mgsurf status soon shows a runner that died
        },
    }
    _validate(document)
    return document


def _validate(document: dict[str, Any]) -> Any:
    from jobflow_remote.config.base import Project
    from pydantic import ValidationError

    name = ""
    try:
        project = Project.model_validate(document)
        for name, worker in project.workers.items():  # noqa: B007 -- named in the message below
            worker.get_scheduler_io().generate_header(dict(worker.resources or {}))
            worker.get_host()
    except ValidationError as error:
        raise InputError(first_problem(error)) from None
    except Exception as error:  # QToolKit's own errors
        raise InputError(f"worker {name}: {' '.join(str(error).split())}") from error
    return project


def example_script(document: dict[str, Any], worker: str) -> str:
    """Return the script of a job as jobflow-remote will hand it to the queue, for a `project_document`."""
    from jobflow_remote.remote.queue import set_name_out

    found = _validate(document).workers[worker]
    folder = f"{found.work_dir}/FOLDER-OF-THE-JOB"
    options = dict(found.resources or {})
    set_name_out(options, "NAME-OF-THE-JOB", f"{folder}/queue.out", f"{folder}/queue.err")
    commands = [f"cd {folder}", found.pre_run.rstrip(), f"jf -fe execution run {folder}"]
    script: str = found.get_scheduler_io().get_submission_script(commands, options)
    return script + "\n"


def write_project(answers: ProjectAnswers, folder: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write project file and example script to `projects_folder`; return both paths.

    InputError if the project exists and `force` does not replace it, is refused, or cannot be written.
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
