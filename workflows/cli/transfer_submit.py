"""`mgsurf transfer --submit`: the trainings of a study as jobs on a queue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError, pluralize
from stores.files import check_locks
from workflows.cli.console import print_note, print_text
from workflows.cli.learning import writing
from workflows.cli.options import ProjectOption, WorkerOption

if TYPE_CHECKING:
    from pathlib import Path

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
        typer.Option(min=1, metavar="N", help="With --submit: jobs side by side; one by default."),
    ] = None

    def __post_init__(self) -> None:
        if not self.submit and (self.project or self.worker or self.jobs):
            raise InputError("--project, --worker and --jobs go with --submit; add it or leave them out")

    def run(self, study: QueuedStudy, left: int, file: Path, output: Path, *, as_json: bool) -> int:
        """Submit the jobs that are missing to `jobs` active ones; return the exit status.

        Parameters
        ----------
        left
            Number of trainings that are not finished.
        file, output
            Study file and folder as they were given, for messages.

        Raises
        ------
        InputError, StoreError
            As `open_project` and `QueuedStudy.submit`; an InputError, too, if several jobs are wanted and the
            folder has no locks by which they share it.
        """
        from workflows.execution.remote.project import open_project
        from workflows.execution.remote.status import runner_trouble
        from workflows.execution.remote.submit import alone_submitting

        tables = f"mgsurf transfer {file} -o {output}"
        if not left:
            if as_json:
                print(json.dumps({"submitted": [], "active": 0, "trainings_left": 0}))
                return 0
            print_text("every training is finished; nothing was submitted")
            print_text(f"  {tables}   tables and figures")
            return 0
        with open_project(self.project) as remote, alone_submitting(remote.controller.db) as lease:
            worker = remote.worker(self.worker)
            active, others = study.active(remote)
            missing = (self.jobs or 1) - len(active)
            numbers: list[str] = []
            if missing > 0:
                with writing(study.folder):
                    study.folder.mkdir(parents=True, exist_ok=True)
                    if (self.jobs or 1) > 1:
                        check_locks(study.folder, "jobs cannot share it; leave --jobs out, or choose another")
                lease.check()
                numbers = study.submit(remote, worker, missing)
            if as_json:
                print(json.dumps({"submitted": numbers, "active": len(active), "trainings_left": left}))
                return 0
            name = remote.name
            if others:
                print_note(
                    f"{pluralize(others, 'job')} of another version of {file} still work in {study.folder}; "
                    "trainings of both versions are shared"
                )
            if not numbers:
                print_text(
                    f"{pluralize(len(active), 'job')} of {study.name} are in project {name} already; nothing "
                    "was submitted (more --jobs adds some)"
                )
            else:
                beside = f" beside {len(active)} that have not ended" if active else ""
                print_text(
                    f"submitted {pluralize(len(numbers), 'job')} with {pluralize(study.processes, 'core')} "
                    f"each{beside} to project {name}, worker {worker}: {pluralize(left, 'training')} in "
                    f"{study.folder}"
                )
            print_text(f"  mgsurf status {file} --project {name}   what runs, what failed and why")
            print_text(f"  {tables}   tables and figures when they have ended")
            if trouble := runner_trouble(remote):
                print_note(trouble)
        return 0
