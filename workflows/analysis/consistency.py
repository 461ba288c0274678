"""Whether calculations may meet in one surface energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stores.records import CalculationRecord, StructureDict

FIELDS = {
    "engine": "engine",
    "preset": "preset",
    "functional": "functional",
    "cutoff": "cut-off",
    "k_density": "k density",
    "smearing": "smearing",
    "smearing_width": "smearing width",
    "setups": "setups",
    "force_tolerance": "force tolerance",
    "label_convention": "label convention",
    "extra": "further settings",
}
"""Fields of `Method` and their names in messages."""

CELL_TOLERANCE = 1e-3
"""Largest relative difference of the in-plane cell (edges and short diagonal) that counts as agreement."""


def check_consistency(
    slab: CalculationRecord, bulk: CalculationRecord, references: Iterable[CalculationRecord] = ()
) -> list[str]:
    """Say why the energies of a slab, its bulk and the elements may not be subtracted.

    They must agree in every field of their methods (functional, cut-off, smearing, label convention, ...),
    in the PAW setup or POTCAR actually used for each shared element, and slab and oriented bulk in their
    in-plane cell and k mesh. Errors that cancel only between equal settings are larger than a surface
    energy.

    Parameters
    ----------
    slab
        Calculation of the slab's energy.
    bulk
        Static calculation of the facet's oriented bulk cell.
    references
        Calculations of the elements' ground states.

    Returns
    -------
    list of str
        One line per disagreement; empty if the energies may meet.
    """
    reasons = []
    for other in (bulk, *references):
        reasons += _method_differences(slab, other)
        reasons += _setup_differences(slab, other)
    reasons += _mesh_differences(slab, bulk)
    return reasons


def _method_differences(slab: CalculationRecord, other: CalculationRecord) -> list[str]:
    shared = set(slab.chemsys.split("-")) & set(other.chemsys.split("-"))
    ours, theirs = (record.method.for_elements(shared).model_dump() for record in (slab, other))
    return [
        f"{FIELDS.get(name, name)} of {other.label} is {_short(theirs[name])}, "
        f"of the slab {_short(ours[name])}"
        for name in ours
        if ours[name] != theirs[name] and (name != "setups" or ours["engine"] == theirs["engine"])
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _setup_differences(slab: CalculationRecord, other: CalculationRecord) -> list[str]:
    ours, theirs = slab.output.setups, other.output.setups
    return [
        f"setup of {element} in {other.label} is {theirs[element]}, in the slab {ours[element]}"
        for element in sorted(set(ours) & set(theirs))
        if _different_setups(ours[element], theirs[element])
    ]


def _different_setups(ours: str, theirs: str) -> bool:
    """Compare names, and checksums where both have one: ``11 (md5 1a2b3c4d)``."""
    (our_name, _, our_sum), (their_name, _, their_sum) = (s.partition(" (md5 ") for s in (ours, theirs))
    return our_name != their_name or bool(our_sum and their_sum and our_sum != their_sum)


def _mesh_differences(slab: CalculationRecord, bulk: CalculationRecord) -> list[str]:
    reasons = []
    ours, theirs = slab.output.kpoints, bulk.output.kpoints
    if ours is not None and theirs is not None and ours[:2] != theirs[:2]:
        reasons.append(
            f"in-plane k mesh of {bulk.label} is {theirs[0]} x {theirs[1]}, of the slab {ours[0]} x {ours[1]}"
        )
    if slab.output.structure is not None and bulk.output.structure is not None:
        difference = np.abs(_in_plane(slab.output.structure) / _in_plane(bulk.output.structure) - 1).max()
        if difference > CELL_TOLERANCE:
            reasons.append(
                f"in-plane cell of {bulk.label} differs from the slab's by {100 * difference:.2f} %"
            )
    return reasons


def _in_plane(structure: StructureDict) -> np.ndarray:
    """Lengths of a and b (A) and of a - b (A), which fix the in-plane cell up to a rotation."""
    a, b = np.asarray(structure["lattice"]["matrix"], dtype=float)[:2]
    return np.array([np.linalg.norm(a), np.linalg.norm(b), np.linalg.norm(a - b)])
