"""A project of jobflow-remote: found by its name, its database reached or refused in one line."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, StoreError, install_command
from stores.input_files import read_text
from stores.nesting import TooDeepError, load_yaml
from stores.paths import expand_user
from stores.secrets import masked, remember, remember_address

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTRA = f"jobs go to a queue through jobflow-remote, which is not installed: {install_command('hpc')}"
SERVER_TIMEOUT_MS = 5000
METADATA = "mgsurf"
"""Key under which flows and jobs carry ``{"campaign": name, ...}``."""


@dataclass(frozen=True)
class RemoteProject:
    """An open project.

    Attributes
    ----------
    name
        Of the project.
    config
        jobflow-remote's ``Project``.
    controller
        jobflow-remote's ``JobController``, connected.
    """

    name: str
    config: Any
    controller: Any

    def worker(self, name: str | None) -> str:
        """Return the name of a worker, the first one if none is named.

        Raises
        ------
        InputError
            If there is no such worker.
        """
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
        """Return the flows of a campaign.

        Raises
        ------
        InputError
            If there are none.
        """
        found = self.flows(campaign)
        if not found:
            known = self.campaigns()
            what = f"campaign {campaign!r}" if campaign else "any campaign"
            there = f"; there are {', '.join(known)}" if known else ""
            raise InputError(
                f"nothing of {what} was submitted to project {self.name}{there}; "
                "submit it with mgsurf submit CAMPAIGN.yaml"
            )
        return found

    def campaigns(self) -> list[str]:
        """Return the names of the campaigns submitted so far."""
        return sorted({flow["metadata"][METADATA]["campaign"] for flow in self.flows(None)})


def load_config(name: str | None) -> Any:
    """Load a project of jobflow-remote.

    Parameters
    ----------
    name
        None for JFREMOTE_PROJECT, or the only project there is.

    Returns
    -------
    jobflow_remote.config.base.Project

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
    listing = f"known projects: {', '.join(known)}" if known else "there is none yet"
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
    """Say what is wrong in a project file that jobflow-remote passes over in silence."""
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
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        text = masked(str(first["msg"]).strip().splitlines()[-1])  # of a traceback in it, the error
        return f"{path}: {field}: {text}; correct the file"
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


@contextmanager
def open_project(name: str | None) -> Iterator[RemoteProject]:
    """Open a project and close it again; errors of its database end in one line.

    Parameters
    ----------
    name
        As for `load_config`.

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
        controller.get_running_runner()  # any question: the server answers, or the errors below do
        yield RemoteProject(config.name, config, controller)
    except ServerSelectionTimeoutError as error:
        raise StoreError(
            f"the MongoDB of project {config.name} does not answer ({_short(error)}); jobs on the queue go "
            "on, nothing is lost: start it or correct the project file, then type the same command again"
        ) from error
    except PyMongoError as error:
        raise StoreError(
            f"the MongoDB of project {config.name} failed: {_short(error)}; jobs on the queue go on, nothing "
            f"is lost: see to the server or to user, password and database in {_file_of(config.name)}"
        ) from error
    finally:
        if controller is not None:
            controller.close()


def projects_folder() -> Path:
    """Return the folder of jobflow-remote's projects.

    Raises
    ------
    InputError
        If jobflow-remote is not installed.
    """
    try:
        from jobflow_remote import SETTINGS
    except ImportError:
        raise InputError(EXTRA) from None
    return expand_user(SETTINGS.projects_folder, "JFREMOTE_PROJECTS_FOLDER")


def _file_of(name: str) -> str:
    return str(projects_folder() / f"{name}.yaml")


def _check_address(config: Any) -> None:
    """Refuse an address that pymongo cannot read, in words that repeat no part of its password."""
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    stores = [config.queue.store or {}, *((config.jobstore or {}).get("docs_store") or {},)]
    for store in stores:
        remember_address(str(store.get("uri") or ""))
        remember(str(store.get("password") or ""))
    uri = stores[0].get("uri")
    if not isinstance(uri, str) or uri.startswith("mongodb+srv:"):  # the latter asks a name server
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


def initialise(project: RemoteProject) -> bool:
    """Prepare an empty database, as jobflow-remote asks for before the first job; True if it was needed."""
    controller = project.controller
    if controller.get_running_runner() != "NO_DOCUMENT":
        return False
    if controller.count_flows() or controller.count_jobs():
        raise StoreError(
            f"the database of project {project.name} holds jobs but not jobflow-remote's counters; "
            f"look at it with jf -p {project.name} admin before going on"
        )
    controller.reset()
    return True
