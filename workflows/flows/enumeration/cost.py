"""Slabs of compounds, counted, and their cost in core-hours before any of them is computed.

The work of a calculation is `workflows.jobs.progress.relative_cost`: atoms x volume x k points x geometry
steps. Seconds per unit of work come from calculations of the same method in the store, for each of the four
kinds of calculation; without any, from a default that is an order of magnitude. The elements' references are
left out: their cost is little, and shared by all compounds.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError, pluralize
from stores.method_names import names_of_family
from stores.records import CalculationKind
from workflows.engines.kpoints import mesh_of_lattice
from workflows.jobs.bulk import RELAX_STEPS
from workflows.jobs.progress import relative_cost
from workflows.jobs.slab import SLAB_RELAX_STEPS
from workflows.structures.naming import format_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from multiprocessing.process import BaseProcess

    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

    from stores.records import Method
    from stores.surfaces import SurfaceStore
    from workflows.flows.enumeration.lock_model import LockedCompound
    from workflows.structures.facets import Miller
    from workflows.structures.slabs import FacetCount, SlabSettings

DEFAULT_SECONDS = 0.1
"""Core-seconds per unit of work at 300 eV: GPAW, preset demo, slabs of Mg and MgAg (benchmarks/README.md)."""

DEFAULT_CUTOFF = 300.0
MIN_SPREAD = 5.0  # ratio of largest to smallest work from which the exponent is fitted; below it is 1

MIN_RECORDS = 6
EXPONENTS = (0.8, 1.6)  # range of fitted exponents: those of small cells alone would mislead about large ones
FEW = 150  # number of compounds that are counted in a second: less than other processes need to start

_CHUNK = 25

STEPS = {
    CalculationKind.BULK_RELAX: RELAX_STEPS,
    CalculationKind.BULK_STATIC: 1,
    CalculationKind.SLAB_RELAX: SLAB_RELAX_STEPS,
    CalculationKind.SLAB_STATIC: 1,
}


@dataclass(frozen=True)
class Rate:
    """Core-seconds = ``seconds * work ** exponent``.

    `n_records` calculations were fitted, 0 for the default; two thirds of them lie within a factor `spread`.
    """

    seconds: float
    exponent: float = 1.0
    n_records: int = 0
    spread: float = 1.0


@dataclass(frozen=True)
class Meshes:
    """k densities and vacuum of a campaign."""

    # k_density, bulk_k_density: of everything, and of relaxing bulk crystals (A; see
    # `workflows.engines.kpoints`)
    k_density: float
    bulk_k_density: float
    vacuum: float  # of the slabs (A)

    @classmethod
    def of(cls, method: Method, vacuum: float) -> Meshes:
        """Return those of a method."""
        return cls(method.k_density, float(method.extra.get("bulk_k_density") or method.k_density), vacuum)


@dataclass(frozen=True)
class Work:
    """Work of one compound, as `relative_cost` of a single geometry."""

    bulk: float = 0.0  # of its conventional standard cell
    oriented: tuple[float, ...] = ()  # of the oriented cell of each facet
    slabs: tuple[float, ...] = ()  # of each slab


def work_of(
    lattice: ArrayLike, n_atoms: int, n_primitive: int, facets: Iterable[FacetCount], meshes: Meshes
) -> Work:
    """Return the work of one compound.

    `lattice` holds the rows of the conventional standard cell (A); `n_atoms` and `n_primitive` are the atoms
    of that cell and of the primitive one.
    """
    matrix = np.asarray(lattice, dtype=float)
    volume = abs(float(np.linalg.det(matrix)))
    primitive = volume * n_primitive / n_atoms
    oriented, slabs = [], []
    for facet in facets:
        if not facet.slabs:
            continue
        # all slabs of a facet share the surface cell, and c has one k point
        mesh = mesh_of_lattice(facet.slabs[0].lattice(meshes.vacuum), meshes.k_density, slab=True)
        area = facet.slabs[0].area
        for slab in facet.slabs:
            slabs.append(relative_cost(slab.n_atoms, area * (slab.thickness + meshes.vacuum), mesh, 1))
        along = max(1, math.ceil(meshes.k_density * 2 * math.pi * area / primitive))
        oriented.append(relative_cost(n_primitive, primitive, (mesh[0], mesh[1], along), 1))
    bulk = relative_cost(n_atoms, volume, mesh_of_lattice(matrix, meshes.bulk_k_density), 1)
    return Work(bulk, tuple(oriented), tuple(slabs))


def work_of_crystal(
    structure: Structure, settings: SlabSettings, meshes: Meshes, planes: Sequence[Miller] | None = None
) -> Work:
    """Return the work of one compound from its structure; of all its facets if `planes` is None."""
    from workflows.structures.crystal import crystal_of
    from workflows.structures.slabs import count_slabs

    crystal = crystal_of(structure)
    facets = count_slabs(crystal, settings, miller_indices=planes)
    return work_of(crystal.lattice, len(crystal.species), len(crystal.primitive_species), facets, meshes)


@dataclass(frozen=True)
class Counts:
    """The slabs of one compound."""

    planes: dict[str, int]  # number of slabs by plane, as people write it
    n_too_large: int  # slabs left out for having more than ``max_atoms`` atoms
    work: Work  # of its calculations
    problem: str = ""  # why nothing could be counted; else empty


def count_all(
    compounds: Sequence[LockedCompound],
    settings: SlabSettings,
    meshes: Meshes,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Counts]:
    """Count the slabs of every compound, in their order.

    Parameters
    ----------
    compounds
        Whose own `slabs` are not looked at.
    settings
        Limits on indices, thickness, terminations and atoms.
    meshes
        Of the campaign.
    workers
        Processes; one per core if None. Few compounds are counted in this process.
    progress
        Called with the number of compounds done.
    """
    count = partial(count_one, settings=settings, meshes=meshes)
    wanted = min(workers or os.cpu_count() or 1, -(-len(compounds) // _CHUNK))
    found: list[Counts] = []

    def take(counted: Iterable[Counts]) -> None:
        for counts in counted:
            found.append(counts)
            if progress is not None:
                progress(len(found))

    if wanted > 1 and len(compounds) > FEW:
        with suppress(BrokenProcessPool):  # a worker was killed, for memory perhaps: continue in this process
            take(_spread(count, compounds, wanted))
    take(map(count, compounds[len(found) :]))
    return found


def _spread(
    count: Callable[[LockedCompound], Counts], compounds: Sequence[LockedCompound], workers: int
) -> Iterator[Counts]:
    # threads that fetch from databases may still run: a fork would copy their locks
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["workflows.structures.slabs"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield from pool.map(count, compounds, chunksize=_CHUNK)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """Ignore Ctrl-C, which is the parent's, and end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def count_one(compound: LockedCompound, settings: SlabSettings, meshes: Meshes) -> Counts:
    """Count the slabs of one compound; an error becomes its `problem`."""
    from workflows.structures.crystal import crystal_of
    from workflows.structures.slabs import count_slabs

    try:
        crystal = crystal_of(compound.structure())
        facets = count_slabs(crystal, settings, miller_indices=compound.facets)
    except InputError as error:
        return Counts({}, 0, Work(), str(error))
    planes = {
        format_plane(facet.miller_index, crystal.spacegroup_number): len(facet.slabs) for facet in facets
    }
    work = work_of(crystal.lattice, len(crystal.species), len(crystal.primitive_species), facets, meshes)
    return Counts(planes, sum(facet.n_too_large for facet in facets), work)


