"""Stored bulk crystals as phases of a convex hull: one hull for each method."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.analysis.convex_hull import HullEntry
from workflows.analysis.stable_window import StableWindow, stable_window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

BULK_FIELDS = (
    "id", "formula", "chemsys", "method_fingerprint", "energy_per_atom", "formation_energy",
    "spacegroup_number", "spacegroup_symbol",
)  # fmt: skip
"""What is read of a stored BulkRecord."""

REFERENCE_FIELDS = ("element", "method_fingerprint", "energy_per_atom")
"""What is read of a stored ReferenceRecord."""


@dataclass(frozen=True)
class Phase:
    """A phase whose energy is known.

    Attributes
    ----------
    id
        Of its record, or whatever tells it from the others.
    spacegroup_number
        0 if not known.
    entry
        Formula, formation energy and method.
    """

    id: str
    spacegroup_number: int
    entry: HullEntry


class KnownPhases:
    """Phases that may compete, of any methods and systems; only those of one method and system ever do.

    Parameters
    ----------
    phases
        With ids of their own.
    problems
        By id, in one line each: why a phase has no energy.
    """

    def __init__(self, phases: Iterable[Phase], problems: Mapping[str, str] | None = None) -> None:
        self._by_id = {phase.id: phase for phase in phases}
        self._problems = dict(problems or {})
        self._systems: dict[tuple[str, frozenset[str]], list[Phase]] = defaultdict(list)
        for phase in self._by_id.values():
            self._systems[_system(phase)].append(phase)

    def window_of(self, bulk_id: str) -> StableWindow:
        """Find where a phase is stable against all others of its method and system."""
        if bulk_id in self._problems:
            return StableWindow(None, reason=self._problems[bulk_id])
        if bulk_id not in self._by_id:
            why = f"its bulk {bulk_id} is not in the store" if bulk_id else "it was ingested without its bulk"
            return StableWindow(None, reason=why)
        return self._window(self._by_id[bulk_id])

    def window_of_crystal(
        self,
        formula: str,
        spacegroup_number: int,
        where: str,
        is_it: Callable[[str], bool] | None = None,
    ) -> StableWindow:
        """Find where a crystal is stable, which is known by formula and space group.

        Parameters
        ----------
        formula, spacegroup_number
            Of the crystal; 0 if its space group is not known.
        where
            What is looked through, for the reason.
        is_it
            Tells of the id of a phase whether it is the crystal. Asked only where several phases have this
            formula and space group; None if the crystal's structure is not known.
        """
        named = f"{formula} (space group {spacegroup_number or 'not known'})"
        same = [
            phase
            for phase in self._by_id.values()
            if phase.spacegroup_number == spacegroup_number != 0 and phase.entry.formula == formula
        ]
        if not same:
            return StableWindow(None, reason=f"{named} has no energy in {where}")
        fitting = same if len(same) == 1 else [p for p in same if is_it is not None and is_it(p.id)]
        if len(fitting) == 1:
            return self._window(fitting[0])
        labels = ", ".join(phase.entry.label for phase in same)
        why = "its bulk is not in the store" if is_it is None else f"its structure is that of {len(fitting)}"
        return StableWindow(None, reason=f"{named} may be each of {labels} in {where}: {why}")

    def _window(self, target: Phase) -> StableWindow:
        if len(target.entry.fractions) > 2:
            return StableWindow(None, reason=f"{target.entry.label}: a window is defined for binaries only")
        rivals = [p.entry for p in self._systems[_system(target)] if p.id != target.id]
        return stable_window(target.entry, rivals)


def _system(phase: Phase) -> tuple[str, frozenset[str]]:
    return phase.entry.method, frozenset(phase.entry.fractions)


def stored_phases(bulks: Iterable[Mapping[str, Any]], references: Iterable[Mapping[str, Any]]) -> KnownPhases:
    """Make phases of stored bulks.

    Formation energies refer to the stored references of the same method, the lowest of an element where there
    are several, so that all phases of a system share their zero. Only where a reference is missing the
    formation energy kept in the bulk counts.

    Parameters
    ----------
    bulks, references
        Documents with `BULK_FIELDS` and `REFERENCE_FIELDS`.

    Returns
    -------
    KnownPhases
        By the ids of the bulks.
    """
    listed = list(bulks)
    mu0: dict[str, dict[str, float]] = defaultdict(dict)
    for reference in references:
        method, element = reference["method_fingerprint"], reference["element"]
        energy = reference["energy_per_atom"]
        mu0[method][element] = min(energy, mu0[method].get(element, energy))
    symbols: dict[tuple[str, str], set[str]] = defaultdict(set)
    for bulk in listed:
        symbols[bulk["method_fingerprint"], bulk["formula"]].add(str(bulk.get("spacegroup_symbol")))
    phases: list[Phase] = []
    problems: dict[str, str] = {}
    for bulk in listed:
        method, formula = bulk["method_fingerprint"], bulk["formula"]
        polymorph = len(symbols[method, formula]) > 1
        name = f"{formula} {bulk.get('spacegroup_symbol')}" if polymorph else formula
        entry = _entry(bulk, mu0[method], name)
        if isinstance(entry, HullEntry):
            phases.append(Phase(bulk["id"], bulk.get("spacegroup_number") or 0, entry))
        else:
            problems[bulk["id"]] = entry
    return KnownPhases(phases, problems)


def _entry(bulk: Mapping[str, Any], mu0: Mapping[str, float], name: str) -> HullEntry | str:
    method, formula = bulk["method_fingerprint"], bulk["formula"]
    missing = sorted(set(bulk["chemsys"].split("-")) - set(mu0))
    if not missing:
        return HullEntry.of_total_energy(formula, bulk["energy_per_atom"], mu0, method, name)
    if bulk.get("formation_energy") is None:
        return (
            f"{name} has no formation energy: the reference of {', '.join(missing)} by {method} is not in "
            "the store; mgsurf run computes it"
        )
    from pymatgen.core.composition import Composition

    atoms = Composition(formula).get_reduced_composition_and_factor()[0].num_atoms
    return HullEntry(formula, bulk["formation_energy"] / atoms, method, name)
