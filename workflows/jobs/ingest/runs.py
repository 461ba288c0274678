"""A finished VASP run that was read, and the chain of a relaxation and its static run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stores.records import CalculationStatus
from stores.structures.document import structure_from_document

if TYPE_CHECKING:
    from pathlib import Path

    from pymatgen.core import Structure

    from stores.records import CalculationOutput
    from workflows.engines.vasp.settings import VaspSettings


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """One VASP run.

    Attributes
    ----------
    directory
        Its folder.
    output
        What came out; structures of slabs have c along the normal.
    settings
        What it was computed with.
    initial
        Geometry it began with (A); of a slab with c along the normal.
    free
        Whether each atom was free to move.
    is_slab
        Whether the cell holds vacuum along one direction.
    is_relaxation
        Whether atoms moved.
    """

    directory: Path
    output: CalculationOutput
    settings: VaspSettings
    initial: Structure
    free: tuple[bool, ...]
    is_slab: bool
    is_relaxation: bool

    @property
    def final(self) -> Structure:
        """Geometry it ended with, or began with if it failed (A)."""
        plain = self.output.structure
        return self.initial if plain is None else structure_from_document(plain, str(self.directory))

    @property
    def failed(self) -> bool:
        """Whether it gave no result."""
        return self.output.status is CalculationStatus.FAILED

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols, sorted."""
        return tuple(sorted({site.specie.symbol for site in self.initial}))


@dataclass(frozen=True, eq=False)
class RunChain:
    """A relaxation, the static run that follows it, or both.

    A slab's relaxation may have been gone on with in other folders.

    Attributes
    ----------
    last
        The run whose energy counts: the static one if there is one.
    relaxation
        None for a static run alone.
    earlier
        Relaxations that it continues, the oldest first; how they ended does not count.
    """

    last: FinishedRun
    relaxation: FinishedRun | None = None
    earlier: tuple[FinishedRun, ...] = ()

    @property
    def first(self) -> FinishedRun:
        """The run that began with the geometry as built."""
        return self.earlier[0] if self.earlier else self.relaxation or self.last

    @property
    def runs(self) -> tuple[FinishedRun, ...]:
        """In order."""
        return (*self.earlier, *self.judged)

    @property
    def judged(self) -> tuple[FinishedRun, ...]:
        """The runs that must have ended well."""
        if self.relaxation is None or self.relaxation is self.last:
            return (self.last,)
        return (self.relaxation, self.last)