@dataclass(frozen=True)
class CostModel:
    """Estimates core-hours of a method by the rates of those kinds of calculation that were calibrated."""

    method: Method
    rates: Mapping[CalculationKind, Rate] = field(default_factory=dict)

    def core_hours(self, work: Work) -> float:
        """Return the cost of one compound: its bulk, one oriented cell per facet, two runs per slab."""
        seconds = (
            self._seconds(CalculationKind.BULK_RELAX, (work.bulk,))
            + self._seconds(CalculationKind.BULK_STATIC, work.oriented)
            + self._seconds(CalculationKind.SLAB_RELAX, work.slabs)
            + self._seconds(CalculationKind.SLAB_STATIC, work.slabs)
        )
        return seconds / 3600.0

    def _seconds(self, kind: CalculationKind, work: Sequence[float]) -> float:
        rate = self.rate(kind)
        return float(sum(rate.seconds * (STEPS[kind] * x) ** rate.exponent for x in work))

    def rate(self, kind: CalculationKind) -> Rate:
        """Return the rate of a kind: its own, else that of slabs or of any kind, else the default."""
        for known in (kind, CalculationKind.SLAB_RELAX, *self.rates):
            if known in self.rates:
                return self.rates[known]
        return Rate(DEFAULT_SECONDS * (self.method.cutoff / DEFAULT_CUTOFF) ** 1.5)

    def words(self) -> str:
        """Return one line on the origin of the estimates and their reliability."""
        if not self.rates:
            return (
                f"core-hours are an order of magnitude: the store holds no calculation of "
                f"{self.method.fingerprint} to calibrate on"
            )
        total = sum(rate.n_records for rate in self.rates.values())
        done = pluralize(total, "calculation")
        text = f"core-hours calibrated on {done} of {self.method.fingerprint} in the store"
        slabs = self.rates.get(CalculationKind.SLAB_RELAX)
        if slabs is None:
            return f"{text}, none of them a slab: an order of magnitude"
        if slabs.n_records < 3:
            return f"{text}, {slabs.n_records} of them relaxed slabs: within a factor of 3 or so"
        return (
            f"{text}; its {slabs.n_records} slab relaxations agree within a factor of "
            f"{max(slabs.spread, 1.1):.1f}, larger slabs less"
        )


