"""Finished VASP runs that were made by hand, chains of a relaxation and its static run, and their records.

Ids are hashes of the geometry a run began with, its k mesh and settings. Reading the same files again gives
the same records; a run computed again in its place takes its record's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.records import (
    CalculationKind,
    CalculationRecord,
    CalculationStatus,
    Method,
    Provenance,
    content_hash,
)
from stores.structures.document import structure_from_document
from workflows.engines.vasp.potcars import POTCAR_LABELS
from workflows.structures.naming import chemsys, mg_first_formula

if TYPE_CHECKING:
    from pathlib import Path

    from pymatgen.core import Structure

    from stores.records import CalculationOutput
    from workflows.engines.vasp.settings import VaspSettings


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """One VASP run: its folder, output and settings, and the geometry it began with (A).

    Structures of slabs have c along the normal. `free` marks atoms that were free to move; a slab is a cell
    that holds vacuum along one direction; in a relaxation atoms moved.
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
    """A relaxation, the static run that follows it, or both; a slab's relaxation may span several folders."""

    last: FinishedRun  # the run whose energy counts: the static one if there is one
    relaxation: FinishedRun | None = None  # None for a static run alone
    # relaxations that it continues, the oldest first; how they ended does not count
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


SOURCE = "vasp files"  # name of the source in the records' provenance

PRESET = "ingested"


def ingested_method(settings: VaspSettings) -> Method:
    """Return the method of runs with these settings.

    Meshes and force criteria were chosen by hand, run by run, and are no part of it (0 in the record; each
    calculation holds its own). Of the POTCARs the table names only those that differ from the usual choice,
    so that compounds of different elements share a fingerprint; each calculation holds its titles. Tags of
    INCAR that change energies and have no field of their own stand in ``extra["tags"]``, if there are any.
    """
    unusual = {
        element: label for element, label in settings.labels().items() if label != POTCAR_LABELS.get(element)
    }
    return Method(
        engine="vasp",
        preset=PRESET,
        functional=settings.functional,
        cutoff=settings.cutoff,
        k_density=0.0,
        smearing=settings.smearing,
        smearing_width=settings.smearing_width,
        setups={"default": "Materials Project", **unusual},
        force_tolerance=0.0,
        extra={
            "aspherical": settings.aspherical,
            "spin_orbit": settings.spin_orbit,
            "hubbard": dict(settings.hubbard),
            **({"tags": tags} if (tags := settings.tags.method()) else {}),
        },
    )


# one bulk serves many slabs: its record, with its symmetry, is made once
@lru_cache(maxsize=256)
def calculation_of(run: FinishedRun) -> CalculationRecord:
    """Return the record of one run."""
    kind = {
        (False, False): CalculationKind.BULK_STATIC,
        (False, True): CalculationKind.BULK_RELAX,
        (True, False): CalculationKind.SLAB_STATIC,
        (True, True): CalculationKind.SLAB_RELAX,
    }[run.is_slab, run.is_relaxation]
    method = ingested_method(run.settings)
    identity: dict[str, Any] = {
        "kind": kind.value,
        "source": SOURCE,
        "geometry": _geometry_hash(run),
        "kpoints": list(run.output.kpoints or (run.output.details.get("n_kpoints", 0),)),
        # two runs that differ in one of these are two questions, though they may be compared
        "settings": {
            "spin_polarized": run.settings.spin_polarized,
            "initial_moments": list(run.settings.initial_moments),
            "precision": run.settings.precision,
            "real_projection": run.settings.real_projection,
            "dipole_axis": run.settings.dipole_axis,
        },
    }
    if run.is_relaxation:
        identity["frozen"] = [number for number, free in enumerate(run.free) if not free]
        identity["settings"]["isif"] = run.settings.isif
    formula = mg_first_formula(run.initial.composition)
    return CalculationRecord(
        id=content_hash({"identity": identity, "method": method.fingerprint}),
        kind=kind,
        label=f"{formula} {run.directory.name}: {kind.value.replace('_', ' ')}",
        formula=formula,
        chemsys=chemsys(run.initial.composition),
        method=method,
        method_fingerprint=method.fingerprint,
        identity=identity,
        output=run.output,
    )


def _geometry_hash(run: FinishedRun) -> str:
    """Hash of the geometry a run began with, to 0.001 A; independent of the compression of its files."""
    lattice = np.asarray(run.initial.lattice.matrix)
    positions = np.asarray(run.initial.frac_coords) % 1.0 @ lattice
    return content_hash(
        {
            "lattice": [[round(float(x), 3) + 0.0 for x in row] for row in lattice],
            "positions": [[round(float(x), 3) + 0.0 for x in row] for row in positions],
            "species": [site.specie.symbol for site in run.initial],
        }
    )


def provenance_of(*chains: RunChain) -> Provenance:
    """Return the folders of the runs, each once."""
    paths = [str(run.directory.absolute()) for chain in chains for run in chain.runs]
    return Provenance(source=SOURCE, identifiers=list(dict.fromkeys(paths)))
