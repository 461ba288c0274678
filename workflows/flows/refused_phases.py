"""Phases that a campaign does not compute, but that bound the windows of those that it does."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from workflows.analysis.convex_hull import HullEntry, atomic_fractions
from workflows.flows.lock_file import ENERGY_DIGITS
from workflows.structures.naming import mg_first_formula
from workflows.structures.sources.merge import MergedCandidate, full_identifiers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workflows.flows.lock_model import Phase
    from workflows.structures.sources.protocol import Candidate


class RefusedPhases:
    """Energies of what filters, hull or slab counting refused: the lowest of each formula and method."""

    def __init__(self) -> None:
        self._lowest: dict[tuple[str, str], Phase] = {}

    def add(self, candidate: Candidate | MergedCandidate) -> None:
        """Note what databases say of a candidate; nothing if they give no formation energy."""
        formula = mg_first_formula(candidate.structure.composition)
        for values in candidate.values:
            energy = values.formation_energy
            if energy is None or not isfinite(energy):
                continue
            name = _name_by(values.method, _identifiers(candidate))
            phase = formula, round(float(energy), ENERGY_DIGITS) + 0.0, values.method, name
            known = self._lowest.setdefault((formula, values.method), phase)
            if (phase[1], phase[3]) < (known[1], known[3]):
                self._lowest[formula, values.method] = phase

    def entries(self) -> Iterator[HullEntry]:
        """Yield the phases noted so far."""
        for formula, energy, method, _ in self._lowest.values():
            yield HullEntry(formula, energy, method)

    def of_systems(self, systems: set[frozenset[str]]) -> list[Phase]:
        """Return the phases noted whose elements are exactly those of one of some systems, sorted."""
        return sorted(p for p in self._lowest.values() if frozenset(atomic_fractions(p[0])) in systems)


def _identifiers(candidate: Candidate | MergedCandidate) -> Sequence[str]:
    if isinstance(candidate, MergedCandidate):
        return candidate.provenance.identifiers
    return full_identifiers(candidate.provenance)


def _name_by(method: str, names: Sequence[str]) -> str:
    """Return the identifier in the database whose method it is, else the first one.

    Of `alexandria PBEsol` it is alexandria-pbesol:agm9, not alexandria:agm7.
    """
    words = method.lower().split(" ")
    for start in ("-".join(words) + ":", f"{words[0]}:", f"{words[0]}-"):
        if own := next((name for name in names if name.lower().startswith(start)), ""):
            return own
    return next(iter(names), "")