def calibrated(method: Method, store: SurfaceStore | None) -> CostModel:
    """Return the cost model of a method, calibrated on a store, or the default model without one.

    Only records count whose method differs in nothing but setups.
    """
    points: dict[CalculationKind, list[tuple[float, float]]] = {}
    if store is not None:
        names = sorted(names_of_family(store, method, "calculations"))
        criteria = {"method_fingerprint": {"$in": names}, "output.status": "ok"}
        fields = [f"output.{name}" for name in ("structure", "kpoints", "wall_time", "details")]
        for document in store.query(criteria, ["kind", *fields], collection="calculations"):
            point = _point(document)
            if point is not None:
                points.setdefault(CalculationKind(document["kind"]), []).append(point)
    return CostModel(method, {kind: _fit(found) for kind, found in points.items()})


def _point(document: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return work and core-seconds of a calculation; None where they are not known or zero."""
    output = document.get("output") or {}
    structure, mesh, details = output.get("structure"), output.get("kpoints"), output.get("details") or {}
    cores = details.get("ranks") or 1
    seconds = (details.get("cpu_time") or output.get("wall_time") or 0.0) * cores
    if not structure or not mesh or not seconds > 0:
        return None
    volume = structure["lattice"].get("volume") or abs(np.linalg.det(structure["lattice"]["matrix"]))
    steps = STEPS[CalculationKind(document["kind"])]
    work = relative_cost(len(structure["sites"]), float(volume), (mesh[0], mesh[1], mesh[2]), steps)
    return work, seconds


def _fit(points: Sequence[tuple[float, float]]) -> Rate:
    """Fit a power law to the logarithms; a plain proportion where the points do not fix the exponent."""
    work, seconds = np.log(np.array(points)).T
    exponent = 1.0
    if len(points) >= MIN_RECORDS and np.ptp(work) >= math.log(MIN_SPREAD):
        exponent = float(np.clip(np.polyfit(work, seconds, 1)[0], *EXPONENTS))
    offsets = seconds - exponent * work
    middle = float(median(offsets.tolist()))
    spread = float(np.exp(np.quantile(np.abs(offsets - middle), 0.68)))
    return Rate(math.exp(middle), exponent, len(points), spread)
