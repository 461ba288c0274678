"""The protocol of DFT engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pymatgen.core import Structure

    from stores.records import CalculationOutput, Method

KMesh = tuple[int, int, int]

TASK_FILE = "calculation.json"
"""File in the folder of every calculation that names it; engines leave it there."""


def reads_folders(engine: object) -> bool:
    """Return whether an engine takes finished calculations from their folders instead of repeating them."""
    return getattr(engine, "reads_folders", False) is True


def revision(engine: object, elements: Iterable[str]) -> dict[str, Any]:
    """Return what an engine has corrected for crystals of these elements without a change of settings.

    The values of its method ``revision`` enter the ids of these calculations, so that wrong ones in older
    stores are not reused; empty where the engine has none.
    """
    method = getattr(engine, "revision", None)
    return {} if method is None else method(elements)


@runtime_checkable
class Engine(Protocol):
    """Four calculations behind one schema.

    Every calculation runs in `directory`, which exists and belongs to it alone; an interrupted attempt may
    be resumed from its files there. A calculation that does not converge or crashes returns a
    `CalculationOutput` with that status; only a mistake in the set-up (missing program, refused element)
    raises `stores.errors.EngineError`. Slabs have c along the surface normal. An engine that returns a
    finished calculation in `directory` without computing has an attribute ``reads_folders = True``.
    """

    name: str

    def method(self) -> Method:
        """Return the settings that decide the numbers."""
        ...

    def check_elements(self, elements: Iterable[str]) -> None:
        """Raise `EngineError` in one line if the engine cannot treat one of the elements."""
        ...

    def kpoints(self, structure: Structure, *, slab: bool = False) -> KMesh:
        """Return the Gamma-centred mesh of a cell; 1 along c for a slab."""
        ...

    def relax_bulk(self, structure: Structure, directory: Path) -> CalculationOutput:
        """Relax cell and positions, keeping the space group where the engine can."""
        ...

    def static_bulk(self, structure: Structure, kpoints: KMesh, directory: Path) -> CalculationOutput:
        """Compute the energy of a bulk cell as given."""
        ...

    def relax_slab(
        self, structure: Structure, free: Sequence[bool], kpoints: KMesh, directory: Path
    ) -> CalculationOutput:
        """Relax the atoms marked free in the fixed cell; every other atom stays where it is."""
        ...

    def static_slab(
        self, structure: Structure, kpoints: KMesh, directory: Path, prev_dir: Path | None = None
    ) -> CalculationOutput:
        """Compute energy, Fermi energy and planar-averaged electrostatic potential of a slab."""
        ...
