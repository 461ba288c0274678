"""Convex hull of formation energies: how far a compound is from stability, and into what it decomposes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

from stores.errors import InputError

if TYPE_CHECKING:
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core.composition import Composition


@dataclass(frozen=True)
class HullEntry:
    """A phase with its energy, computed by one method.

    Attributes
    ----------
    formula
        Of any number of formula units; an element has the formation energy 0 in its ground state.
    formation_energy
        From the elements' ground states (eV/atom).
    method
        Provider and method of the energy. Entries of two methods never meet in one hull.
    name
        What tells it from other phases of its formula, for people; the formula if empty.
    """

    formula: str
    formation_energy: float
    method: str
    name: str = ""

    @classmethod
    def of_total_energy(
        cls, formula: str, energy_per_atom: float, mu0: Mapping[str, float], method: str, name: str = ""
    ) -> HullEntry:
        """Make an entry of a total energy.

        Parameters
        ----------
        formula, method, name
            As above.
        energy_per_atom
            Total energy (eV/atom).
        mu0
            Energy of each element's ground state by the same method (eV/atom).

        Raises
        ------
        InputError
            If the energy of one of its elements is missing, or the formula is none.
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
        """Its name for people."""
        return self.name or self.formula

    @cached_property
    def fractions(self) -> dict[str, float]:
        """Share of each element in its atoms."""
        return atomic_fractions(self.formula)


def atomic_fractions(formula: str) -> dict[str, float]:
    """Return the share of each element in the atoms of a formula.

    Raises
    ------
    InputError
        If the text is no formula.
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
        If there are several, or an energy is no number.
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
    """The hull of the phases that are known, with every element at 0.

    An elemental phase never lies below 0: what is called the ground state defines the zero.

    Parameters
    ----------
    entries
        Of one method.

    Raises
    ------
    InputError
        If they are of several methods, an energy is no number, or a formula is none.
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
        return self._decompose(entry)[1]

    def decomposition(self, entry: HullEntry) -> dict[str, float]:
        """Return the phases of the hull at a composition, by name, with their shares of the atoms."""
        return self._decompose(entry)[0]

    def _decompose(self, entry: HullEntry) -> tuple[dict[str, float], float]:
        check_one_method([entry, *self.entries[:1]])
        if len(entry.fractions) == 1:
            return dict.fromkeys(entry.fractions, 1.0), max(entry.formation_energy, 0.0)
        parts, hull_energy = self._diagram(entry).get_decomp_and_hull_energy_per_atom(_composition(entry))
        shares: dict[str, float] = {}
        for part, share in parts.items():
            name = str(cast("PDEntry", part).name)
            shares[name] = shares.get(name, 0.0) + float(share)
        return shares, max(entry.formation_energy - float(hull_energy), 0.0)

    def _diagram(self, entry: HullEntry) -> PhaseDiagram:
        """Phase diagram of an entry's own chemical system; those above it cannot change its hull."""
        from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram

        system = frozenset(entry.fractions)
        if system not in self._diagrams:
            within = [e for e in self.entries if len(e.fractions) > 1 and system.issuperset(e.fractions)]
            elements = [PDEntry(element, 0.0) for element in sorted(system)]
            self._diagrams[system] = PhaseDiagram([*elements, *map(_pd_entry, within)])
        return self._diagrams[system]


def _composition(entry: HullEntry) -> Composition:
    from pymatgen.core.composition import Composition

    return Composition(entry.formula)


def _pd_entry(entry: HullEntry) -> PDEntry:
    from pymatgen.analysis.phase_diagram import PDEntry

    composition = _composition(entry)
    return PDEntry(composition, entry.formation_energy * composition.num_atoms, name=entry.label)
