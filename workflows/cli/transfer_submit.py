"""`mgsurf transfer --submit`: the trainings of a study as jobs on a queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError, pluralize
from stores.files import check_locks
from workflows.cli.console import print_text
from workflows.cli.learning import writing
from workflows.cli.options import ProjectOption, WorkerOption

if TYPE_CHECKING:
    from workflows.execution.remote.study import QueuedStudy


@dataclass(frozen=True)
class StudySubmission:
    """Whether the trainings of a study are jobs on a queue, and how many share them."""

    submit: Annotated[
        bool, typer.Option("--submit", help="Hand the trainings to a queue, to --jobs jobs that share them.")
    ] = False
    project: ProjectOption = None
    worker: WorkerOption = None
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="With --submit: jobs side by side, each with --processes cores; 1."
        ),
    ] = None

    def __post_init__(self) -> None:
        if not self.submit and (self.project or self.worker or self.jobs):
            raise InputError("--project, --worker and --jobs go with --submit; add it or leave them out")

    def run(self, study: QueuedStudy, left: int) -> int:
        """Submit the jobs that are missing to `jobs` active ones; return the exit status.

        `left` is the number of trainings that are not finished. Errors are those of `open_project` and
        `QueuedStudy.submit`; an InputError, too, if the folder has no locks by which jobs share it.
        """
        from rich.text import Text

        from workflows.execution.remote.project import open_project
        from workflows.execution.remote.status import runner_trouble
        from workflows.execution.remote.submit import alone_submitting

        path = study.path
        tables = f"mgsurf transfer {path} -o {study.folder}"
        if not left:
            print_text("every training is finished; nothing was submitted")
            print_text(f"  {tables}   tables and figures")
            return 0
        wanted = self.jobs or 1
        with open_project(self.project) as remote, alone_submitting(remote.controller.db) as lease:
            worker = remote.worker(self.worker)
            active, others = study.active(remote)
            if others:
                print_text(
                    f"{pluralize(others, 'job')} of another version of {path.name} still work in "
                    f"{study.folder}; they share trainings of both with the new ones"
                )
            if (missing := wanted - len(active)) <= 0:
                print_text(
                    f"{pluralize(len(active), 'job')} of {study.name} are in project {remote.name} already; "
                    "nothing was submitted (more --jobs adds some)"
                )
            else:
                with writing(study.folder):
                    study.folder.mkdir(parents=True, exist_ok=True)
                    if wanted > 1:
                        check_locks(study.folder, "jobs cannot share it; leave --jobs out, or choose another")
                lease.check()
                numbers = study.submit(remote, worker, missing)
                beside = f" beside {len(active)} that have not ended" if active else ""
                print_text(
                    f"submitted {pluralize(len(numbers), 'job')} with {pluralize(study.processes, 'core')} "
                    f"each{beside} to project {remote.name}, worker {worker}: "
                    f"{pluralize(left, 'training')} in {study.folder}"
                )
            print_text(f"  mgsurf status {path} --project {remote.name}   what runs, what failed and why")
            print_text(f"  {tables}   tables and figures when they have ended")
            if trouble := runner_trouble(remote):
                print_text(Text(trouble, style="yellow"))
        return 0
