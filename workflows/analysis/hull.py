"""Keep the compounds near the convex hull, by energies that databases give.

Databases disagree, because their methods do. Which one decides about a compound does not depend on what it
says of it:

1. An energy above the hull that a database states comes first, for its hull holds all its phases.
2. Otherwise formation energies make a hull, one for each method, of the compounds at hand (and of
   `competing`, where given). Phases that are not among them are missing there, so that it may lie too high
   and the energy above it be too low.
3. Among several methods of equal standing the order of `PREFERENCE` decides, then the alphabet.

A compound without any energy is kept, for nothing speaks against it, and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from stores.errors import InputError
from workflows.analysis.convex_hull import ConvexHull, HullEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workflows.structures.sources.protocol import DatabaseValues

PREFERENCE = ("mp", "alexandria", "oqmd", "aflow", "jarvis")
"""First words of methods, the one that decides first; others follow by the alphabet.

The order is that in which `workflows.structures.sources.merge` takes geometries.
"""


class HasValues(Protocol):
    """What is asked of a candidate."""

    @property
    def formula(self) -> str:
        """Reduced formula."""
        ...

    @property
    def values(self) -> Sequence[DatabaseValues]:
        """What databases say of it."""
        ...


C = TypeVar("C", bound=HasValues)


@dataclass(frozen=True)
class HullPosition:
    """How far a compound is from stability.

    Attributes
    ----------
    energy_above_hull
        (eV/atom).
    method
        Whose energy decided.
    stated
        True if the database says it; False if the hull was made of the formation energies at hand.
    others
        What the methods say that did not decide (eV/atom).
    """

    energy_above_hull: float
    method: str
    stated: bool = True
    others: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NearHull(Generic[C]):
    """Outcome of `keep_near_hull`.

    Attributes
    ----------
    kept, removed
        Candidates in the order given.
    kept_positions, removed_positions
        Where each of them lies; None without any energy.
    limit
        Largest energy above the hull (eV/atom); None if nothing was removed by it.
    """

    kept: list[C]
    kept_positions: list[HullPosition | None]
    removed: list[C]
    removed_positions: list[HullPosition]
    limit: float | None

    @property
    def without_energy(self) -> int:
        """Number of candidates kept because nothing is known of their energy."""
        return sum(position is None for position in self.kept_positions)

    def lines(self) -> list[str]:
        """Say what was done, one line each: removals, unknown energies, who decided, who disagrees."""
        total = len(self.kept) + len(self.removed)
        lines = []
        if self.limit is not None:
            lines.append(
                f"{len(self.removed)} of {total} compounds are more than {self.limit:g} eV/atom above the "
                "hull and are left out"
            )
        if self.without_energy:
            lines.append(f"{self.without_energy} without an energy are kept")
        known = [p for p in [*self.kept_positions, *self.removed_positions] if p is not None]
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
        pairs = [*zip(self.kept, self.kept_positions, strict=True)]
        for candidate, position in [*pairs, *zip(self.removed, self.removed_positions, strict=True)]:
            if position is None:
                continue
            out = position.energy_above_hull > self.limit
            against = {m: e for m, e in position.others.items() if (e > self.limit) is not out}
            if against:
                said = ", ".join(f"{energy:.3f} by {method}" for method, energy in against.items())
                lines.append(
                    f"{candidate.formula}: {'left out' if out else 'kept'} with "
                    f"{position.energy_above_hull:.3f} eV/atom above the hull by {position.method}, "
                    f"though it is {said}"
                )
        return lines


def keep_near_hull(
    candidates: Iterable[C],
    max_energy_above_hull: float | None,
    competing: Iterable[HullEntry] = (),
) -> NearHull[C]:
    """Keep candidates at most so far above the hull, and those of which no energy is known.

    Parameters
    ----------
    candidates
        Merged across sources; each carries the values of all databases that have it.
    max_energy_above_hull
        (eV/atom); None keeps all and only finds their positions.
    competing
        Further phases of any method, such as those that other filters left out: they are no candidates, but
        compete with them where a hull is made of formation energies.

    Raises
    ------
    InputError
        If the limit is negative or no number, or a formula is none.
    """
    if max_energy_above_hull is not None and not 0 <= max_energy_above_hull < math.inf:
        raise InputError(
            f"max_energy_above_hull: {max_energy_above_hull} is no energy of 0 or more; give eV/atom, "
            "such as 0.05"
        )
    listed = list(candidates)
    hulls = _hulls(listed, competing)
    result: NearHull[C] = NearHull([], [], [], [], max_energy_above_hull)
    for candidate in listed:
        position = _position(candidate, hulls)
        if (
            position is not None
            and max_energy_above_hull is not None
            and position.energy_above_hull > max_energy_above_hull
        ):
            result.removed.append(candidate)
            result.removed_positions.append(position)
        else:
            result.kept.append(candidate)
            result.kept_positions.append(position)
    return result


def _hulls(candidates: Iterable[HasValues], competing: Iterable[HullEntry]) -> dict[str, ConvexHull]:
    """One hull for each method that gives formation energies."""
    entries: dict[str, list[HullEntry]] = {}
    for entry in competing:
        if not math.isfinite(entry.formation_energy):
            continue
        entries.setdefault(entry.method, []).append(entry)
    for candidate in candidates:
        for method, energy in _lowest(candidate, "formation_energy").items():
            entries.setdefault(method, []).append(HullEntry(candidate.formula, energy, method))
    return {method: ConvexHull(found) for method, found in entries.items()}


def _position(candidate: HasValues, hulls: dict[str, ConvexHull]) -> HullPosition | None:
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


def _lowest(candidate: HasValues, name: str) -> dict[str, float]:
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
