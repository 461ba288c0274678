"""Convex hull of formation energies, and the choice of compounds near it by energies from databases."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pymatgen.analysis.phase_diagram import PhaseDiagram

    from workflows.structures.sources.merge import MergedCandidate


@dataclass(frozen=True)
class HullEntry:
    """A phase with its energy, computed by one method."""

    formula: str  # of any number of formula units; an element has the formation energy 0 in its ground state
    formation_energy: float  # from the elements' ground states (eV/atom)
    method: str  # provider and method of the energy; entries of two methods are never mixed in one hull
    name: str = ""  # shown to users, to distinguish it from other phases of its formula; the formula if empty

    @classmethod
    def of_total_energy(
        cls, formula: str, energy_per_atom: float, mu0: Mapping[str, float], method: str, name: str = ""
    ) -> HullEntry:
        """Make an entry from a total energy and the elements' ground states `mu0` (eV/atom).

        Raises
        ------
        InputError
            If the energy of one of its elements is missing, or the formula is malformed.
        """
        fractions = atomic_fractions(formula)
        missing = sorted(set(fractions) - set(mu0))
        if missing:
            raise InputError(
                f"{name or formula}: no formation energy without the reference energy of "
                f"{', '.join(missing)} by {method}; compute it first"
            )
        formation = energy_per_atom - sum(x * mu0[element] for element, x in fractions.items())
        return cls(formula, formation, method, name)

    @property
    def label(self) -> str:
        """Name shown to users."""
        return self.name or self.formula

    @cached_property
    def fractions(self) -> dict[str, float]:
        """Atomic fraction of each element."""
        return atomic_fractions(self.formula)


def atomic_fractions(formula: str) -> dict[str, float]:
    """Return the atomic fraction of each element of a formula.

    Raises
    ------
    InputError
        If the formula is malformed.
    """
    from pymatgen.core.composition import Composition

    try:
        amounts = Composition(formula).get_el_amt_dict()
    except (ValueError, KeyError) as error:
        raise InputError(f"{formula!r} is not a chemical formula: write it like MgAg or Mg17Al12") from error
    total = sum(amounts.values())
    if not total > 0:
        raise InputError(f"{formula!r} is not a chemical formula: it names no atom")
    return {element: amount / total for element, amount in amounts.items()}


def check_one_method(entries: Iterable[HullEntry]) -> str:
    """Return the method that all entries share, empty if there is no entry.

    Raises
    ------
    InputError
        If there are several, or an energy is not finite.
    """
    methods: set[str] = set()
    for entry in entries:
        methods.add(entry.method)
        if not math.isfinite(entry.formation_energy):
            raise InputError(
                f"{entry.label}: its formation energy by {entry.method} is no number; leave it out"
            )
    if len(methods) > 1:
        raise InputError(
            f"energies of {' and '.join(sorted(methods))} cannot meet in one convex hull: their errors "
            "differ; choose one method"
        )
    return methods.pop() if methods else ""


class ConvexHull:
    """Convex hull of known phases of one method, with every element at 0.

    An elemental phase never lies below 0, which the ground state defines.

    Raises
    ------
    InputError
        If the entries are of several methods, an energy is not finite, or a formula is malformed.
    """

    def __init__(self, entries: Iterable[HullEntry]) -> None:
        self.entries = tuple(entries)
        self.method = check_one_method(self.entries)
        self._diagrams: dict[frozenset[str], PhaseDiagram] = {}

    def energy_above(self, entry: HullEntry) -> float:
        """Return the energy of a phase above the hull (eV/atom), 0 on it.

        The entry need not be one of the hull's; one below the hull counts as on it.

        Raises
        ------
        InputError
            If it is of another method.
        """
        from pymatgen.core.composition import Composition

        check_one_method([entry, *self.entries[:1]])
        energy = 0.0
        if len(entry.fractions) > 1:
            composition = Composition(entry.formula)
            energy = float(self._diagram(entry).get_decomp_and_hull_energy_per_atom(composition)[1])
        return max(entry.formation_energy - energy, 0.0)

    def _diagram(self, entry: HullEntry) -> PhaseDiagram:
        """Phase diagram of an entry's own chemical system; those above it cannot change its hull."""
        from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
        from pymatgen.core.composition import Composition

        system = frozenset(entry.fractions)
        if system not in self._diagrams:
            phases = [PDEntry(element, 0.0) for element in sorted(system)]
            for other in self.entries:
                if len(other.fractions) > 1 and system.issuperset(other.fractions):
                    composition = Composition(other.formula)
                    phases.append(PDEntry(composition, other.formation_energy * composition.num_atoms))
            self._diagrams[system] = PhaseDiagram(phases)
        return self._diagrams[system]


PREFERENCE = ("mp", "alexandria", "oqmd", "aflow", "jarvis")
"""First words of methods, the one that decides first; others follow by the alphabet.

The order is that in which `workflows.structures.sources.merge` takes geometries.
"""


