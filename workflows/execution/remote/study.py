"""Hand a study of transfer to jobflow-remote: as many jobs as are wanted side by side, and no more."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.records import content_hash
from workflows.execution.remote.project import METADATA
from workflows.execution.remote.requests import job_request
from workflows.execution.remote.status import STATES, jobs_of
from workflows.execution.remote.submit import submit
from workflows.flows.learning.study_job import study_flow

if TYPE_CHECKING:
    from pathlib import Path

    from workflows.execution.remote.project import RemoteProject
    from workflows.flows.learning.study_file import StudyFile

ACTIVE = tuple(state for name in ("waiting", "queued", "running", "finishing") for state in STATES[name])


def study_name(path: Path) -> str:
    """Return the name under which a project knows the jobs of a study file.

    Files of one name in different folders differ in it, so that cancelling one leaves the other alone.
    """
    return f"transfer-{path.stem}-{content_hash(os.path.normpath(path.absolute()), 4)}"


@dataclass(frozen=True)
class QueuedStudy:
    """A study whose trainings are left to jobs.

    Parameters
    ----------
    file
        As read.
    path
        Of the file, absolute.
    folder
        Of the trainings, absolute and without ``..``, on a file system that the nodes share.
    processes
        Trainings side by side in each job, a core each.
    """

    file: StudyFile
    path: Path
    folder: Path
    processes: int

    @property
    def name(self) -> str:
        """Name of its flows in a project."""
        return study_name(self.path)

    @property
    def key(self) -> str:
        """Content hash of the study and its folder; resources and cores are no part of it."""
        return content_hash({"study": self.file.for_nodes(), "folder": str(self.folder)})

    def active(self, project: RemoteProject) -> tuple[list[dict[str, Any]], int]:
        """Return the jobs of this study that have not ended, and the number of those of other versions."""
        flows: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for flow in project.flows(self.name):
            submitted = flow["metadata"][METADATA].get("compounds", {})
            if str(self.folder) in submitted.values():
                flows[self.key in submitted].append(flow)
        return jobs_of(project, flows[True], ACTIVE), len(jobs_of(project, flows[False], ACTIVE))

    def submit(self, project: RemoteProject, worker: str, jobs: int) -> list[str]:
        """Put so many jobs on jobflow-remote's list; return its numbers of them.

        Raises
        ------
        InputError
            If the study names no worker of the project, or the scheduler cannot do what it requests.
        """
        cores = {"nodes": 1, "tasks_per_node": self.processes, "cpus_per_task": 1}
        wanted = self.file.resources.model_copy(update=cores)
        try:
            request = job_request(wanted, project.config.workers, worker, "resources")
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None
        known = sum(len(flow["jobs"]) for flow in project.flows(self.name))
        numbers = []
        for number in range(known + 1, known + jobs + 1):
            flow = study_flow(
                self.file.for_nodes(),
                self.path,
                self.folder,
                name=f"{self.name} {number}",
                processes=self.processes,
                request=request,
            )
            numbers += submit(project, worker, flow, self.name, {self.key: str(self.folder)})
        return numbers
