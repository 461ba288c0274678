"""Surface records with physical numbers for the command-line tests."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from pymatgen.core import Lattice, Structure

from stores.records import (
    BulkRecord,
    CalculationOutput,
    CalculationRecord,
    PlanarPotential,
    Provenance,
    Reconstruction,
    SurfaceRecord,
    Verdict,
    Verdicts,
    content_hash,
)
from tests.methods import GPAW_DEMO

METHOD = GPAW_DEMO.model_copy(update={"setups": {"Mg": "2", "Ag": "11"}})

FACETS = [
    # formula, partner, spacegroup, hkl, termination, label, gamma, gamma_x, phi
    ("MgAg", "Ag", 221, (1, 0, 0), 0, "Mg", 0.0364, 0.0591, 3.378),
    ("MgAg", "Ag", 221, (1, 0, 0), 1, "Ag", 0.0778, 0.0551, 4.304),
    ("MgAg", "Ag", 221, (1, 1, 0), 0, "MgAg", 0.0505, 0.0505, 4.078),
    ("MgAg", "Ag", 221, (1, 1, 1), 0, "Mg", 0.0537, 0.0690, 3.611),
    ("MgAg", "Ag", 221, (1, 1, 1), 1, "Ag", 0.0722, 0.0572, 3.841),
    ("Mg", "", 194, (0, 0, 1), 0, "Mg", 0.0335, None, 3.691),
    ("Mg", "", 194, (1, 0, 0), 0, "Mg-a", 0.0380, None, 3.602),
    ("Mg", "", 194, (1, 0, 0), 1, "Mg-b", None, None, None),
]


def verdict(status: str = "accepted", reason: str = "") -> Verdict:
    return Verdict(status=status, reason=reason)


def slab_structure(partner: str = "Ag") -> Structure:
    """A B2 (100)-like slab of five layers, 3.3 A wide, in a cell of 23 A."""
    a, height = 3.3, 21.6
    coords = [[0.25 * (i % 2), 0.25 * (i % 2), (height / 2 + (i - 2) * a / 2) / height] for i in range(5)]
    species = ["Mg" if i % 2 == 0 else (partner or "Mg") for i in range(5)]
    return Structure(Lattice.tetragonal(a, height), species, coords)


def potential() -> PlanarPotential:
    height = 21.6
    z = np.linspace(0, height, 216, endpoint=False)
    inside = np.abs(z - height / 2) < 5.0
    values = np.where(inside, -6.0 + 2 * np.cos(2 * np.pi * (z - height / 2) / 1.65), 4.0)
    return PlanarPotential(z=z.tolist(), potential=values.tolist())


def surface(
    formula: str = "MgAg",
    partner: str = "Ag",
    spacegroup: int = 221,
    miller_index: tuple[int, int, int] = (1, 0, 0),
    termination: int = 0,
    label: str = "Mg",
    gamma: float | None = 0.0364,
    gamma_x: float | None = 0.0591,
    phi: float | None = 3.378,
    created_at: datetime | None = None,
    **changes: object,
) -> SurfaceRecord:
    slab = slab_structure(partner)
    verdicts = Verdicts(surface_energy=verdict(), work_function=verdict())
    if gamma is None:
        reason = f"{formula} {miller_index} {label}: slab relax: failed: mpirun ended with status 1"
        verdicts = Verdicts(surface_energy=verdict("failed", reason), work_function=verdict("failed", reason))
    window = (-0.6, 0.0) if partner else None
    fields = {
        "id": content_hash([formula, miller_index, termination, changes.get("campaign", "")]),
        "formula": formula,
        "chemsys": "-".join(sorted({"Mg", partner or "Mg"})),
        "method": METHOD,
        "method_fingerprint": METHOD.fingerprint,
        "campaign": "quickstart",
        "bulk_id": content_hash([formula, "bulk"]),
        "provenance": Provenance(source="prototype", identifiers=["B2"]),
        "spacegroup_number": spacegroup,
        "miller_index": miller_index,
        "termination": termination,
        "termination_label": label,
        "termination_key": "Mg|Ag",
        "cut": 0.0,
        "period": 3.3,
        "n_layers": 5,
        "n_atoms": 5,
        "composition": {"Mg": 3, "Ag": 2} if partner else {"Mg": 5},
        "thickness": 6.6,
        "vacuum": 15.0,
        "area": 10.89,
        "slab": slab.as_dict(),
        "relaxed_slab": slab.as_dict() if gamma is not None else None,
        "energy": -20.0,
        "bulk_energy": -7.0,
        "chemical_potentials": {"Mg": -1.5},
        "formation_energy": -0.6 if partner else 0.0,
        "surface_energy": gamma,
        "surface_energy_x_rich": gamma_x,
        "surface_energy_slope": None if gamma is None or gamma_x is None else (gamma - gamma_x) / 0.6,
        "chemical_potential_window": window,
        "work_function": phi,
        "work_function_sides": None if phi is None else (phi, phi),
        "vacuum_slopes": None if phi is None else (0.0001, -0.0001),
        "vacuum_spreads": None if phi is None else (0.001, 0.001),
        "fermi_energy": None if phi is None else 4.0 - phi,
        "potential": None if phi is None else potential(),
        "reconstruction": Reconstruction(displacement=0.02, bonds_changed=0.0, layers_swapped=False),
        "verdicts": verdicts,
    }
    if created_at:
        fields["created_at"] = created_at
    return SurfaceRecord(**{**fields, **changes})


def quickstart_surfaces() -> list[SurfaceRecord]:
    found = [
        surface(*facet, created_at=datetime(2026, 1, 1 + i, tzinfo=UTC)) for i, facet in enumerate(FACETS)
    ]
    bent = Verdicts(
        surface_energy=verdict(),
        work_function=verdict("vacuum_not_flat", "top: slope 0.014 eV/A (limit 0.01)"),
    )
    found[4] = found[4].model_copy(update={"verdicts": bent})
    return found


def bulk(formula: str = "MgAg") -> BulkRecord:
    structure = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return BulkRecord(
        id=content_hash([formula, "bulk"]),
        formula=formula,
        chemsys="Ag-Mg",
        method=METHOD,
        method_fingerprint=METHOD.fingerprint,
        bulk_key="b2",
        provenance=Provenance(source="prototype", identifiers=["B2"]),
        initial_structure=structure.as_dict(),
        structure=structure.as_dict(),
        spacegroup_number=221,
        spacegroup_symbol="Pm-3m",
        initial_spacegroup_number=221,
        energy_per_atom=-3.5,
        energy_per_formula_unit=-7.0,
        formation_energy=-0.6,
        calculation_id="bulk-relax",
    )


def calculation(kind: str, label: str, status: str = "ok", reason: str = "") -> CalculationRecord:
    return CalculationRecord(
        id=content_hash([kind, label]),
        formula="MgAg",
        chemsys="Ag-Mg",
        method=METHOD,
        method_fingerprint=METHOD.fingerprint,
        kind=kind,
        label=label,
        identity={"label": label},
        output=CalculationOutput(status=status, reason=reason, energy=-7.0 if status == "ok" else None),
    )


def calculations() -> list[CalculationRecord]:
    return [
        calculation("bulk_relax", "MgAg bulk relax"),
        calculation("bulk_relax", "Mg reference"),
        calculation("bulk_static", "MgAg (100) oriented bulk"),
        calculation("slab_relax", "MgAg (100) Mg slab relax"),
        calculation(
            "slab_relax", "MgAg (100) Ag slab relax", "unconverged", "SCF not converged in 400 steps"
        ),
        calculation("slab_relax", "Mg (10-10) Mg-b slab relax", "failed", "mpirun ended with status 1"),
        calculation("slab_static", "MgAg (100) Mg slab static"),
    ]