@dataclass(frozen=True)
class HullPosition:
    """Energy of a compound above the hull, and the method it comes from."""

    energy_above_hull: float  # (eV/atom)
    method: str  # provider and method of the deciding energy
    # True if the database gives it; False if the hull was made of the listed formation energies
    stated: bool = True
    # energies above the hull by the other methods (eV/atom)
    others: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NearHull:
    """Result of `keep_near_hull`: candidates in the order given, each with its position.

    A position is None without any energy; `limit` is the largest energy above the hull (eV/atom), None if
    there is no limit.
    """

    kept: list[tuple[MergedCandidate, HullPosition | None]]
    removed: list[tuple[MergedCandidate, HullPosition]]
    limit: float | None

    def lines(self) -> list[str]:
        """Return a line each on removals, unknown energies, deciding databases and disagreements."""
        total = len(self.kept) + len(self.removed)
        lines = []
        if self.limit is not None:
            lines.append(
                f"{len(self.removed)} of {total} compounds are more than {self.limit:g} eV/atom above the "
                "hull and are left out"
            )
        known = [position for _, position in [*self.kept, *self.removed] if position is not None]
        if unknown := total - len(known):
            lines.append(f"{unknown} without an energy are kept")
        stated = Counter(p.method for p in known if p.stated)
        made = Counter(p.method for p in known if not p.stated)
        if stated:
            lines.append(f"energies above the hull as stated by {_counted(stated)}")
        if made:
            lines.append(
                f"hull of the listed compounds' formation energies by {_counted(made)}; phases that are not "
                "listed are missing in it"
            )
        return lines + self._disagreements()

    def _disagreements(self) -> list[str]:
        if self.limit is None:
            return []
        lines = []
        for candidate, position in [*self.kept, *self.removed]:
            if position is None:
                continue
            out = position.energy_above_hull > self.limit
            against = {m: e for m, e in position.others.items() if (e > self.limit) is not out}
            if against:
                listed = ", ".join(f"{energy:.3f} by {method}" for method, energy in against.items())
                lines.append(
                    f"{candidate.formula}: {'left out' if out else 'kept'} with "
                    f"{position.energy_above_hull:.3f} eV/atom above the hull by {position.method}, "
                    f"though it is {listed}"
                )
        return lines


def keep_near_hull(
    candidates: Iterable[MergedCandidate],
    max_energy_above_hull: float | None,
    competing: Iterable[HullEntry] = (),
) -> NearHull:
    """Keep candidates near the convex hull, and those without any energy.

    Databases disagree, because their methods do. Which one decides about a compound does not depend on the
    values it gives:

    1. An energy above the hull that a database states comes first, for its hull holds all its phases.
    2. Otherwise a hull is made for each method of the formation energies of the candidates and of
       `competing`. Other phases are missing, so that it may lie too high and the energy above it be too low.
    3. Among several methods of equal standing the order of `PREFERENCE` decides, then the alphabet.

    Parameters
    ----------
    candidates
        Merged across sources; each carries the values of all databases that have it.
    max_energy_above_hull
        (eV/atom); None keeps all and only finds their positions.
    competing
        Further phases of any method, such as those that other filters left out.

    Raises
    ------
    InputError
        If the limit is negative or not finite, or a formula is malformed.
    """
    if max_energy_above_hull is not None and not 0 <= max_energy_above_hull < math.inf:
        raise InputError(
            f"max_energy_above_hull: {max_energy_above_hull} is no energy of 0 or more; give eV/atom, "
            "such as 0.05"
        )
    listed = list(candidates)
    hulls = _hulls(listed, competing)
    limit = math.inf if max_energy_above_hull is None else max_energy_above_hull
    result = NearHull([], [], max_energy_above_hull)
    for candidate in listed:
        position = _position(candidate, hulls)
        if position is not None and position.energy_above_hull > limit:
            result.removed.append((candidate, position))
        else:
            result.kept.append((candidate, position))
    return result


def _hulls(candidates: Iterable[MergedCandidate], competing: Iterable[HullEntry]) -> dict[str, ConvexHull]:
    """One hull for each method that gives formation energies."""
    entries: dict[str, list[HullEntry]] = {}
    for entry in competing:
        if math.isfinite(entry.formation_energy):
            entries.setdefault(entry.method, []).append(entry)
    for candidate in candidates:
        for method, energy in _lowest(candidate, "formation_energy").items():
            entries.setdefault(method, []).append(HullEntry(candidate.formula, energy, method))
    return {method: ConvexHull(found) for method, found in entries.items()}


def _position(candidate: MergedCandidate, hulls: dict[str, ConvexHull]) -> HullPosition | None:
    stated = {m: max(e, 0.0) for m, e in _lowest(candidate, "energy_above_hull").items()}
    made = {
        method: hulls[method].energy_above(HullEntry(candidate.formula, energy, method))
        for method, energy in _lowest(candidate, "formation_energy").items()
        if method not in stated
    }
    order = [*sorted(stated, key=_rank), *sorted(made, key=_rank)]
    if not order:
        return None
    energies = stated | made
    return HullPosition(
        energies[order[0]], order[0], order[0] in stated, {method: energies[method] for method in order[1:]}
    )


def _lowest(candidate: MergedCandidate, name: str) -> dict[str, float]:
    """Lowest value by each method: a database may hold one crystal several times."""
    found: dict[str, float] = {}
    for values in candidate.values:
        energy = getattr(values, name)
        if energy is not None and math.isfinite(energy):
            found[values.method] = min(energy, found.get(values.method, math.inf))
    return found


def _rank(method: str) -> tuple[int, str]:
    provider = method.split(" ")[0].lower()
    place = PREFERENCE.index(provider) if provider in PREFERENCE else len(PREFERENCE)
    return place, method


def _counted(methods: Counter[str]) -> str:
    return ", ".join(f"{method} ({number})" for method, number in sorted(methods.items()))
