"""One list of compounds from several sources, each crystal once with all its names.

Databases relax to different accuracy, and one crystal may come out as P1 from one and as cubic from another.
A candidate is therefore searched for symmetry with a wide and, unless its atoms lie on their ideal positions,
with a narrow tolerance. Two candidates are one crystal if formula, space group and numbers of equivalent
atoms agree in one of their views, and pymatgen's StructureMatcher maps one onto the other at equal volume per
atom. Its tolerances are narrower than its defaults, with which crystals merge whose c/a differ by 40 %; they
follow from what differs between databases:

- Volumes differ by some 5 % between functionals, more under pressure: up to `VOLUME_RATIO` it is one crystal.
  The volume of an estimated prototype lattice does not count.
- Axial ratios differ by a few per cent; an estimate has those of the compound that gave the type its name.
- Atoms differ by hundredths of an angstrom; in an estimate by a few tenths.

Candidates are sorted by preference and compared with those taken already, so the result does not depend on
the order in which they come.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sized
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib

from stores.errors import InputError
from stores.records import Provenance
from workflows.structures.crystal import ENANTIOMORPHS, crystal_of, pair_sums
from workflows.structures.naming import mg_first_formula
from workflows.structures.space_group import deviation, search
from workflows.structures.tolerances import LOOSE_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core.structure import Structure

    from workflows.structures.sources.protocol import Candidate, DatabaseValues


@dataclass(frozen=True)
class View:
    """A crystal as a symmetry search with one tolerance sees it."""

    spacegroup: int  # international number, of two enantiomorphic groups the lower
    # atomic number and number of atoms in the primitive cell of each set of equivalent atoms, sorted
    orbits: tuple[tuple[int, int], ...]
    # rows: primitive vectors (A), as given up to the choice of cell, shape (3, 3)
    lattice: NDArray[np.float64]
    # cartesian positions of the atoms of that cell (A), as given, shape (n, 3)
    positions: NDArray[np.float64]
    numbers: NDArray[np.int64]  # their atomic numbers, shape (n,)

    @property
    def structure(self) -> Structure:
        """The primitive cell, Niggli-reduced."""
        from pymatgen.core.periodic_table import Element
        from pymatgen.core.structure import Structure as PymatgenStructure

        reduced = spglib.niggli_reduce(self.lattice)
        return PymatgenStructure(
            self.lattice if reduced is None else reduced,
            [Element.from_Z(int(z)) for z in self.numbers],
            self.positions,
            coords_are_cartesian=True,
            to_unit_cell=True,
        )


def views_of(structure: Structure) -> list[View]:
    """Return the views of an ordered crystal with the wide and, where that may differ, the narrow tolerance.

    The wide one comes first; the list is empty if no symmetry can be determined.
    """
    numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)
    wide = search(structure, LOOSE_SYMPREC)
    views = [] if wide is None else [_view(structure, numbers, wide)]
    if wide is None or not _is_ideal(structure, wide):
        narrow = search(structure, SYMPREC)
        # another space group, or the same one with another primitive cell
        if narrow is not None and (
            wide is None or narrow.number != wide.number or len(narrow.std_types) != len(wide.std_types)
        ):
            views.append(_view(structure, numbers, narrow))
    return views


def primitive_size(structure: Structure) -> int:
    """Return the number of atoms of the primitive cell, with the wide tolerance."""
    found = search(structure, LOOSE_SYMPREC)
    return len(structure) if found is None else len(np.unique(found.mapping_to_primitive))


def _view(structure: Structure, numbers: NDArray[np.int64], dataset: Any) -> View:
    classes, first = np.unique(dataset.mapping_to_primitive, return_index=True)
    n_cells = len(numbers) // len(classes)
    members = Counter(int(i) for i in dataset.crystallographic_orbits)
    return View(
        spacegroup=ENANTIOMORPHS.get(int(dataset.number), int(dataset.number)),
        orbits=tuple(sorted((int(numbers[i]), n // n_cells) for i, n in members.items())),
        lattice=np.array(dataset.primitive_lattice, dtype=np.float64),
        positions=np.array(structure.cart_coords[first], dtype=np.float64),
        numbers=numbers[first],
    )


def _is_ideal(structure: Structure, dataset: Any) -> bool:
    """Return whether atoms and cell lie so near the ideal ones that a narrow search finds no less."""
    limit = SYMPREC / 2  # an operation moves an ideal atom onto an ideal one, so two deviations add up
    ideal_cell = dataset.std_lattice.T @ dataset.transformation_matrix
    cell = dataset.std_rotation_matrix @ structure.lattice.matrix.T
    if np.abs(ideal_cell - cell).max() > limit:
        return False
    return deviation(structure, dataset) < limit


VOLUME_RATIO = 1.25  # largest ratio of the volumes per atom of one crystal in two databases


@dataclass(frozen=True)
class Tolerances:
    """How far two descriptions of one crystal may lie apart, for pymatgen's StructureMatcher."""

    # length, angle: share of a lattice vector's length, and degrees
    length: float
    angle: float
    site: float  # largest displacement in units of the cube root of the volume per atom
    # difference of the logarithms of pair sums (`workflows.structures.crystal.pair_sums`, wide Gaussian)
    # beyond which no mapping is sought
    pair_sum: float


