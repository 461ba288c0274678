"""Finished VASP runs in a tree of folders: bulk or slab, which follow each other, and what cannot be read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.records import CalculationOutput, CalculationStatus
from stores.structures.document import structure_from_document
from stores.structures.vacuum import across_slab, vacuum_directions
from workflows.engines.vasp.files import find_file, latest
from workflows.engines.vasp.outputs import other_kind, output_from, structure_of
from workflows.engines.vasp.settings import settings_from
from workflows.engines.vasp.vasprun import read_vasprun
from workflows.jobs.ingest.runs import FinishedRun, RunChain, ingested_method
from workflows.structures.slab_matching import upright, upright_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymatgen.core import Structure

    from stores.structures.vacuum import VacuumDirection


SAME_PLACE = 0.01
"""A static run follows a relaxation if its atoms lie this close (A) to where the relaxation left them."""


@dataclass
class Folders:
    """The runs of a tree of folders."""

    # every run that could be read, failed ones included
    runs: list[FinishedRun] = field(default_factory=list)
    # one line for each folder that could not be read or holds a failed run
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # lines on folders left out for another reason
    # folders left out because they hold the same calculation as the one named
    copies: dict[Path, list[Path]] = field(default_factory=dict)

    def places(self, run: FinishedRun) -> list[Path]:
        """Return every folder that holds a run."""
        return [run.directory, *self.copies.get(run.directory, [])]

    def read(self, directory: Path) -> FinishedRun | None:
        """Read one folder and keep what it holds, or the reason why it cannot be used."""
        try:
            run = read_run(directory)
        except InputError as error:
            line = " ".join(str(error).split())
            self.problems.append(line if str(directory) in line else f"{directory}: {line}")
            return None
        except LeftOutError as error:
            self.notes.append(str(error))
            return None
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            # values that no reader expects: one such folder must not cost the others
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            self.problems.append(f"{directory}: its files cannot be read ({reason}); copy them again")
            return None
        if run.failed:
            self.problems.append(run.output.reason)
        elif run.is_slab and (no_fermi_energy := run.output.details.get("fermi_energy")):
            self.notes.append(f"{no_fermi_energy}; without it there is no work function")
        self.runs.append(run)
        return run


class LeftOutError(Exception):
    """A run that is sound but none of those wanted here."""


def read_run(directory: Path) -> FinishedRun:
    """Read one folder.

    Raises
    ------
    InputError
        If there is nothing in it that can be read.
    LeftOutError
        If the cell is an isolated atom, molecule or wire, or the run another kind than static or relaxation.
    """
    path = find_file(directory, "vasprun.xml")
    if path is None:
        raise InputError(f"{directory}: no vasprun.xml; copy it there or run the calculation again")
    data = read_vasprun(path)
    settings = settings_from(data, str(path))
    if data.initial is None:
        raise InputError(f"{path}: ends before its geometry; copy it again or run it again")
    initial = structure_of(data, data.initial)
    if kind := other_kind(data):
        raise LeftOutError(f"{directory}: {kind}, no static run and no relaxation; left out")
    selective = data.initial.selective
    moves = data.most_ionic_steps > 1
    before = find_file(directory, "vasprun.xml.relax1")
    if before is not None and before != path:  # a chain of runs in one folder began with this one
        earlier = read_vasprun(before)
        if earlier.initial is not None and earlier.species == data.species:
            initial, selective, moves = (
                structure_of(earlier, earlier.initial),
                earlier.initial.selective,
                True,
            )
    vacuum = vacuum_directions(initial.lattice.matrix, initial.frac_coords)
    if len(vacuum) > 1:
        raise LeftOutError(
            f"{directory}: vacuum of {', '.join(map(str, vacuum))}, neither bulk nor slab; left out"
        )
    axis = _axis(vacuum, directory) if vacuum else 2
    free = (
        tuple(True for _ in initial) if selective is None else tuple(bool(flags.any()) for flags in selective)
    )
    output = output_from(data, path, slab=bool(vacuum), axis=axis)
    if vacuum:
        initial, output = _upright(initial, output, axis)
    return FinishedRun(directory, output, settings, initial, free, bool(vacuum), moves)


def _axis(vacuum: Sequence[VacuumDirection], directory: Path) -> int:
    """Return the number of the lattice vector that leads across the vacuum of a slab."""
    try:
        found = across_slab(vacuum)
    except InputError as error:
        raise InputError(f"{directory}: {error}") from None
    if sorted(found.plane) != [0, 0, 1]:
        raise InputError(
            f"{directory}: vacuum of {found}, along which VASP writes no planar potential; compute the slab "
            "in a cell with two lattice vectors in its surface"
        )
    return found.plane.index(1)


def _upright(initial: Structure, output: CalculationOutput, axis: int) -> tuple[Structure, CalculationOutput]:
    order = upright_order(initial, axis)
    update: dict[str, object] = {}
    if output.structure is not None:
        turned = upright(structure_from_document(output.structure, output.directory), axis)
        update["structure"] = turned.as_dict(verbosity=0)
    if output.kpoints is not None:
        update["kpoints"] = tuple(output.kpoints[i] for i in order)
    return upright(initial, axis), output.model_copy(update=update)


def chains(runs: Iterable[FinishedRun]) -> list[RunChain]:
    """Join each static run with the relaxation whose final geometry it starts from.

    Of several relaxations that end in the same place the one in the nearest folder counts, the last one if
    they continue each other. Those of a slab that a later one continues are no chains of their own.
    """
    runs = list(runs)
    relaxations = [run for run in runs if run.is_relaxation and not run.failed]
    earlier = {run: _earlier(run, runs) for run in runs if run.is_relaxation}
    continued = {before for chain in earlier.values() for before in chain}
    used = {run.directory for run in continued}
    found = []
    for run in runs:
        if run.is_relaxation:
            continue
        fits = [r for r in relaxations if r.is_slab == run.is_slab and _continues(r, run)]
        fits.sort(
            key=lambda r: (r in continued, r.output.status is not CalculationStatus.OK, *_nearness(r, run))
        )
        before = earlier[fits[0]] if fits else ()
        found.append(RunChain(run, fits[0] if fits else None, before))
        used.update(r.directory for r in fits[:1])
    left = [run for run in runs if run.is_relaxation and run.directory not in used]
    found += [RunChain(run, run, earlier[run]) for run in left]
    return sorted(found, key=lambda chain: str(chain.last.directory))


def one_each(found: Iterable[RunChain]) -> tuple[list[RunChain], list[str]]:
    """Keep one chain of each slab that several static runs follow, with a line on each that is left out.

    Such runs are made for different ends: energy, potential, bands. The one with the relaxation's settings
    and a potential is kept, then the one with the densest mesh.
    """
    kept: dict[FinishedRun, RunChain] = {}
    notes = []
    for chain in sorted(found, key=_worth):
        best = kept.setdefault(chain.first, chain)
        if best is not chain:
            notes.append(
                f"{chain.last.directory}: follows the same relaxation as {best.last.directory}; left out, "
                "name it in a file of pairs (--pairs) if it is the better one"
            )
    return sorted(kept.values(), key=lambda chain: str(chain.last.directory)), notes


def _worth(chain: RunChain) -> tuple[int, bool, bool, int, str]:
    output = chain.last.output
    return (
        list(CalculationStatus).index(output.status),
        ingested_method(chain.last.settings) != ingested_method(chain.first.settings),
        output.potential is None,
        -int(np.prod(output.kpoints or (0,))),
        str(chain.last.directory),
    )


def _nearness(relaxation: FinishedRun, run: FinishedRun) -> tuple[int, str]:
    return -shared_parts(relaxation.directory, run.directory), str(relaxation.directory)


def _earlier(run: FinishedRun, runs: Sequence[FinishedRun]) -> tuple[FinishedRun, ...]:
    """Return the relaxations of a slab that this one continues, the oldest first."""
    found: list[FinishedRun] = [run]
    while options := [r for r in runs if r not in found and _continues_slab(r, found[0])]:
        found.insert(0, min(options, key=lambda r: _nearness(r, found[0])))
    return tuple(found[:-1])


def _continues_slab(one: FinishedRun, other: FinishedRun) -> bool:
    """Whether a relaxation of a slab starts where another one, stopped or coarser, ended."""
    better = one.output.status is CalculationStatus.OK and other.output.status is not CalculationStatus.OK
    return (
        (one.is_slab and one.is_relaxation and other.is_slab)
        and one.free == other.free
        and ingested_method(one.settings) == ingested_method(other.settings)
        and not better
        and _continues(one, other)
        and not _same_place(one.initial, other.initial)
    )


def _continues(relaxation: FinishedRun, run: FinishedRun) -> bool:
    return _same_place(relaxation.final, run.initial)


def _same_place(before: Structure, after: Structure) -> bool:
    if [s.specie for s in before] != [s.specie for s in after]:
        return False
    if not np.allclose(before.lattice.matrix, after.lattice.matrix, atol=SAME_PLACE):
        return False
    moved = np.asarray(before.frac_coords - after.frac_coords)
    moved -= np.rint(moved)
    return bool(np.linalg.norm(moved @ after.lattice.matrix, axis=1).max() < SAME_PLACE)


def shared_parts(one: Path, other: Path) -> int:
    """Return how many folders two paths have in common from the root on."""
    return len(Path(os.path.commonpath([one.absolute(), other.absolute()])).parts)


VASPRUN = "vasprun.xml"

OUTPUT_FILES = ("OUTCAR", "OSZICAR", "LOCPOT", "XDATCAR", "EIGENVAL", "DOSCAR", "vaspout.h5")
"""A folder with one of these, but without vasprun.xml, holds a run that cannot be read."""

_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip", ".7z")

_LIKE_OUTPUT = ("vasprun", "outcar", "oszicar")  # how names begin that somebody gave to a file of a run


@dataclass
class RunFolders:
    """Folders of runs found by a search."""

    # each folder with a vasprun.xml, once; where links lead to it as well, by its own path
    folders: list[Path] = field(default_factory=list)
    # one line for each folder, link or file that cannot be read
    problems: list[str] = field(default_factory=list)
    # one line for each link to a folder that is read without it, and each folder without output
    notes: list[str] = field(default_factory=list)


def find_runs(*roots: Path) -> RunFolders:
    """Search folders and everything below them; links to folders are followed, each folder is read once."""
    for root in roots:
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; give the folder that holds the VASP calculations")
    found = RunFolders()
    search = _Search(found, [root.resolve() for root in roots])
    for root in roots:
        search.walk(root)
    search.follow_links()
    return found


class _Search:
    def __init__(self, found: RunFolders, roots: list[Path]) -> None:
        self._found, self._roots = found, roots
        self._seen: dict[tuple[int, int], Path] = {}
        self._links: list[Path] = []

    def walk(self, root: Path) -> None:
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            try:
                status = folder.stat()
                if (status.st_dev, status.st_ino) in self._seen:
                    continue
                self._seen[status.st_dev, status.st_ino] = folder
                with os.scandir(folder) as entries:
                    inside = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self._report(f"{folder}: cannot be read: {error.strerror}; correct its permissions")
                continue
            waiting += reversed(self._look(folder, inside))

    def follow_links(self) -> None:
        """Walk what links lead to, after everything that lies in the tree itself."""
        for link in self._links:  # grows: there may be links behind links
            target = link.resolve()
            status = target.stat()
            if any(root.is_relative_to(target) for root in self._roots):
                self._found.notes.append(f"{link}: a link to {target}, a folder above; not followed")
            elif known := self._seen.get((status.st_dev, status.st_ino)):
                self._found.notes.append(f"{link}: a link to {known}, which is read once")
            else:
                self.walk(link)

    def _look(self, folder: Path, inside: list[os.DirEntry[str]]) -> list[Path]:
        """Sort what a folder holds; return the folders in it."""
        folders: list[Path] = []
        files: list[str] = []
        for entry in inside:
            path = folder / entry.name
            try:
                if entry.is_dir():
                    (self._links if entry.is_symlink() else folders).append(path)
                elif entry.is_file():
                    files.append(entry.name)
                elif not _is_not_read(entry.name):
                    what = (
                        f"a link to {path.readlink()}, which does not exist"
                        if entry.is_symlink()
                        else "no file"
                    )
                    self._report(f"{path}: {what}; put it there, or remove this")
            except OSError as error:
                self._report(f"{path}: cannot be read: {error.strerror}; correct it, or remove this")
        if latest(files, VASPRUN) is not None:
            self._found.folders.append(folder)
        elif left := [name for name in files if _is_output(name)]:
            self._report(
                f"{folder}: no vasprun.xml (there is {', '.join(left)}); copy it there, under that name, or "
                "run the calculation again"
            )
        elif left := [name for name in files if latest([name], "INCAR") or name.lower().endswith(_ARCHIVES)]:
            self._found.notes.append(f"{folder}: no output of VASP (there is {', '.join(left)}); not read")
        return folders

    def _report(self, line: str) -> None:
        self._found.problems.append(line)


def _is_output(name: str) -> bool:
    return name.lower().startswith(_LIKE_OUTPUT) or any(latest([name], output) for output in OUTPUT_FILES)


def _is_not_read(name: str) -> bool:
    """Whether a name is that of a file of VASP that is not read here, such as WAVECAR."""
    plain = name.split(".")[0]
    return plain.isupper() and plain.isalpha() and not _is_output(name)
