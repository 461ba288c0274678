"""Sources of bulk structures: their protocol and what they deliver."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymatgen.core.structure import Structure

    from stores.records import Provenance


@dataclass(frozen=True)
class DatabaseValues:
    """Values of a structure in a database, computed by one method.

    Attributes
    ----------
    method
        Provider and method, e.g. ``oqmd`` or ``mp GGA_GGA+U``. Values of two methods never meet in one hull.
    formation_energy
        From the elements (eV/atom).
    energy_above_hull
        Above the convex hull of that database (eV/atom).
    band_gap
        (eV); 0 for a metal, None if not known.
    """

    method: str
    formation_energy: float | None = None
    energy_above_hull: float | None = None
    band_gap: float | None = None


def number_or_none(value: Any) -> float | None:
    """Return a value of a database's answer if it is a finite number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if is_number else None


@dataclass(frozen=True)
class Candidate:
    """A bulk structure that a source proposes.

    Attributes
    ----------
    structure
        Any cell of the crystal (A), already checked: ordered, no overlapping atoms.
    provenance
        Source, identifiers there, and whether the lattice parameters are an estimate.
    label
        For people, e.g. ``MgZn2 C14`` or ``MgAg.cif``.
    values
        Values of the source's database; empty for files and prototypes.
    """

    structure: Structure
    provenance: Provenance
    label: str
    values: tuple[DatabaseValues, ...] = ()


@runtime_checkable
class Source(Protocol):
    """A source of bulk structures: files, prototypes, a database.

    `candidates` is lazy and yields the same order every time. What a source cannot deliver (a bad file, a
    missing page) adds one line to `problems`, which is complete once the iterator is exhausted and starts
    empty with the next one. Only a mistake that leaves nothing to deliver (no such folder) raises
    `stores.errors.InputError`.
    """

    name: str
    problems: list[str]

    def candidates(self) -> Iterator[Candidate]:
        """Yield the structures one by one."""
        ...