BETWEEN_DATABASES = Tolerances(length=0.08, angle=4.0, site=0.15, pair_sum=0.7)
WITH_A_GUESS = Tolerances(length=0.15, angle=6.0, site=0.2, pair_sum=1.4)


@dataclass(frozen=True, eq=False)
class _Sighting:
    """A crystal as one source describes it, without the weight of a pymatgen structure."""

    formula: str  # reduced
    views: tuple[View, ...]  # from `views_of`
    volume: float  # per atom (A^3)
    guess: bool = False  # True if the lattice is an estimate
    source: str = ""
    identifiers: tuple[str, ...] = ()
    values: tuple[DatabaseValues, ...] = ()
    order: tuple[Any, ...] = ()  # sort key: the preferred description first


def same_crystal(one: Structure, other: Structure) -> bool:
    """Return whether two structures of ordered crystals, computed or measured, are the same crystal."""
    sightings = [_Sighting(s.reduced_formula, tuple(views_of(s)), s.volume / len(s)) for s in (one, other)]
    return sightings[0].formula == sightings[1].formula and len(_Comparison().distinct(sightings)) == 1


class _Comparison:
    """Groups the sightings of one formula by crystal."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[Any, ...], list[tuple[int, View]]] = defaultdict(list)
        self._groups: list[list[_Sighting]] = []
        self._prepared: dict[int, tuple[Structure, NDArray[np.float64]]] = {}

    def distinct(self, sightings: Iterable[_Sighting]) -> list[list[_Sighting]]:
        """Return the crystals, and the sightings of each, in the order in which they come."""
        for sighting in sightings:
            group = self._same(sighting)
            if group is None:
                for view in sighting.views:
                    self._buckets[view.spacegroup, view.orbits].append((len(self._groups), view))
                self._groups.append([sighting])
            else:
                self._groups[group].append(sighting)
        return self._groups

    def _same(self, sighting: _Sighting) -> int | None:
        """Return the number of the group whose first sighting is the most similar and the same crystal."""
        pairs = [
            (self._difference(view, other), number, view, other)
            for view in sighting.views
            for number, other in self._buckets.get((view.spacegroup, view.orbits), ())
            if _volumes_agree(sighting, self._groups[number][0])
        ]
        for difference, number, view, other in sorted(pairs, key=lambda pair: pair[:2]):
            guess = sighting.guess or self._groups[number][0].guess
            tolerances = WITH_A_GUESS if guess else BETWEEN_DATABASES
            if difference <= tolerances.pair_sum and _matcher(tolerances).fit(
                self._prepare(other)[0], self._prepare(view)[0], skip_structure_reduction=True
            ):
                return number
        return None

    def _difference(self, one: View, other: View) -> float:
        return float(np.abs(self._prepare(one)[1] - self._prepare(other)[1]).max())

    def _prepare(self, view: View) -> tuple[Structure, NDArray[np.float64]]:
        if id(view) not in self._prepared:
            structure = view.structure
            sums = [wide for _, (_, wide) in sorted(pair_sums(structure).items())]
            self._prepared[id(view)] = structure, np.log(np.maximum(sums, 1e-6))
        return self._prepared[id(view)]


def _volumes_agree(one: _Sighting, other: _Sighting) -> bool:
    ratio = max(one.volume, other.volume) / min(one.volume, other.volume)
    return one.guess or other.guess or ratio <= VOLUME_RATIO


@lru_cache
def _matcher(tolerances: Tolerances) -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher as PymatgenMatcher

    return PymatgenMatcher(
        ltol=tolerances.length,
        stol=tolerances.site,
        angle_tol=tolerances.angle,
        primitive_cell=False,
        scale=True,
    )


PREFERENCE = ("file", "mp", "alexandria", "oqmd", "aflow", "jarvis")
"""Sources by preference of their geometry; then others by the alphabet, estimated lattices last.

