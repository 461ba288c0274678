"""Which bulk and which elements a slab's energy is compared with: named by a file, or found."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.input_files import read_text
from workflows.jobs.ingest.folders import chains, one_each, shared_parts
from workflows.jobs.ingest.runs import RunChain
from workflows.jobs.ingest.settings import differences
from workflows.structures.crystal import crystal_of
from workflows.structures.slab_matching import asymmetry, match_slab

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workflows.jobs.ingest.folders import Folders
    from workflows.jobs.ingest.runs import FinishedRun
    from workflows.structures.crystal import Crystal
    from workflows.structures.slab_matching import SlabMatch

COLUMNS = ("bulk", "slab")
OPTIONAL_COLUMN = "reference"
"""Columns of a file of pairs; several references are separated by a semicolon or a vertical bar."""

SAME_LATTICE = 1e-3
"""Strain (1) between slab and bulk that is rounding; of bulks at several volumes the nearest is taken."""

SAME_CRYSTAL = 0.01
"""Runs of an element closer in energy than this (eV/atom) are of one crystal; the best run is taken."""


@dataclass(frozen=True)
class PairLine:
    """One line of a file of pairs: its number in the file, and folders of bulk, slab and elements."""

    number: int
    bulk: Path
    slab: Path
    references: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A slab with the bulk and elements that its energy is compared with."""

    # slab, bulk, references: runs of the slab, of the bulk if one was found, and of the bulk of each element
    # that is known
    slab: RunChain
    bulk: RunChain | None = None
    references: dict[str, RunChain] = field(default_factory=dict)
    # the plane and termination of the bulk that the slab shows; None if none fits
    match: SlabMatch | None = None
    # asymmetric, reason: why the sides differ, and why there is no bulk; empty if not so
    asymmetric: str = ""
    reason: str = ""


def read_pairs(path: Path) -> list[PairLine]:
    """Read a CSV file with the columns bulk, slab and optionally reference.

    Paths are relative to the file. Comma, semicolon and tab separate columns.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or a line is incomplete.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text; give a CSV file with the columns bulk,slab") from None
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    separator = max(",;\t", key=header.count)
    reader = csv.DictReader(lines, delimiter=separator, skipinitialspace=True)
    names = [(name or "").strip().lower() for name in reader.fieldnames or []]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InputError(
            f"{path}: no column {' and no column '.join(missing)} (there are: {', '.join(names) or 'none'}); "
            "the first line must read bulk,slab or bulk,slab,reference"
        )
    reader.fieldnames = names
    found = []
    for row in reader:
        cells = {name: (value or "").strip() for name, value in row.items() if isinstance(value, str)}
        if not any(cells.values()):
            continue
        if not cells.get("bulk") or not cells.get("slab"):
            raise InputError(f"{path}, line {reader.line_num}: bulk or slab is empty; name a folder in both")
        words = cells.get(OPTIONAL_COLUMN, "").replace("|", ";").split(";")
        found.append(
            PairLine(
                reader.line_num,
                path.parent / cells["bulk"],
                path.parent / cells["slab"],
                tuple(path.parent / word.strip() for word in words if word.strip()),
            )
        )
    if not found:
        raise InputError(f"{path}: names no pair; write one line bulk,slab for each slab")
    return found


def pairs_from_file(path: Path, lines: Sequence[PairLine], folders: Folders) -> list[Pair]:
    """Make the pairs that a file names; a line that cannot be used becomes a problem of `folders`."""
    runs = chains(folders.runs)
    pairs = []
    lines_of: dict[FinishedRun, int] = {}
    for line in lines:
        where = f"{path}, line {line.number}"
        slab = _chain_in(line.slab, runs, "slab", where, folders)
        bulk = _chain_in(line.bulk, runs, "bulk", where, folders)
        if slab is None:
            continue
        if (before := lines_of.setdefault(slab.first, line.number)) != line.number:
            folders.problems.append(f"{where}: the same slab as line {before}; left out, keep one of the two")
            continue
        if bulk is None:
            pairs.append(Pair(slab, reason=f"the bulk {line.bulk} could not be used"))
            continue
        references = {}
        for folder in line.references:
            chain = _chain_in(folder, runs, "bulk", where, folders)
            if chain is not None and len(chain.last.elements) != 1:
                folders.problems.append(f"{where}: the reference {folder} is no element; name bulk elements")
            elif chain is not None:
                references[chain.last.elements[0]] = chain
        known = {**_references(slab, runs), **references}
        sides = _asymmetry(slab)
        pairs.append(Pair(slab, bulk, known, _match(slab, bulk), sides))
    return pairs


def roots_of(lines: Iterable[PairLine]) -> list[Path]:
    """Return every folder that the lines name, each once."""
    roots = [root for line in lines for root in (line.bulk, line.slab, *line.references)]
    return [root for root in dict.fromkeys(roots) if root.is_dir()]


def found_pairs(folders: Folders) -> list[Pair]:
    """Find the bulk and the references of every slab.

    A bulk of the same elements fits if the slab is one of its planes; of several that fit, those with the
    slab's settings come first, then the one with the slab's in-plane cell, then the nearest folder.
    """
    runs = chains(folders.runs)
    slabs, notes = one_each(chain for chain in runs if chain.last.is_slab)
    folders.notes += notes
    return [_find(slab, runs) for slab in slabs]


def _find(slab: RunChain, runs: Sequence[RunChain]) -> Pair:
    sides = _asymmetry(slab)
    candidates = [
        chain
        for chain in runs
        if not chain.last.is_slab and not chain.last.failed and chain.last.elements == slab.last.elements
    ]
    references = _references(slab, runs)
    if not candidates:
        reason = f"no bulk of {'-'.join(slab.last.elements)} among the folders"
        return Pair(slab, None, references, None, sides, reason=reason)
    candidates.sort(key=lambda bulk: _rank(slab, bulk))
    best: tuple[bool, RunChain, SlabMatch] | None = None
    for bulk in candidates:
        differs = bool(differences(slab.last, bulk.last))
        if best is not None and differs != best[0]:
            break  # those with other settings come last
        match = _match(slab, bulk)
        if match is not None and (best is None or match.strain < best[2].strain - SAME_LATTICE):
            best = (differs, bulk, match)
        if best is not None and best[2].strain < SAME_LATTICE:
            break
    if best is not None:
        return Pair(slab, best[1], references, best[2], sides)
    if sides:  # only symmetric slabs are recognised, and its value will be rejected
        return Pair(slab, candidates[0], references, None, sides)
    names = ", ".join(str(bulk.last.directory) for bulk in candidates[:3])
    reason = f"the slab was not recognised as a plane of {names}; pair them in a file (--pairs) if it is one"
    return Pair(slab, None, references, None, sides, reason=reason)


def _rank(slab: RunChain, bulk: RunChain) -> tuple[bool, bool, int, bool, int, str]:
    """Sort key: equal settings, equal in-plane cell, near folder, then `_accuracy`."""
    return (
        bool(differences(slab.last, bulk.last)),
        not same_in_plane(slab, bulk),
        -shared_parts(slab.last.directory, bulk.last.directory),
        *_accuracy(bulk),
    )


def _accuracy(bulk: RunChain) -> tuple[bool, int, str]:
    """Sort key: a static run first, for a changing cell keeps the plane waves of its start; many k points."""
    mesh = bulk.last.output.kpoints or (0, 0, 0)
    return (bulk.last.is_relaxation, -int(np.prod(mesh)), str(bulk.last.directory))


def same_in_plane(slab: RunChain, bulk: RunChain) -> bool:
    """Whether the bulk cell has the slab's in-plane cell as its a and b (an oriented unit cell)."""
    ours, theirs = (chain.last.final.lattice.matrix[:2] for chain in (slab, bulk))
    one, other = (
        [np.linalg.norm(m[0]), np.linalg.norm(m[1]), np.linalg.norm(m[0] - m[1])] for m in (ours, theirs)
    )
    return bool(np.allclose(one, other, rtol=1e-3))


