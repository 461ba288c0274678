"""A slab in numbers that follow from one call of a universal potential: the energies of its atoms.

The surface energy is the potential's own, from the slab alone. The reference is the crystal inside it: the
mean energy of the atoms of each element in one repeat in the middle, which holds every site of the crystal as
often as the crystal does. Mg that the slab has beyond the crystal's composition costs what an atom of hcp Mg
costs in the same potential (the Mg-rich end, see docs/physics.md). Without a repeat the energies are those in
the innermost 3 A, which need not have the crystal's composition: that of the slab stands for it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from model.baselines.descriptors import LAYERS, MAGNESIUM
from model.graphs.slab_frame import SlabFrame
from model.graphs.thickness import NoRepeatError, find_opening

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

INNERMOST = 1.5  # half the height of what stands for the crystal where a slab shows no repeat (A)
SURFACE_DEPTH = 5.0  # atoms above it are those near the surface (A)
LEAST_SEEN = 1e-6  # weights that add up to no more are of atoms that are not there


def describe_energies(
    frame: SlabFrame, energies: NDArray[np.float32], magnesium: float
) -> NDArray[np.float32]:
    """Return the numbers of a slab.

    Parameters
    ----------
    frame
        The slab that the potential was called with.
    energies
        [N] float32, of its atoms in their order (eV).
    magnesium
        Energy of an atom of hcp Mg in the same potential (eV).

    Returns
    -------
    ndarray
        [F] float32 in the order of `feature_names`: energies per area in eV/A^2, energies of atoms in eV.
    """
    values = _describe(frame, energies.astype(np.float64), magnesium).values()
    return np.array(list(values), dtype=np.float32)


@cache
def feature_names() -> tuple[str, ...]:
    """Return the names of the F features."""
    one = np.zeros(1)
    atom = SlabFrame(np.array([MAGNESIUM]), np.eye(2), np.zeros((1, 2)), one, 10.0)
    return tuple(_describe(atom, one, 0.0))


def _describe(frame: SlabFrame, energies: Array, magnesium: float) -> dict[str, float]:
    areas = 2 * frame.area
    inside, is_repeat = _crystal(frame)
    bulk = _mean_by_element(frame.numbers, energies, inside)
    excess = energies - np.array([bulk[int(number)] for number in frame.numbers])  # [N]
    is_mg = frame.numbers == MAGNESIUM
    extra = _extra_magnesium(frame.numbers, inside) if is_repeat else 0.0
    mg_in_crystal = bulk.get(MAGNESIUM, magnesium)
    depth = np.minimum(frame.heights, frame.thickness - frame.heights)
    near = depth < SURFACE_DEPTH
    found = {
        "surface energy": (excess.sum() + extra * (mg_in_crystal - magnesium)) / areas,
        "excess near the surface": excess[near].sum() / areas,
        "excess of Mg": excess[is_mg].sum() / areas,
        "extra Mg": extra / areas,
        "Mg in the crystal": mg_in_crystal - magnesium,
        "largest excess": excess[near].max(initial=0.0),
        "least excess": excess[near].min(initial=0.0),
    }
    for layer, (centre, width) in LAYERS.items():
        weights = np.exp(-(((depth - centre) / width) ** 2))
        whole = weights.sum()
        share = weights / whole if whole > LEAST_SEEN else np.zeros_like(weights)
        found[f"{layer} excess"] = (weights * excess).sum() / areas
        found[f"{layer} excess of an atom"] = (share * excess).sum()
    return {name: float(value) for name, value in found.items()}


def _crystal(frame: SlabFrame) -> tuple[NDArray[np.bool_], bool]:
    """Which atoms [N] stand for the crystal inside, and whether they are one repeat of it."""
    with suppress(NoRepeatError):
        cut, motion = find_opening(frame)
        return (frame.heights > cut - motion.rise) & (frame.heights <= cut), True
    return np.abs(frame.heights - frame.thickness / 2) <= INNERMOST, False


def _mean_by_element(
    numbers: NDArray[np.int64], energies: Array, inside: NDArray[np.bool_]
) -> dict[int, float]:
    """Mean energy of the inner atoms of each element; of all its atoms where none lies inside."""
    found = {}
    for number in np.unique(numbers).tolist():
        own = numbers == number
        inner = own & inside
        found[number] = float(energies[inner if inner.any() else own].mean())
    return found


def _extra_magnesium(numbers: NDArray[np.int64], inside: NDArray[np.bool_]) -> float:
    """Atoms of Mg beyond those that the crystal has for the slab's partners; 0 without partners."""
    partners = numbers != MAGNESIUM
    if not (partners & inside).any():
        return 0.0
    per_partner = (~partners & inside).sum() / (partners & inside).sum()
    return float((~partners).sum() - per_partner * partners.sum())
