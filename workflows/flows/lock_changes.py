"""What changed from one lock file to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stores.words import counted

if TYPE_CHECKING:
    from workflows.flows.lock_model import LockedCompound, LockFile

NAMED = 10
"""So many compounds of a kind are named one by one."""


@dataclass
class Changes:
    """Compounds that came, went or changed, each with a line for people.

    Attributes
    ----------
    added, removed
        Labels with their first identifier.
    geometry
        Compounds whose cell or atoms are others.
    other
        Labels of those whose identifiers, energies or slab counts changed, the geometry staying.
    refused
        What changed among the phases that are not listed but compete in hulls; empty if nothing did.
    """

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    geometry: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    refused: str = ""

    def __bool__(self) -> bool:
        """Return whether anything changed."""
        return self.of_crystals or bool(self.other or self.refused)

    @property
    def of_crystals(self) -> bool:
        """Whether other crystals are listed, not only other values of the same ones."""
        return bool(self.added or self.removed or self.geometry)

    def lines(self) -> list[str]:
        """Say what changed, one line per compound up to `NAMED` of a kind."""
        found = []
        for word, labels in (("added", self.added), ("removed", self.removed), ("geometry", self.geometry)):
            found += [f"{word:<9} {label}" for label in labels[:NAMED]]
            if len(labels) > NAMED:
                found.append(f"{word:<9} {len(labels) - NAMED} more")
        if self.other:
            n = len(self.other)
            few = ", ".join(self.other[:3]) + (" ..." if n > 3 else "")
            found.append(
                f"values    {n} compound{'s' * (n > 1)} with other identifiers, energies or counts: {few}"
            )
        if self.refused:
            found.append(f"competing {self.refused}")
        return found


def changes(old: LockFile, new: LockFile) -> Changes:
    """Compare two lists of compounds; two entries are one compound if they share an identifier and a formula.

    Parameters
    ----------
    old, new
        As read, and as it would be written.
    """
    found = Changes()
    by_name = {
        (compound.formula, name): number
        for number, compound in enumerate(old.compounds)
        for name in compound.provenance.identifiers
    }
    left = set(range(len(old.compounds)))
    for compound in new.compounds:
        names = ((compound.formula, name) for name in compound.provenance.identifiers)
        number = next((by_name[name] for name in names if by_name.get(name) in left), None)
        if number is None:
            found.added.append(_named(compound))
            continue
        left.discard(number)
        before = old.compounds[number]
        if (before.lattice, before.sites) != (compound.lattice, compound.sites):
            found.geometry.append(f"{compound.label}: {_difference(before, compound)}")
        elif before != compound:
            found.other.append(compound.label)
    found.removed = [_named(old.compounds[number]) for number in sorted(left)]
    if old.competing != new.competing:
        n, new_ones = len(new.competing), len({*new.competing} - {*old.competing})
        found.refused = f"{counted(n, 'refused phase')}, were {len(old.competing)}; {new_ones} new or changed"
    return found


def _named(compound: LockedCompound) -> str:
    name = compound.provenance.identifiers[0] if compound.provenance.identifiers else ""
    return compound.label if not name or name in compound.label else f"{compound.label} ({name})"


def _difference(before: LockedCompound, after: LockedCompound) -> str:
    """Say how two geometries of a compound differ."""
    words = []
    if before.provenance.source != after.provenance.source:
        words.append(f"taken from {after.provenance.source}, was {before.provenance.source}")
    if before.spacegroup_number != after.spacegroup_number:
        words.append(f"space group {after.spacegroup_symbol}, was {before.spacegroup_symbol}")
    edges = [np.linalg.norm(np.array(compound.lattice), axis=1) for compound in (before, after)]
    change = float(np.abs(edges[1] / edges[0] - 1).max())
    words.append(f"cell edges change by up to {100 * change:.2f} %" if change > 5e-6 else "atoms moved")
    return ", ".join(words)
