"""Hand a campaign to jobflow-remote, every compound once."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from socket import gethostname
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from stores.errors import StoreError
from stores.method import content_hash
from workflows.execution.remote_project import METADATA, RemoteProject, initialise
from workflows.jobs.pre_relaxation import identity_of
from workflows.structures.identity import bulk_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobflow import Flow
    from pymatgen.core import Structure

    from workflows.flows.surface import SurfaceMaker

_GIVEN_UP = ("STOPPED",)
_LOCKS = "mgsurf_locks"
_LONGEST = 600.0
"""After so long a submission that did not end was killed (s)."""


@contextmanager
def alone_submitting(database: Any, wait: float = 120.0) -> Iterator[None]:
    """Wait until nobody else submits to a project: two at once would submit everything twice.

    Parameters
    ----------
    database
        pymongo's, of the project.
    wait
        Longest time to wait (s).

    Raises
    ------
    StoreError
        If another submission does not end.
    """
    from pymongo.errors import DuplicateKeyError

    locks, mine = database[_LOCKS], {"_id": "submission", "token": uuid4().hex}
    end = monotonic() + wait
    while True:
        now = datetime.now(UTC)
        locks.delete_one({"_id": "submission", "since": {"$lt": now - timedelta(seconds=_LONGEST)}})
        try:
            locks.insert_one({**mine, "by": f"process {os.getpid()} on {gethostname()}", "since": now})
        except DuplicateKeyError:
            other = locks.find_one({"_id": "submission"}) or {}
            if monotonic() > end:
                raise StoreError(
                    f"another mgsurf submit is at work on this project ({other.get('by', 'just ended')}); "
                    f"type the command again when it has ended, at the latest {_LONGEST / 60:.0f} minutes "
                    "after it was killed"
                ) from None
            sleep(0.2)
        else:
            break
    try:
        yield
    finally:
        locks.delete_one(mine)


def worker_folders(work_dir: object) -> tuple[str, str]:
    """Return store and folder of raw files on a worker.

    All campaigns of a worker share them: a calculation's folder bears its content hash.

    Parameters
    ----------
    work_dir
        jobflow-remote's folder on the worker, on a file system that its nodes share.
    """
    home = PurePosixPath(str(work_dir)) / "mgsurf"
    return f"folder://{home / 'records'}", str(home / "calculations")


def submission_keys(
    maker: SurfaceMaker, structure: Structure, facets: list[tuple[int, int, int]] | None
) -> tuple[str, ...]:
    """Return the content hash of what a campaign asks about one compound, and the one it had before.

    What is asked of the queue, and where files lie, is no part of it. The two differ where the engine's table
    of setups is not the standard one: flows submitted before fingerprints were cut to the elements of a
    calculation are found by the second.
    """
    method = maker.context.make_engine().method()
    own = method.for_elements({site.specie.symbol for site in structure}).fingerprint
    names = dict.fromkeys((own, method.whole_fingerprint))
    return tuple(_submission_key(maker, structure, facets, name) for name in names)


def _submission_key(
    maker: SurfaceMaker, structure: Structure, facets: list[tuple[int, int, int]] | None, method: str
) -> str:
    settings = {
        name: getattr(maker, name)
        for name in (
            "max_miller_index",
            "min_thickness",
            "vacuum",
            "free_depth",
            "layer_tolerance",
            "max_terminations",
            "max_atoms",
        )
    }
    settings |= identity_of(maker.pre_relaxation)
    return content_hash(
        {
            "campaign": maker.context.campaign,
            "bulk": bulk_key(structure),
            "facets": sorted(map(list, facets)) if facets else None,
            "slabs": settings,
            "thresholds": maker.thresholds.model_dump(exclude_defaults=True),
            "method": method,
        }
    )


def submitted_before(project: RemoteProject, campaign: str) -> dict[str, str]:
    """Return the state of each compound's flow by the compound's key; cancelled flows count for nothing."""
    return {
        key: flow["state"]
        for flow in project.flows(campaign)
        if flow["state"] not in _GIVEN_UP
        for key in flow["metadata"][METADATA].get("compounds", {})
    }


def submit(
    project: RemoteProject, worker: str, flow: Flow, campaign: str, compounds: dict[str, str]
) -> list[str]:
    """Put a flow on jobflow-remote's list.

    Parameters
    ----------
    project
        Where.
    worker
        For jobs whose request names no other.
    flow
        From `CampaignMaker`.
    campaign
        Its name.
    compounds
        Labels by the first of `submission_keys`.

    Returns
    -------
    list of str
        jobflow-remote's numbers of the jobs; more are made while the flow runs.
    """
    initialise(project)
    flow.update_metadata({METADATA: {"campaign": campaign}}, dynamic=True)
    # the flow's alone
    flow.metadata = {METADATA: {"campaign": campaign, "compounds": compounds, "worker": worker}}
    numbers: list[str] = project.controller.add_flow(flow=flow, worker=worker)
    return numbers


def context_on_worker(maker: SurfaceMaker, work_dir: object, queue: dict[str, Any] | None) -> SurfaceMaker:
    """Return the same maker with store and folders of a worker.

    Parameters
    ----------
    maker
        As for a run on this machine.
    work_dir
        The worker's.
    queue
        What the jobs ask for.
    """
    store, calculations = worker_folders(work_dir)
    context = replace(maker.context, store=store, work_dir=calculations)
    return replace(maker, context=context, queue=queue)
