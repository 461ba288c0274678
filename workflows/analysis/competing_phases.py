"""Stored bulk crystals as phases of a convex hull: one hull for each method."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.analysis.convex_hull import HullEntry
from workflows.analysis.stable_window import StableWindow, stable_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stores.method_names import MeetingName

BULK_FIELDS = (
    "id", "formula", "chemsys", "method_fingerprint", "energy_per_atom", "formation_energy",
    "spacegroup_symbol",
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
    entry
        Formula, formation energy and method.
    """

    id: str
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

    def _window(self, target: Phase) -> StableWindow:
        if len(target.entry.fractions) > 2:
            return StableWindow(None, reason=f"{target.entry.label}: a window is defined for binaries only")
        rivals = [p.entry for p in self._systems[_system(target)] if p.id != target.id]
        return stable_window(target.entry, rivals)


def _system(phase: Phase) -> tuple[str, frozenset[str]]:
    return phase.entry.method, frozenset(phase.entry.fractions)


def stored_phases(
    bulks: Iterable[Mapping[str, Any]],
    references: Iterable[Mapping[str, Any]],
    name_of: MeetingName = lambda fingerprint, elements: fingerprint,
) -> KnownPhases:
    """Make phases of stored bulks.

    Formation energies refer to the stored references of the same method, the lowest of an element where there
    are several, so that all phases of a system share their zero. Only where a reference is missing the
    formation energy kept in the bulk counts.

    Parameters
    ----------
    bulks, references
        Documents with `BULK_FIELDS` and `REFERENCE_FIELDS`.
    name_of
        Name of the method under which a record meets others (`stores.method_names`).

    Returns
    -------
    KnownPhases
        By the ids of the bulks.
    """
    listed = list(bulks)
    mu0: dict[str, dict[str, float]] = defaultdict(dict)
    for reference in references:
        element = reference["element"]
        method = name_of(reference["method_fingerprint"], (element,))
        energy = reference["energy_per_atom"]
        mu0[method][element] = min(energy, mu0[method].get(element, energy))
    methods = [name_of(bulk["method_fingerprint"], bulk["chemsys"].split("-")) for bulk in listed]
    symbols: dict[tuple[str, str], set[str]] = defaultdict(set)
    for bulk, method in zip(listed, methods, strict=True):
        symbols[method, bulk["formula"]].add(str(bulk.get("spacegroup_symbol")))
    phases: list[Phase] = []
    problems: dict[str, str] = {}
    for bulk, method in zip(listed, methods, strict=True):
        formula = bulk["formula"]
        polymorph = len(symbols[method, formula]) > 1
        name = f"{formula} {bulk.get('spacegroup_symbol')}" if polymorph else formula
        own = {e: name_of(bulk["method_fingerprint"], (e,)) for e in bulk["chemsys"].split("-")}
        entry = _entry(bulk, {e: mu0[by][e] for e, by in own.items() if e in mu0[by]}, method, name)
        if isinstance(entry, HullEntry):
            phases.append(Phase(bulk["id"], entry))
        else:
            problems[bulk["id"]] = entry
    return KnownPhases(phases, problems)


def _entry(bulk: Mapping[str, Any], mu0: Mapping[str, float], method: str, name: str) -> HullEntry | str:
    formula = bulk["formula"]
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
