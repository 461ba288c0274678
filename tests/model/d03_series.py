"""Labelled slabs of D0_3 compounds of Mg whose surface energies follow a formula."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from pymatgen.core import Element, Lattice, Structure

from stores.labelled import LabelRecord, source_fingerprint
from workflows.structures.slabs import SlabSettings, enumerate_slabs

SERIES = ("La", "Ce", "Nd", "Pm", "Tb", "Dy", "Ho", "Y", "Lu")
"""Partners of the D0_3 compounds, similar to each other."""
CHANGE = 0.001  # of the surface energies from one compound to another (eV/A^2)


@cache
def cuts() -> tuple[Structure, ...]:
    """Slabs of D0_3 Mg3La up to (111)."""
    bulk = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(7.4), ["La", "Mg", "Mg"], [[0, 0, 0], [0.5] * 3, [0.25] * 3]
    )
    return tuple(
        s.structure for f in enumerate_slabs(bulk, SlabSettings(min_thickness=20, vacuum=15)) for s in f.slabs
    )


def label(partner: str, number: int, gamma: float, phi: float, name: str = "") -> LabelRecord:
    """A facet of Mg3X, with a lattice that follows the partner's radius."""
    scale = 1 + 0.1 * (float(Element(partner).atomic_radius) - 1.95) / 1.95
    slab = cuts()[number].copy()
    slab.replace_species({"La": partner})
    slab.scale_lattice(slab.volume * scale**3)
    name = name or f"{partner}-{number}"
    composition = {str(element): int(count) for element, count in slab.composition.items()}
    return LabelRecord(
        id=name,
        source="others",
        source_id=name,
        method_fingerprint=source_fingerprint("others"),
        formula=slab.composition.reduced_formula,
        chemsys=slab.composition.chemical_system,
        composition=composition,
        n_atoms=len(slab),
        compound=f"Mg3{partner} {26 * scale**3:.3f}",
        slab=slab,
        geometry="as_cut",
        targets={"surface_energy": gamma, "work_function": phi},
    )


def units(record: LabelRecord) -> float:
    """Formula units per area of both sides (1/A^2)."""
    a, b, _ = np.array(record.slab["lattice"]["matrix"])
    partner = next(count for symbol, count in record.composition.items() if symbol != "Mg")
    return partner / (2 * float(np.linalg.norm(np.cross(a, b))))


def series(partners: Sequence[str]) -> list[LabelRecord]:
    """All facets of Mg3X; surface energies and work functions change a little along the series."""
    records = []
    for place, partner in enumerate(partners):
        for number in range(len(cuts())):
            gamma = 0.05 + 0.007 * number + CHANGE * np.sin(3 * place + number)
            records.append(label(partner, number, gamma, 2.8 + 0.2 * number + 0.05 * np.cos(place + number)))
    return records