def _references(slab: RunChain, runs: Sequence[RunChain]) -> dict[str, RunChain]:
    """Choose for each element of a compound the bulk with the slab's settings that is lowest in energy."""
    if len(slab.last.elements) == 1:
        return {}
    found: dict[str, RunChain] = {}
    for element in slab.last.elements:
        options = [
            chain
            for chain in runs
            if not chain.last.is_slab and not chain.last.failed and chain.last.elements == (element,)
        ]
        fitting = [chain for chain in options if not differences(slab.last, chain.last)] or options
        if fitting:
            lowest = min(map(_energy_per_atom, fitting))
            same = [chain for chain in fitting if _energy_per_atom(chain) < lowest + SAME_CRYSTAL]
            found[element] = min(same, key=_accuracy)
    return found


def _energy_per_atom(chain: RunChain) -> float:
    energy = chain.last.output.energy
    return np.inf if energy is None else energy / len(chain.last.initial)


def _asymmetry(slab: RunChain) -> str:
    """Judge the geometry as relaxed, and which atoms were free in the one it began with."""
    first = slab.first
    free = first.free if first.is_relaxation else None
    return asymmetry(first.initial, free) or ("" if slab.last.failed else asymmetry(slab.last.final))


def _match(slab: RunChain, bulk: RunChain) -> SlabMatch | None:
    crystal = _crystal(bulk.last)
    return None if crystal is None else match_slab(slab.first.initial, crystal)


@lru_cache(maxsize=256)
def _crystal(run: FinishedRun) -> Crystal | None:
    """Return a bulk as it ended; None if no symmetry can be found."""
    try:
        return crystal_of(run.final)
    except InputError:
        return None


def _chain_in(
    folder: Path, runs: Sequence[RunChain], kind: str, where: str, folders: Folders
) -> RunChain | None:
    """Return the one chain in or below a folder; otherwise report what is wrong."""
    if not folder.is_dir():
        folders.problems.append(f"{where}: {folder}: no such folder; correct the path, relative to the file")
        return None
    inside = folder.resolve()
    places = [(c, [path.resolve() for run in c.runs for path in folders.places(run)]) for c in runs]
    found = [c for c, paths in places if any(path.is_relative_to(inside) for path in paths)]
    exact = [c for c, paths in places if inside in paths]
    found = [chain for chain in exact or found if chain.last.is_slab == (kind == "slab")] or found
    if kind == "slab":
        found, _ = one_each(found)
    if len(found) == 1 and found[0].last.is_slab == (kind == "slab"):
        return found[0]
    if not found:
        problem = f"{folder} holds no VASP run that can be read"
    elif len(found) > 1:
        problem = f"{folder} holds {len(found)} calculations; name the folder of one"
    else:
        problem = f"{folder} is no {kind}: {'no' if kind == 'slab' else 'a'} vacuum in the cell"
    folders.problems.append(f"{where}: {problem}")
    return None
