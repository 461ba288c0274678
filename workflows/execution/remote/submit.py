"""Hand a campaign to jobflow-remote, every compound once."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from stores.backends.collection import LAYOUTS
from stores.backends.mongo import MongoCollection
from stores.errors import StoreError
from stores.learning.leases import BEAT, COLLECTION, EXPIRY, HeldError, take_lease
from stores.records import content_hash
from workflows.execution.remote.project import METADATA, RemoteProject, initialise
from workflows.jobs.pre_relaxation import identity_of
from workflows.structures.crystal import bulk_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobflow import Flow
    from pymatgen.core import Structure

    from stores.backends.collection import Collection
    from stores.learning.leases import Lease
    from workflows.flows.surface import SurfaceMaker

_GIVEN_UP = ("STOPPED",)
_LEASES = "mgsurf_leases"


@dataclass
class _ProjectLeases:
    """The leases of a project, in a collection beside jobflow-remote's, which has no such lock."""

    uri: str
    leases: Collection

    def collection(self, kind: str) -> Collection:
        return self.leases


@contextmanager
def alone_submitting(
    database: Any, wait: float = 120.0, *, beat: float = BEAT, expiry: float = EXPIRY
) -> Iterator[Lease]:
    """Yield a lease once nobody else submits to a project: two at once would submit everything twice.

    StoreError if another submission does not end within `wait` (s); `beat` and `expiry` are those of
    `stores.learning.leases`.
    """
    place = f"project database {database.name}"
    leases = MongoCollection(database[_LEASES], LAYOUTS[COLLECTION], place, shared=True)
    store = _ProjectLeases(place, leases)
    end = monotonic() + wait
    with ExitStack() as stack:
        while True:
            try:
                lease = stack.enter_context(take_lease(store, "submission", beat=beat, expiry=expiry))
                break
            except HeldError as error:
                if monotonic() > end:
                    raise StoreError(
                        f"another mgsurf submit is running on this project: {str(error).partition(';')[0]}; "
                        "type the command again when it has ended"
                    ) from None
                sleep(0.2)
        yield lease


def worker_folders(work_dir: object) -> tuple[str, str]:
    """Return store and folder of raw files on a worker.

    All campaigns of a worker share them: a calculation's folder bears its content hash. `work_dir` is
    jobflow-remote's folder on the worker, on a file system that its nodes share.
    """
    home = PurePosixPath(str(work_dir)) / "mgsurf"
    return f"folder://{home / 'records'}", str(home / "calculations")


def submission_keys(
    maker: SurfaceMaker, structure: Structure, facets: list[tuple[int, int, int]] | None
) -> tuple[str, ...]:
    """Return the content hash of the calculations of one compound, and its hash in earlier versions.

    Resources of the queue and paths are no part of it. The two differ where the engine's table of setups is
    not the standard one: flows submitted before fingerprints were cut to the elements of a calculation are
    found by the second.
    """
    method = maker.context.make_engine().method()
    own = method.for_elements({site.specie.symbol for site in structure}).fingerprint
    names = dict.fromkeys((own, method.whole_fingerprint))
    return tuple(_submission_key(maker, structure, facets, name) for name in names)


def _submission_key(
    maker: SurfaceMaker, structure: Structure, facets: list[tuple[int, int, int]] | None, method: str
) -> str:
    settings = asdict(maker.slabs)
    settings |= identity_of(settings.pop("pre_relaxation"))
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
    """Return the state of each compound's flow by the compound's key; cancelled flows do not count."""
    return {
        key: flow["state"]
        for flow in project.flows(campaign)
        if flow["state"] not in _GIVEN_UP
        for key in flow["metadata"][METADATA].get("compounds", {})
    }


def submit(
    project: RemoteProject, worker: str, flow: Flow, campaign: str, compounds: dict[str, str]
) -> list[str]:
    """Put a flow of `CampaignMaker` on jobflow-remote's list; return its numbers of the jobs.

    `worker` is for jobs whose request names no other; `compounds` are labels by the first of
    `submission_keys`. More jobs are made while the flow runs.
    """
    initialise(project)
    flow.update_metadata({METADATA: {"campaign": campaign}}, dynamic=True)
    # the flow's alone
    flow.metadata = {METADATA: {"campaign": campaign, "compounds": compounds, "worker": worker}}
    numbers: list[str] = project.controller.add_flow(flow=flow, worker=worker)
    return numbers


def context_on_worker(maker: SurfaceMaker, work_dir: object, queue: dict[str, Any] | None) -> SurfaceMaker:
    """Return the same maker with store and folders of a worker, and the requests of its jobs (`queue`)."""
    store, calculations = worker_folders(work_dir)
    context = replace(maker.context, store=store, work_dir=calculations)
    return replace(maker, context=context, queue=queue)
