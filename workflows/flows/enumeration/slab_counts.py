"""The slabs of many compounds counted, on several cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from workflows.flows.enumeration.cost import Meshes, Work, work_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from workflows.flows.campaign.settings import MillerIndex
    from workflows.flows.enumeration.lock_model import Site, Vector
    from workflows.structures.slabs import SlabSettings

FEW = 150
"""So many compounds take a second: less than other processes need to start."""

_CHUNK = 25


@dataclass(frozen=True)
class Bulk:
    """A crystal in plain values, so that it travels between processes.

    Attributes
    ----------
    lattice
        Rows of the conventional standard cell (A).
    sites
        Element and fractional coordinates of each atom.
    facets
        Planes wanted; None for all.
    """

    lattice: tuple[Vector, Vector, Vector]
    sites: list[Site]
    facets: list[MillerIndex] | None = None


@dataclass(frozen=True)
class Counts:
    """The slabs of one compound.

    Attributes
    ----------
    planes
        Number of slabs by plane, as people write it.
    n_too_large
        Slabs left out for having more than ``max_atoms`` atoms.
    work
        What there is to compute.
    problem
        Why nothing could be counted; empty if all is well.
    """

    planes: dict[str, int]
    n_too_large: int
    work: Work
    problem: str = ""


def count_all(
    bulks: Sequence[Bulk],
    settings: SlabSettings,
    meshes: Meshes,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Counts]:
    """Count the slabs of every crystal.

    Parameters
    ----------
    bulks
        The crystals.
    settings
        Limits on indices, thickness, terminations and atoms.
    meshes
        Of the campaign.
    workers
        Processes; one per core if None. Few compounds are counted in this process.
    progress
        Called with the number of crystals done.

    Returns
    -------
    list of Counts
        In the order of `bulks`.
    """
    count = partial(count_one, settings=settings, meshes=meshes)
    wanted = min(workers or os.cpu_count() or 1, -(-len(bulks) // _CHUNK))
    found: list[Counts] = []

    def take(counted: Iterable[Counts]) -> None:
        for counts in counted:
            found.append(counts)
            if progress is not None:
                progress(len(found))

    if wanted > 1 and len(bulks) > FEW:
        with suppress(BrokenProcessPool):  # a worker was killed, for memory perhaps: go on in this process
            take(_spread(count, bulks, wanted))
    take(map(count, bulks[len(found) :]))
    return found


def _spread(count: Callable[[Bulk], Counts], bulks: Sequence[Bulk], workers: int) -> Iterator[Counts]:
    # threads that fetch from databases may still run: a fork would copy their locks
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["workflows.structures.slabs"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield from pool.map(count, bulks, chunksize=_CHUNK)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def count_one(bulk: Bulk, settings: SlabSettings, meshes: Meshes) -> Counts:
    """Count the slabs of one crystal; an error becomes its `problem`."""
    from pymatgen.core import Structure

    from stores.errors import InputError
    from workflows.structures.crystal import crystal_of
    from workflows.structures.naming import format_plane
    from workflows.structures.slabs import count_slabs

    structure = Structure(bulk.lattice, [site[0] for site in bulk.sites], [site[1:] for site in bulk.sites])
    try:
        crystal = crystal_of(structure)
        facets = count_slabs(crystal, settings, miller_indices=bulk.facets)
    except InputError as error:
        return Counts({}, 0, Work(), str(error))
    planes = {
        format_plane(facet.miller_index, crystal.spacegroup_number): len(facet.slabs) for facet in facets
    }
    work = work_of(crystal.lattice, len(crystal.species), len(crystal.primitive_species), facets, meshes)
    return Counts(planes, sum(facet.n_too_large for facet in facets), work)
