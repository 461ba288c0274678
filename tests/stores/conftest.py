"""One store of every kind, and records to fill them with."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stores.records import (
    BulkRecord,
    CalculationOutput,
    CalculationRecord,
    PlanarPotential,
    Provenance,
    ReferenceRecord,
    SurfaceRecord,
    Verdict,
    Verdicts,
)
from tests.methods import GPAW_DEMO

START = datetime(2026, 1, 1, tzinfo=UTC)


def old_store() -> bytes:
    """Return an SQLite store that mgsurf wrote before documents had checksums."""
    return gzip.decompress(Path(__file__).with_name("version_1.sqlite.gz").read_bytes())


@pytest.fixture(params=["sqlite", "memory", "mongodb", "folder"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URI of an empty store of each kind."""
    name = f"test_{uuid.uuid4().hex}"
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/records.sqlite"
    elif request.param == "folder":
        yield f"folder://{tmp_path}/records"
    elif request.param == "memory":
        yield f"memory://{name}"
    else:
        import pymongo

        uri = request.getfixturevalue("mongo_uri")
        yield uri + name
        with pymongo.MongoClient(uri) as client:
            client.drop_database(name)


def slab_dict() -> dict[str, Any]:
    from pymatgen.core import Lattice, Structure

    lattice = Lattice.orthorhombic(3.3, 4.7, 30)
    return dict(
        Structure(lattice, ["Mg", "Ag", "Mg", "Ag"], [[0, 0, z] for z in (0.4, 0.45, 0.5, 0.55)]).as_dict(
            verbosity=0
        )
    )


def make_surface(number: int = 0, **changes: Any) -> SurfaceRecord:
    values: dict[str, Any] = {
        "id": f"surface-{number}",
        "created_at": START + timedelta(hours=number),
        "formula": "MgAg",
        "chemsys": "Ag-Mg",
        "method": GPAW_DEMO,
        "method_fingerprint": GPAW_DEMO.fingerprint,
        "bulk_id": "bulk-0",
        "provenance": Provenance(source="prototype", identifiers=["B2"]),
        "spacegroup_number": 221,
        "miller_index": (1, 1, 0),
        "termination": number,
        "termination_label": "Mg",
        "termination_key": f"Mg|Ag|{number}",
        "cut": 0.1,
        "period": 2.3,
        "n_layers": 4,
        "n_atoms": 4,
        "composition": {"Mg": 2, "Ag": 2},
        "thickness": 4.5,
        "vacuum": 25.5,
        "area": 15.51,
        "slab": slab_dict(),
        "surface_energy": 0.03 + 0.001 * number,
        "work_function": 3.5 + 0.1 * number,
        "potential": PlanarPotential(z=[0.0, 0.1], potential=[1.0, 2.5]),
        "verdicts": Verdicts(
            surface_energy=Verdict(status="accepted"), work_function=Verdict(status="accepted")
        ),
    }
    return SurfaceRecord(**{**values, **changes})


def make_calculation(number: int = 0, **changes: Any) -> CalculationRecord:
    values: dict[str, Any] = {
        "id": f"calculation-{number}",
        "formula": "MgAg",
        "chemsys": "Ag-Mg",
        "method": GPAW_DEMO,
        "method_fingerprint": GPAW_DEMO.fingerprint,
        "kind": "slab_static",
        "label": "MgAg (110) Mg slab static",
        "identity": {"bulk": "x", "facet": [1, 1, 0]},
        "output": CalculationOutput(status="ok", energy=-12.5, kpoints=(4, 4, 1), structure=slab_dict()),
    }
    return CalculationRecord(**{**values, **changes})


def make_bulk(number: int = 0) -> BulkRecord:
    return BulkRecord(
        id=f"bulk-{number}",
        formula="MgAg",
        chemsys="Ag-Mg",
        method=GPAW_DEMO,
        method_fingerprint=GPAW_DEMO.fingerprint,
        bulk_key="key",
        provenance=Provenance(source="file"),
        initial_structure=slab_dict(),
        structure=slab_dict(),
        spacegroup_number=221,
        spacegroup_symbol="Pm-3m",
        initial_spacegroup_number=221,
        energy_per_atom=-2.2,
        energy_per_formula_unit=-4.4,
        calculation_id="calculation-0",
    )


def make_reference(number: int = 0) -> ReferenceRecord:
    return ReferenceRecord(
        id=f"reference-{number}",
        formula="Mg",
        chemsys="Mg",
        method=GPAW_DEMO,
        method_fingerprint=GPAW_DEMO.fingerprint,
        element="Mg",
        prototype="A3",
        structure=slab_dict(),
        energy_per_atom=-1.5,
        calculation_id="calculation-0",
    )


@pytest.fixture
def surface() -> Callable[..., SurfaceRecord]:
    """Makes a surface record; its number decides id, time, surface energy and work function."""
    return make_surface


@pytest.fixture
def one_of_each() -> list[Any]:
    """One record of every class."""
    return [make_surface(), make_bulk(), make_reference(), make_calculation()]