Files are the user's own; then databases that relax with PBE and settings near those used here, the one with
the strictest first; then the rest, measured structures (COD) among them.
"""


@dataclass(frozen=True)
class MergedCandidate:
    """A crystal, once, with the names and values of all sources."""

    # conventional standard cell (A; hexagonal axes if rhombohedral), with the atoms on their symmetric
    # positions: those of files within 0.01 A, those of databases and prototypes within 0.1 A
    structure: Structure
    formula: str  # reduced, Mg first
    # spacegroup_number, spacegroup_symbol: of `structure`
    spacegroup_number: int
    spacegroup_symbol: str
    n_atoms: int  # in the primitive cell
    # source whose geometry was taken; identifiers of all sources (see `full_identifiers`); whether the
    # lattice is an estimate
    provenance: Provenance
    values: tuple[DatabaseValues, ...]  # values of the databases, those of the geometry's source first
    # for people, unique in a list: ``MgZn2 P6_3/mmc``, with an identifier where that is not enough
    label: str


def merge(
    candidates: Iterable[Candidate],
    *,
    problems: list[str] | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> list[MergedCandidate]:
    """Merge candidates that are the same crystal.

    The geometry is that of the source that comes first in `PREFERENCE`; within one source that of lowest
    energy.

    Parameters
    ----------
    candidates
        Of all sources, in any order; taken one by one, so that they need not be in memory together.
    problems
        One line is added for each candidate whose symmetry cannot be determined; without a list the first one
        raises `InputError`.
    progress
        Called with a stage (``symmetry``, ``comparing``), the number of candidates done and the number of
        all, None if not known.

    Returns
    -------
    list of MergedCandidate
        Sorted by elements, formula and space group; the same for every order of `candidates`.
    """
    entries = list(_entries(candidates, problems, progress))
    by_formula: dict[str, list[_Sighting]] = defaultdict(list)
    for entry in entries:
        by_formula[entry.formula].append(entry)
    done, merged = 0, []
    for formula in sorted(by_formula):
        group = sorted(by_formula.pop(formula), key=lambda entry: entry.order)
        for entries_of_one in _Comparison().distinct(group):
            try:
                merged.append(_merged(entries_of_one))
            except InputError as error:
                _report(problems, f"{entries_of_one[0].identifiers[0]}: {error}")
        done += len(group)
        if progress is not None:
            progress("comparing", done, len(entries))
    merged.sort(
        key=lambda m: (
            len(m.structure.composition),
            sorted(e.symbol for e in m.structure.composition),
            m.formula,
            m.spacegroup_number,
            [_natural(i) for i in m.provenance.identifiers],
        )
    )
    return _labelled(merged)


def _entries(
    candidates: Iterable[Candidate],
    problems: list[str] | None,
    progress: Callable[[str, int, int | None], None] | None,
) -> Iterator[_Sighting]:
    total = len(candidates) if isinstance(candidates, Sized) else None
    for done, candidate in enumerate(candidates, start=1):
        views = views_of(candidate.structure)
        if views:
            yield _entry(candidate, views)
        else:
            _report(
                problems,
                f"{candidate.label}: no space group can be determined; check the structure for overlapping "
                "atoms or a degenerate cell",
            )
        if progress is not None:
            progress("symmetry", done, total)


def _entry(candidate: Candidate, views: list[View]) -> _Sighting:
    structure, provenance = candidate.structure, candidate.provenance
    identifiers = full_identifiers(provenance)
    source = provenance.source
    rank = PREFERENCE.index(source) if source in PREFERENCE else len(PREFERENCE)
    lattice, positions = views[0].lattice, views[0].positions
    return _Sighting(
        formula=mg_first_formula(structure.composition),
        volume=structure.volume / len(structure),
        views=tuple(views),
        source=source,
        identifiers=identifiers,
        guess=provenance.lattice_is_guess,
        values=candidate.values,
        order=(
            (provenance.lattice_is_guess, rank, source),
            _energy(candidate.values),
            [_natural(i) for i in identifiers],
            (structure.volume, lattice.tolist(), positions.tolist()),  # the same identifier twice
        ),
    )


def full_identifiers(provenance: Provenance) -> tuple[str, ...]:
    """Return the identifiers of a candidate, each with its source as prefix unless it has it already.

    For example ``mp-1094116``, ``oqmd-5012``, ``aflow:1234``, ``file:MgAg.cif``; those of a prototype are
    joined into one, ``prototype:C14 A=Mg B=Zn``.
    """
    source = provenance.source
    given = provenance.identifiers
    if provenance.lattice_is_guess:
        given = [" ".join(given)]
    return tuple(
        dict.fromkeys(
            i if i.lower().startswith((f"{source}-", f"{source}:")) else f"{source}:{i}" for i in given
        )
    ) or (source,)


def _energy(values: Iterable[DatabaseValues]) -> tuple[int, float]:
    """Sort key: the candidate lowest in energy first, those without an energy last."""
    for place, name in enumerate(("energy_above_hull", "formation_energy")):
        known = [e for v in values if (e := getattr(v, name)) is not None and math.isfinite(e)]
        if known:
            return place, min(known)
    return 2, 0.0


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts mp-9 before mp-10."""
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", text) if p]


