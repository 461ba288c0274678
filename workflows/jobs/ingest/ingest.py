"""Bring finished VASP calculations that were made by hand into a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stores.connections import open_store
from stores.errors import InputError
from stores.records import CalculationStatus, SurfaceRecord
from workflows.jobs.ingest.folders import Folders, chains, find_runs
from workflows.jobs.ingest.pairs import found_pairs, pairs_from_file, read_pairs, roots_of
from workflows.jobs.ingest.records import bulk_of, metastable, reference_of, surface_of
from workflows.jobs.ingest.runs import calculation_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stores.records import Record
    from stores.surfaces import SurfaceStore
    from workflows.jobs.ingest.folders import RunFolders
    from workflows.jobs.ingest.pairs import Pair, PairLine
    from workflows.jobs.ingest.runs import FinishedRun, RunChain


@dataclass
class Ingestion:
    """Records made of finished runs, and what was left out."""

    pairs: list[Pair] = field(default_factory=list)  # every slab with its bulk and references
    # records of the slabs, in the order of `pairs`
    surfaces: list[SurfaceRecord] = field(default_factory=list)
    # one line for each folder, failed run and line of the file of pairs that could not be used
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # one line for each run left out for a good reason
    changed: int = 0  # records that were new or had changed in the store
    n_bulks: int = 0  # bulk crystals, elements included


def plan(
    directory: Path | None,
    pairs_file: Path | None = None,
    tick: Callable[[str, int, int], None] | None = None,
) -> tuple[Ingestion, Folders]:
    """Read the folders and pair each slab with its bulk, without writing anything.

    Parameters
    ----------
    directory
        Tree of finished calculations; may be left out where a file names the pairs.
    pairs_file
        CSV file with the columns bulk, slab and optionally reference. Only its slabs count then; elements in
        `directory` serve as references.
    tick
        Called with the folder, its number and how many there are, before each is read.
    """
    return _read(_sources(directory, pairs_file), pairs_file, tick)


def ingest(
    directory: Path | None,
    store_uri: str,
    pairs_file: Path | None = None,
    tick: Callable[[str, int, int], None] | None = None,
) -> Ingestion:
    """Read, pair and store: one slab with all that belongs to it at a time.

    Parameters, and errors besides those of the store, are those of `plan`.
    """
    sources = _sources(directory, pairs_file)
    # opened before the files are read: what is wrong with the store must not cost an hour
    with open_store(store_uri) as store:
        result, found = _read(sources, pairs_file, tick)
        for pair in result.pairs:
            surface, others = surface_of(pair)
            result.changed += store.add([*_each_once(others), surface])
            result.surfaces.append(surface)
        for chain in chains(found.runs):
            if not chain.last.is_slab and not chain.last.failed:
                result.n_bulks += 1
                result.changed += _store_bulk(store, chain, result)
    return result


def _sources(directory: Path | None, pairs_file: Path | None) -> tuple[RunFolders, list[PairLine] | None]:
    """Return the folders with runs, and the lines of the file of pairs."""
    if directory is None and pairs_file is None:
        raise InputError("nothing to read: give the folder of the calculations, or a file of pairs (--pairs)")
    lines = None if pairs_file is None else read_pairs(pairs_file)
    found = find_runs(*([] if directory is None else [directory]), *roots_of(lines or ()))
    if not found.folders and not found.problems and lines is None:
        raise InputError(f"{directory}: no VASP calculation in it or below (no vasprun.xml); check the path")
    return found, lines


def _read(
    sources: tuple[RunFolders, list[PairLine] | None],
    pairs_file: Path | None,
    tick: Callable[[str, int, int], None] | None,
) -> tuple[Ingestion, Folders]:
    there, lines = sources
    found = Folders(problems=list(there.problems), notes=list(there.notes))
    for number, folder in enumerate(there.folders, start=1):
        if tick is not None:
            tick(str(folder), number, len(there.folders))
        found.read(folder)
    drop_copies(found)
    if pairs_file is not None and lines is not None:
        pairs = pairs_from_file(pairs_file, lines, found)
    else:
        pairs = found_pairs(found)
    references = {chain.last.directory: chain for pair in pairs for chain in pair.references.values()}
    found.notes += [line for chain in references.values() if (line := metastable(chain))]
    return Ingestion(pairs=pairs, problems=found.problems, notes=found.notes), found


def drop_copies(found: Folders) -> None:
    """Keep one of several folders that hold the same calculation.

    It is the one that ended best, then one with a potential, then the first.
    """
    order = (CalculationStatus.OK, CalculationStatus.UNCONVERGED, CalculationStatus.FAILED)
    kept: dict[str, FinishedRun] = {}
    for run in sorted(found.runs, key=lambda r: (order.index(r.output.status), r.output.potential is None)):
        best = kept.setdefault(calculation_of(run).id, run)
        if best is not run:
            found.notes.append(f"{run.directory}: the same calculation as {best.directory}; left out")
            found.copies.setdefault(best.directory, []).append(run.directory)
    chosen = {run.directory for run in kept.values()}
    found.runs = [run for run in found.runs if run.directory in chosen]


def _store_bulk(store: SurfaceStore, chain: RunChain, result: Ingestion) -> int:
    try:
        records: list[Record] = [*(calculation_of(run) for run in chain.runs), bulk_of(chain)]
        if len(chain.last.elements) == 1:
            records.append(reference_of(chain))
    except InputError as error:
        result.problems.append(f"{chain.last.directory}: {error}")
        return 0
    return store.add(records)


def _each_once(records: list[Record]) -> list[Record]:
    return list({(type(record), record.id): record for record in records}.values())
