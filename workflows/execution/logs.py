"""Calculations found by the name of their facet, with the folder that holds their logs.

A folder is named by the id of its calculation. Which calculation that is stands in the store once it ended,
in ``running.json`` of the run at work, in the folder itself (`workflows.engines.protocol.TASK_FILE`), or, on
a queue, in jobflow-remote's document of the job.
"""

from __future__ import annotations

import difflib
import heapq
import os
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, one_line
from stores.input_files import read_json
from workflows.engines.protocol import TASK_FILE
from workflows.execution.running import read_running
from workflows.structures.naming import parse_miller

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stores.surfaces import SurfaceStore
    from workflows.execution.remote.project import RemoteProject

NEWEST = 2000
"""Folders of a working directory that are looked at for calculations that did not end, the newest first."""

NAMED = 8
"""Names that an error lists."""

OF_PLANE = "oriented bulk"
"""In the label of the calculation that all terminations of a plane share."""

RUNNING, STOPPED = "running", "not finished"

_STEP = re.compile(r":\s|\s(?:slab |oriented bulk )?(?:relax|static|record)$")
_PLANE = re.compile(r"\(.+\)|(-?\d){3,4}")


@dataclass(frozen=True)
class Task:
    """A calculation, or a job on a queue.

    Attributes
    ----------
    label
        For people: "MgAg (110) MgAg: slab relax".
    status
        `RUNNING`, `STOPPED`, a `CalculationStatus` or one of `workflows.execution.remote.status.STATES`.
    directory
        Its folder; empty if it has none yet.
    moment
        When it ended or started (ISO 8601).
    reason
        Why it failed, in one line.
    host
        The machine of the folder; empty for this one.
    id
        Of the calculation; empty where only the job is known.
    """

    label: str
    status: str
    directory: str
    moment: str = ""
    reason: str = ""
    host: str = ""
    id: str = ""

    @property
    def facet(self) -> str:
        """Facet and termination, or crystal: the label without the kind of calculation."""
        return _STEP.split(self.label.replace(" relax bulk", " bulk"), maxsplit=1)[0]


def matches(name: str, label: str) -> bool:
    """Return whether every word of a name is in a label; planes may be written (hkl), hkl or (hkil)."""
    there = {_word(word) for word in _words(label)}
    return all(_word(word) in there for word in _words(name))


def _words(text: str) -> list[str]:
    """Split at blanks, but not inside the parentheses of a plane."""
    return re.findall(r"\([^)]*\)|[^\s(:]+", text)


def _word(word: str) -> Any:
    if _PLANE.fullmatch(word):
        try:
            return tuple(parse_miller(word))
        except InputError:
            pass
    return word.lower()


def tasks_here(
    store: SurfaceStore | None, work_dir: Path, criteria: dict[str, Any] | None = None
) -> Iterator[Task]:
    """Yield the calculations of a store that meet a filter, and those of a working directory here."""
    running = read_running(work_dir)
    if running is not None:
        yield Task(one_line(running.label), RUNNING, running.directory, id=Path(running.directory).name)
    known = {Path(running.directory).name} if running else set()
    if store is not None:
        fields = ["id", "label", "created_at", "output.status", "output.reason", "output.directory"]
        for found in store.query(criteria or {}, fields, collection="calculations"):
            if found["id"] in known:
                continue  # a failed one that is being tried again
            known.add(found["id"])
            output = found["output"]
            yield Task(
                one_line(found["label"]),
                output["status"],
                output.get("directory") or "",
                found["created_at"],
                one_line(output.get("reason") or ""),
                id=found["id"],
            )
    yield from (task for task in noted_tasks(work_dir) if task.id not in known)


def noted_tasks(work_dir: Path) -> Iterator[Task]:
    """Yield the calculations that were started in the newest folders of a working directory."""
    try:
        with os.scandir(work_dir) as entries:
            folders = [(entry.stat().st_mtime, entry.path) for entry in entries if entry.is_dir()]
    except OSError:
        return
    for changed, folder in heapq.nlargest(NEWEST, folders):
        try:
            task = read_json(Path(folder) / TASK_FILE)
            label, number = one_line(task["label"]), str(task["id"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        moment = datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds")
        yield Task(label, STOPPED, folder, moment, id=number)


def tasks_on_queue(project: RemoteProject, campaign: str | None) -> Iterator[Task]:
    """Yield the jobs of a campaign in a project of jobflow-remote, and what its workers' folders note.

    InputError if nothing was submitted.
    """
    from workflows.execution.remote.status import STATES, jobs_of, reason_of
    from workflows.execution.remote.submit import worker_folders

    meaning = {name: group for group, names in STATES.items() for name in names}
    jobs = []
    for job in jobs_of(project, project.need_flows(campaign), more=["run_dir", "updated_on"]):
        status = meaning.get(job["state"], "waiting")
        task = Task(
            one_line(job["job"]["name"]),
            status,
            job.get("run_dir") or "",
            str(job.get("updated_on") or ""),
            reason_of(job) if status == "failed" else "",
            _host(project, job["worker"]),
        )
        jobs.append(task)
        yield task
    running = {task.facet for task in jobs if task.status == RUNNING}
    folders = {
        worker_folders(worker.work_dir)[1]
        for name, worker in project.config.workers.items()
        if not _host(project, name)
    }
    for folder in sorted(folders):
        for task in noted_tasks(Path(folder)):
            # the job's own folder holds what the queue printed, this one the engine's log
            yield replace(task, status=RUNNING) if task.facet in running else task


def _host(project: RemoteProject, worker: str) -> str:
    """Return the host of a worker that is reached by ssh; empty for this machine."""
    return str(getattr(project.config.workers.get(worker), "host", "") or "")


def chosen(name: str, tasks: Iterable[Task], place: str) -> list[Task]:
    """Return the tasks that a name fits, those of one facet together; InputError with the nearest names."""
    every = list(tasks)
    found = [task for task in every if matches(name, task.label)]
    if found:
        exact = [task for task in found if _words(task.facet) == _words(name) or task.label == name]
        slabs = [task for task in found if not task.facet.endswith(OF_PLANE)]
        return exact or slabs or found
    facets = list(dict.fromkeys(task.facet for task in every))
    if not facets:
        raise InputError(f"{name}: {place} holds no calculation yet; mgsurf run CAMPAIGN.yaml computes some")
    near = _nearest(name, facets)
    raise InputError(f"{name}: no calculation of that name in {place}; nearest: {', '.join(near)}")


def _nearest(name: str, facets: Sequence[str]) -> list[str]:
    """Return facets of the same compound if there are any, else those with the most similar names."""
    words = _words(name)
    same = [facet for facet in facets if words and _words(facet)[:1] == words[:1]]
    if not same:
        compounds = list(dict.fromkeys(_words(facet)[0] for facet in facets if _words(facet)))
        close = difflib.get_close_matches(words[0] if words else "", compounds, n=3, cutoff=0.0)
        same = [facet for compound in close for facet in facets if _words(facet)[:1] == [compound]]
    return difflib.get_close_matches(name, same[:1000], n=NAMED, cutoff=0.0)


_URGENCY = (RUNNING, "failed", STOPPED, "unconverged")


def most_telling(tasks: Sequence[Task]) -> Task:
    """Return the task that runs, else one that failed, else the latest that has a folder."""
    newest = sorted(tasks, key=lambda task: (bool(task.directory), task.moment), reverse=True)
    return min(newest, key=lambda t: _URGENCY.index(t.status) if t.status in _URGENCY else len(_URGENCY))
