"""Chemical potentials at which a binary compound is stable against all known phases of its system.

Let A be Mg (or what stands for it) and X the partner. A phase holds the share x of X and has the formation
energy e per atom; in equilibrium with the compound (x, e)

    (1 - x) dmu_A + x dmu_X = e.

Another phase (y, e') does not form as long as (1 - y) dmu_A + y dmu_X <= e'. With dmu_X from the first line,

    dmu_A <= (x e' - y e) / (x - y)  if it is richer in A (y < x),
    dmu_A >= (y e - x e') / (y - x)  if it is richer in X (y > x).

The bound is where the straight line through both phases meets pure A. The elements themselves give
0 and dH_f/a. See docs/physics.md for the derivation and its sources.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.analysis.hull import HullEntry, check_one_method
from workflows.analysis.surface_energy import reference_element

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stores.method_names import MeetingName


SAME_ENERGY = 1e-3
"""A phase of the same composition that is lower by less counts as the same crystal (eV/atom).

Two relaxations of one crystal differ by this much, and neither may exclude the other.
"""

_ROUNDING = 1e-9
_Point = tuple[float, float, str]  # share of X, formation energy (eV/atom), name


@dataclass(frozen=True)
class StableWindow:
    """Window of the chemical potential in which a compound is stable."""

    # dmu of `reference` from X-rich to Mg-rich (eV); None if there is none
    window: tuple[float, float] | None
    # names of the phases that form beyond the two ends; None without a window
    limits: tuple[str, str] | None = None
    # of the compound above all known phases (eV/atom); None if it is not known
    energy_above_hull: float | None = None
    # phases of lower energy at its composition, with their shares of the atoms; empty if stable
    decomposition: tuple[tuple[str, float], ...] = ()
    competing: tuple[str, ...] = ()  # names of the compounds it was compared with, besides the elements
    reference: str = ""  # element whose chemical potential it is
    method: str = ""  # of all energies
    reason: str = ""  # why there is no window, in one line; empty if there is one


def stable_window(target: HullEntry, competing: Iterable[HullEntry]) -> StableWindow:
    """Narrow the window of the chemical potential to where a compound is stable.

    Parameters
    ----------
    target
        A compound of two elements.
    competing
        All other known phases of the same method, the target left out; those with further elements and
        elemental phases are skipped, for the elements' ground states count always.

    Raises
    ------
    InputError
        If energies of several methods are given, one is not finite, or the target has three or more elements.
    """
    phases = list(competing)
    method = check_one_method([target, *phases])
    reference = reference_element(target.fractions)
    if len(target.fractions) == 1:
        reason = f"{target.label} is an element: it has no window"
        return StableWindow(None, reference=reference, method=method, reason=reason)
    (partner,) = set(target.fractions) - {reference}
    rivals = [p for p in phases if len(p.fractions) == 2 and set(p.fractions) == set(target.fractions)]
    names = tuple(dict.fromkeys(p.label for p in sorted(rivals, key=lambda p: _share(p, partner))))
    x, e = _share(target, partner), target.formation_energy
    elements = [HullEntry(reference, 0.0, target.method), HullEntry(partner, 0.0, target.method)]
    known = _lowest_of_each(
        sorted((_share(p, partner), p.formation_energy, p.label) for p in [*elements, *rivals])
    )
    upper = min((((x * f - y * e) / (x - y), name) for y, f, name in known if y < x - _ROUNDING))
    lower = max((((y * e - x * f) / (y - x), name) for y, f, name in known if y > x + _ROUNDING))
    lowest = min((f for y, f, _ in known if abs(y - x) <= _ROUNDING), default=e)
    if lower[0] <= upper[0] + _ROUNDING and lowest >= e - SAME_ENERGY:
        window = (min(lower[0], upper[0]) + 0.0, upper[0] + 0.0)
        return StableWindow(window, (lower[1], upper[1]), max(e - lowest, 0.0), (), names, reference, method)
    energy, parts = _lowest_mixture(x, known)
    above = e - energy
    return StableWindow(
        None,
        energy_above_hull=above,
        decomposition=parts,
        competing=names,
        reference=reference,
        method=method,
        reason=f"{target.label} is {above:.4f} eV/atom above the hull: it decomposes into "
        f"{' + '.join(name for name, _ in parts)}",
    )


def _share(phase: HullEntry, partner: str) -> float:
    return phase.fractions.get(partner, 0.0)


def _lowest_of_each(phases: list[_Point]) -> list[_Point]:
    """Keep the lowest phase of each composition: the others bound nothing."""
    kept: list[_Point] = []
    for phase in phases:  # sorted
        if not kept or phase[0] > kept[-1][0] + _ROUNDING:
            kept.append(phase)
        elif phase[1] < kept[-1][1]:
            kept[-1] = phase
    return kept


def _lowest_mixture(x: float, phases: list[_Point]) -> tuple[float, tuple[tuple[str, float], ...]]:
    """Return the lowest energy (eV/atom) of one or two phases at x, and their shares of the atoms."""
    # More never coexist in a binary system; pymatgen's phase diagram would be a hundred times slower
    single = [(f, ((name, 1.0),)) for y, f, name in phases if abs(y - x) <= _ROUNDING]
    pairs = [
        ((1 - share) * f + share * g, ((left, 1 - share), (right, share)))
        for y, f, left in phases
        for z, g, right in phases
        if y < x - _ROUNDING and z > x + _ROUNDING
        for share in [(x - y) / (z - y)]
    ]
    return min([*single, *pairs], key=lambda mixture: mixture[0])


def surface_energies_at(
    window: tuple[float, float] | None, surface: Mapping[str, object]
) -> tuple[float, float] | None:
    """Return gamma at both ends of a window from a stored surface's Mg-rich value and slope (eV/A^2).

    None where the window, the value or the slope is missing.
    """
    gamma, slope = surface.get("surface_energy"), surface.get("surface_energy_slope")
    if window is None or not isinstance(gamma, (int, float)) or not isinstance(slope, (int, float)):
        return None
    return gamma + slope * window[0], gamma + slope * window[1]


BULK_FIELDS = (
    "id", "formula", "chemsys", "method_fingerprint", "energy_per_atom", "formation_energy",
    "spacegroup_symbol",
)  # fmt: skip
"""Fields needed of a stored BulkRecord."""

REFERENCE_FIELDS = ("element", "method_fingerprint", "energy_per_atom")
"""Fields needed of a stored ReferenceRecord."""


class KnownPhases:
    """Known phases of any methods and systems, by id; only those of one method and system compete.

    `problems` holds by id, in one line each, why a phase has no energy.
    """

    def __init__(self, phases: Mapping[str, HullEntry], problems: Mapping[str, str]) -> None:
        self._phases, self._problems = phases, problems
        self._systems: dict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)
        for name, entry in phases.items():
            self._systems[_system(entry)].append(name)

    def window_of(self, bulk_id: str) -> StableWindow:
        """Return the window in which a phase is stable against all others of its method and system."""
        target = self._phases.get(bulk_id)
        if bulk_id in self._problems:
            reason = self._problems[bulk_id]
        elif target is None:
            reason = (
                f"its bulk {bulk_id} is not in the store" if bulk_id else "it was ingested without its bulk"
            )
        elif len(target.fractions) > 2:
            reason = f"{target.label}: a window is defined for binaries only"
        else:
            rivals = [self._phases[name] for name in self._systems[_system(target)] if name != bulk_id]
            return stable_window(target, rivals)
        return StableWindow(None, reason=reason)


def _system(entry: HullEntry) -> tuple[str, frozenset[str]]:
    return entry.method, frozenset(entry.fractions)


def stored_phases(
    bulks: Iterable[Mapping[str, Any]],
    references: Iterable[Mapping[str, Any]],
    name_of: MeetingName = lambda fingerprint, elements: fingerprint,
) -> KnownPhases:
    """Return the phases of stored bulks, by the ids of the bulks.

    Formation energies refer to the stored references of the same method, the lowest of an element where there
    are several, so that all phases of a system share their zero. Only where a reference is missing the
    formation energy kept in the bulk counts.

    Parameters
    ----------
    bulks, references
        Documents with `BULK_FIELDS` and `REFERENCE_FIELDS`.
    name_of
        Name of the method under which a record is compared with others (`stores.method_names`).
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
    phases: dict[str, HullEntry] = {}
    problems: dict[str, str] = {}
    for bulk, method in zip(listed, methods, strict=True):
        formula = bulk["formula"]
        polymorph = len(symbols[method, formula]) > 1
        name = f"{formula} {bulk.get('spacegroup_symbol')}" if polymorph else formula
        own = {e: name_of(bulk["method_fingerprint"], (e,)) for e in bulk["chemsys"].split("-")}
        entry = _entry(bulk, {e: mu0[by][e] for e, by in own.items() if e in mu0[by]}, method, name)
        if isinstance(entry, HullEntry):
            phases[bulk["id"]] = entry
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