def _merged(entries: list[_Sighting]) -> MergedCandidate:
    entry = entries[0]
    exact = entry.source == "file"
    crystal = crystal_of(entry.views[-1 if exact else 0].structure, SYMPREC if exact else LOOSE_SYMPREC)
    return MergedCandidate(
        structure=crystal.structure,
        formula=entry.formula,
        spacegroup_number=crystal.spacegroup_number,
        spacegroup_symbol=crystal.spacegroup_symbol,
        n_atoms=len(crystal.primitive_species),
        provenance=Provenance(
            source=entry.source,
            identifiers=list(dict.fromkeys(i for e in entries for i in e.identifiers)),
            lattice_is_guess=entry.guess,
        ),
        values=tuple(dict.fromkeys(v for e in entries for v in e.values)),
        label=f"{entry.formula} {crystal.spacegroup_symbol}",
    )


def _labelled(merged: list[MergedCandidate]) -> list[MergedCandidate]:
    """Add an identifier to labels that several have."""
    count = Counter(m.label for m in merged)
    return [
        replace(m, label=f"{m.label} {m.provenance.identifiers[0]}") if count[m.label] > 1 else m
        for m in merged
    ]


def _report(problems: list[str] | None, problem: str) -> None:
    if problems is None:
        raise InputError(problem)
    problems.append(problem)
