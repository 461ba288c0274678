"""Stored bulk crystals as phases of a convex hull: one hull for each method."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.analysis.convex_hull import HullEntry
from workflows.analysis.stable_window import StableWindow, stable_window
from workflows.structures.naming import mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


def stored_phases(
    bulks: Iterable[Mapping[str, Any]], references: Iterable[Mapping[str, Any]]
) -> dict[str, Phase | str]:
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
    dict
        By the id of the bulk: the phase, or one line saying why there is no formation energy.
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
    found: dict[str, Phase | str] = {}
    for bulk in listed:
        method, formula = bulk["method_fingerprint"], bulk["formula"]
        polymorph = len(symbols[method, formula]) > 1
        name = f"{formula} {bulk.get('spacegroup_symbol')}" if polymorph else formula
        entry = _entry(bulk, mu0[method], name)
        found[bulk["id"]] = (
            entry if isinstance(entry, str) else Phase(bulk["id"], bulk.get("spacegroup_number") or 0, entry)
        )
    return found


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


def window_of(bulk_id: str, phases: Mapping[str, Phase | str]) -> StableWindow:
    """Find where a stored bulk is stable against all others of its method.

    Parameters
    ----------
    bulk_id
        Of the bulk.
    phases
        As `stored_phases` makes them, of one or several methods and systems.
    """
    target = phases.get(bulk_id)
    if target is None:
        why = f"its bulk {bulk_id} is not in the store" if bulk_id else "it was ingested without its bulk"
        return StableWindow(None, reason=why)
    if isinstance(target, str):
        return StableWindow(None, reason=target)
    return _window(target, [p for p in phases.values() if isinstance(p, Phase)])


def window_by(formula: str, spacegroup_number: int, phases: Iterable[Phase], where: str) -> StableWindow:
    """Find where a compound is stable by energies that are not its own, such as those of a database.

    Parameters
    ----------
    formula, spacegroup_number
        Of the compound; among several such phases the lowest is taken.
    phases
        Of one method.
    where
        Says in the reason where the compound was looked for.
    """
    listed = list(phases)
    wanted = mg_first_formula(formula)
    same = [
        p for p in listed
        if p.spacegroup_number == spacegroup_number and mg_first_formula(p.entry.formula) == wanted
    ]  # fmt: skip
    if not same:
        return StableWindow(
            None, reason=f"{formula} (space group {spacegroup_number}) has no energy in {where}"
        )
    return _window(min(same, key=lambda phase: phase.entry.formation_energy), listed)


def _window(target: Phase, phases: list[Phase]) -> StableWindow:
    if len(target.entry.fractions) > 2:
        return StableWindow(None, reason=f"{target.entry.label}: a window is defined for binaries only")
    others = [
        p.entry for p in phases
        if p.id != target.id
        and p.entry.method == target.entry.method
        and set(p.entry.fractions) == set(target.entry.fractions)
    ]  # fmt: skip
    return stable_window(target.entry, others)
