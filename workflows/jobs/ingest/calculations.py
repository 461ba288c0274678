"""Records of single VASP runs that were made by hand.

Ids are hashes of what was asked: the geometry a run began with, its k mesh and settings. Reading the same
files again gives the same records; a run computed again in its place takes its record's place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.records import CalculationKind, CalculationRecord, Provenance, content_hash
from workflows.jobs.ingest.settings import ingested_method
from workflows.structures.naming import chemsys, mg_first_formula

if TYPE_CHECKING:
    from workflows.jobs.ingest.runs import FinishedRun, RunChain

SOURCE = "vasp files"
"""Name of the source in the records' provenance."""


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
