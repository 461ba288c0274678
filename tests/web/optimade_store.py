"""Stores with bulks and slabs of several chemical systems, for the tests of OPTIMADE."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stores.connections import open_store
from stores.records import BulkRecord, Provenance, SurfaceRecord, Verdict, Verdicts
from tests.methods import GPAW_DEMO
from tests.stores.conftest import make_surface

START = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
COMPOUNDS = {
    "MgAg": ("Ag-Mg", 221), "MgZn2": ("Mg-Zn", 194), "Mg2Ni": ("Mg-Ni", 180), "Mg17Al12": ("Al-Mg", 217),
    "MgCuZn": ("Cu-Mg-Zn", 216), "Mg": ("Mg", 194), "AlNi": ("Al-Ni", 221),
}  # fmt: skip
FACETS = [((1, 0, 0), 0), ((1, 0, 0), 1), ((1, 1, 0), 0), ((1, 1, 1), 0)]


def crystal(amounts: dict[str, int], height: float | None = None) -> dict[str, Any]:
    """A row of atoms along z; with a height a slab in its middle, else a crystal that fills the cell."""
    from pymatgen.core import Lattice, Structure

    symbols = [symbol for symbol, number in amounts.items() for _ in range(number)]
    length = 2.5 * len(symbols)
    lattice = Lattice.tetragonal(3.3, height or length)
    coords = [[0, 0, ((height - length) / 2 if height else 0) + 2.5 * i] for i in range(len(symbols))]
    return dict(Structure(lattice, symbols, coords, coords_are_cartesian=True).as_dict(verbosity=0))


def amounts_of(formula: str) -> dict[str, int]:
    from pymatgen.core import Composition

    return {str(element): int(n) for element, n in Composition(formula).get_el_amt_dict().items()}


def bulks() -> Iterator[BulkRecord]:
    for number, (formula, (chemsys, group)) in enumerate(COMPOUNDS.items()):
        amounts = amounts_of(formula)
        yield BulkRecord(
            id=f"b{number}-{formula.lower()}",
            created_at=START + timedelta(hours=number),
            formula=formula,
            chemsys=chemsys,
            method=GPAW_DEMO,
            method_fingerprint=GPAW_DEMO.fingerprint,
            bulk_key=f"key-{formula}",
            provenance=Provenance(source="mp", identifiers=[f"mp-{100 + number}"]),
            initial_structure=crystal(amounts),
            structure=crystal(amounts),
            spacegroup_number=group,
            spacegroup_symbol="P1",
            initial_spacegroup_number=group,
            energy_per_atom=-2.0 - 0.1 * number,
            energy_per_formula_unit=-4.0,
            formation_energy=None if len(amounts) == 1 else -0.1 * number,
            calculation_id="none",
        )


def surfaces() -> Iterator[SurfaceRecord]:
    for number, (formula, (chemsys, group)) in enumerate(COMPOUNDS.items()):
        for place, (miller, termination) in enumerate(FACETS):
            amounts = {
                symbol: n * 2 + (place == 1 and symbol == "Mg") for symbol, n in amounts_of(formula).items()
            }
            rejected = place == 2
            slab = crystal(amounts, 2.5 * sum(amounts.values()) + 15)
            relaxed = {**slab, "sites": [dict(site) for site in slab["sites"]]}
            relaxed["sites"][0]["abc"] = [0.01, 0, relaxed["sites"][0]["abc"][2]]
            yield make_surface(
                4 * number + place,
                id=f"s{(7 * (4 * number + place)) % 29:02d}-{formula.lower()}",
                created_at=START + timedelta(hours=4 * number + place),
                formula=formula,
                chemsys=chemsys,
                bulk_id=f"b{number}-{formula.lower()}",
                spacegroup_number=group,
                miller_index=miller,
                equivalent_planes=[miller],
                termination=termination,
                termination_key=f"{formula}{place}",
                composition=amounts,
                n_atoms=sum(amounts.values()),
                slab=slab,
                relaxed_slab=None if place == 3 else relaxed,
                surface_energy=None if place == 3 else round(0.03 + 0.01 * place + 0.001 * number, 6),
                surface_energy_x_rich=0.05 if "Mg" in amounts and len(amounts) == 2 else None,
                work_function=3.5 + 0.1 * (number % 3) + 0.01 * place,
                verdicts=Verdicts(
                    surface_energy=Verdict(
                        status="reconstructed" if rejected else "accepted", reason="moved" if rejected else ""
                    ),
                    work_function=Verdict(status="accepted"),
                ),
                **({"reference_element": "Al"} if formula == "AlNi" else {}),
            )


def make_store(path: Path) -> str:
    """Write the records to an SQLite file and return its URI."""
    uri = f"sqlite:///{path}"
    with open_store(uri) as store:
        store.add([*bulks(), *surfaces()])
    return uri
