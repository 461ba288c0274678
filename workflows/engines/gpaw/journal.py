"""A calculator that remembers: the way an interrupted relaxation goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

# Geometries that agree to this many decimals (A) are the same; a replayed path agrees exactly.
DECIMALS = 7


def geometry_key(atoms: Atoms, mesh: tuple[int, ...]) -> str:
    """Return a hash of a geometry and its k mesh."""
    numbers = np.round(np.concatenate([np.ravel(atoms.cell[:]), np.ravel(atoms.positions)]), DECIMALS) + 0.0
    text = json.dumps([atoms.numbers.tolist(), list(mesh), numbers.tolist()])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Journal:
    """Results of finished geometries, one JSON line each; a line cut short by a kill is ignored.

    Parameters
    ----------
    path
        The file; read if it exists.
    writes
        True on the one rank that writes.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.entries: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    entry = json.loads(line)
                    self.entries.setdefault(entry["key"], {}).update(entry["results"])
                except (ValueError, KeyError, TypeError):
                    continue

    def add(self, key: str, results: dict[str, Any]) -> None:
        """Keep results; on the writing rank, on disk too before this returns."""
        self.entries.setdefault(key, {}).update(results)
        if self.writes:
            with self.path.open("a") as file:
                # The leading newline ends a line that an earlier kill may have cut short.
                file.write("\n" + json.dumps({"key": key, "results": results}) + "\n")


class JournalCalculator(Calculator):
    """Answers from the journal where it can, else from a real calculator.

    A relaxation that is started again asks for the same geometries in the same order: the finished ones
    cost nothing, and the optimiser builds up the same Hessian on the way.

    Parameters
    ----------
    journal
        Where results are kept.
    mesh
        k mesh, part of the key.
    compute
        Computes the named properties of a geometry: energy (eV), free_energy (eV), forces (eV/A),
        stress (eV/A^3).
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        journal: Journal,
        mesh: tuple[int, ...],
        compute: Callable[[Atoms, list[str]], dict[str, Any]],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.journal = journal
        self.mesh = mesh
        self.compute = compute

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results` with at least the properties asked for (ASE's interface)."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        geometry = self.atoms
        if geometry is None:
            raise ValueError("a calculator needs atoms")
        key = geometry_key(geometry, self.mesh)
        wanted = list(properties or ["energy"])
        known = self.journal.entries.get(key, {})
        if any(name not in known for name in wanted):
            self.journal.add(key, self.compute(geometry, wanted))
            known = self.journal.entries[key]
        self.results.update(
            {name: np.array(value) if isinstance(value, list) else value for name, value in known.items()}
        )
