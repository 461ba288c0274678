"""One list of compounds from what several sources offer, each crystal once with all its names.

Candidates are sorted by preference and then compared with those taken already
(`workflows.structures.sources.comparison`), so the result does not depend on the order in which they come.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.records import Provenance
from workflows.structures.crystal import crystal_of
from workflows.structures.naming import mg_first_formula
from workflows.structures.sources.comparison import Sighting, distinct
from workflows.structures.sources.symmetry import View, views_of
from workflows.structures.tolerances import LOOSE_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pymatgen.core.structure import Structure

    from workflows.structures.sources.protocol import Candidate, DatabaseValues

PREFERENCE = ("file", "mp", "alexandria", "oqmd", "aflow", "jarvis")
"""Sources whose geometry is taken, the first that has the crystal; then others by the alphabet, guesses last.

Files are the user's own; then databases that relax with PBE and settings near those used here, the one with
the strictest first; then the rest, measured structures (COD) among them.
"""


@dataclass(frozen=True)
class MergedCandidate:
    """A crystal, once, with what all sources say of it.

    Attributes
    ----------
    structure
        Conventional standard cell (A; hexagonal axes if rhombohedral), with the atoms on their symmetric
        positions: those of files within 0.01 A, those of databases and prototypes within 0.1 A.
    formula
        Reduced, Mg first.
    spacegroup_number, spacegroup_symbol
        Of `structure`.
    n_atoms
        In the primitive cell.
    provenance
        Source whose geometry was taken; identifiers of all sources, each with its source before it where it
        would not tell; whether the lattice is a guess.
    values
        What the databases say, that of the geometry's source first.
    label
        For people, unique in a list: ``MgZn2 P6_3/mmc``, with an identifier where that is not enough.
    """

    structure: Structure
    formula: str
    spacegroup_number: int
    spacegroup_symbol: str
    n_atoms: int
    provenance: Provenance
    values: tuple[DatabaseValues, ...]
    label: str


@dataclass(frozen=True, eq=False)
class _Entry(Sighting):
    """A candidate without the weight of a pymatgen structure."""

    source: str
    identifiers: tuple[str, ...]
    values: tuple[DatabaseValues, ...]
    order: tuple[Any, ...]


def merge(
    candidates: Iterable[Candidate],
    *,
    preference: Sequence[str] = PREFERENCE,
    problems: list[str] | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> list[MergedCandidate]:
    """Merge candidates that are the same crystal.

    Parameters
    ----------
    candidates
        Of all sources, in any order; taken one by one, so that they need not be in memory together.
    preference
        Sources whose geometry is taken, the most preferred first; others follow by the alphabet. Among the
        candidates of one source the one of lowest energy is taken. Guessed lattices always come last.
    problems
        One line is added for each candidate whose symmetry cannot be determined; without a list the first one
        raises.
    progress
        Called with a stage (``symmetry``, ``comparing``), the number of candidates done and the number of
        all, None if not known.

    Returns
    -------
    list of MergedCandidate
        Sorted by elements, formula and space group; the same for every order of `candidates`.

    Raises
    ------
    InputError
        If `problems` is None and the symmetry of a candidate cannot be determined.
    """
    entries = list(_entries(candidates, preference, problems, progress))
    by_formula: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        by_formula[entry.formula].append(entry)
    done, merged = 0, []
    for formula in sorted(by_formula):
        group = sorted(by_formula.pop(formula), key=lambda entry: entry.order)
        for entries_of_one in distinct(group):
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
    preference: Sequence[str],
    problems: list[str] | None,
    progress: Callable[[str, int, int | None], None] | None,
) -> Iterator[_Entry]:
    total = len(candidates) if isinstance(candidates, Sized) else None
    for done, candidate in enumerate(candidates, start=1):
        views = views_of(candidate.structure)
        if views:
            yield _entry(candidate, views, preference)
        else:
            _report(
                problems,
                f"{candidate.label}: no space group can be determined; check the structure for overlapping "
                "atoms or a degenerate cell",
            )
        if progress is not None:
            progress("symmetry", done, total)


def _entry(candidate: Candidate, views: list[View], preference: Sequence[str]) -> _Entry:
    structure, provenance = candidate.structure, candidate.provenance
    identifiers = full_identifiers(provenance)
    source = provenance.source
    rank = preference.index(source) if source in preference else len(preference)
    lattice, positions = views[0].lattice, views[0].positions
    return _Entry(
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
    """Return the identifiers of a candidate, each with its source before it unless it already tells.

    For example ``mp-1094116``, ``oqmd-5012``, ``aflow:1234``, ``file:MgAg.cif``; what a prototype says of
    itself is one identifier, ``prototype:C14 A=Mg B=Zn``.
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


def _merged(entries: list[_Entry]) -> MergedCandidate:
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
