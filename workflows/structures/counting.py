"""The slabs of a crystal counted and measured without building one.

A slab lies between two cuts, so its thickness follows from their heights and its atoms from the heights of
the atoms of the primitive cell: enough to list thousands of compounds and to estimate what they will cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from workflows.structures.crystal import Crystal, crystal_of
from workflows.structures.facets import Miller, canonical_facet, check_indices, distinct_facets
from workflows.structures.naming import LARGEST_INDEX
from workflows.structures.planes import ROUNDING, TOLERANCE, Cut, Plane, plane_of
from workflows.structures.terminations import terminations_of
from workflows.structures.tolerances import SYMPREC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure


@dataclass(frozen=True)
class SlabSize:
    """What a slab's cost depends on.

    Attributes
    ----------
    species
        Number of atoms of each element, elements in alphabetical order.
    in_plane
        Components a1x, a2x, a2y of the surface cell (A); a1 lies along x.
    thickness
        From the lowest to the highest atom (A).
    """

    species: tuple[tuple[str, int], ...]
    in_plane: tuple[float, float, float]
    thickness: float

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return sum(n for _, n in self.species)

    @property
    def area(self) -> float:
        """Of one side (A^2)."""
        return self.in_plane[0] * self.in_plane[2]

    def lattice(self, vacuum: float) -> NDArray[np.float64]:
        """Rows: cell of the slab with so much vacuum (A), c along the normal; shape (3, 3)."""
        a1x, a2x, a2y = self.in_plane
        return np.array([[a1x, 0.0, 0.0], [a2x, a2y, 0.0], [0.0, 0.0, self.thickness + vacuum]])


@dataclass(frozen=True)
class FacetCount:
    """The slabs of one facet by their sizes.

    Attributes
    ----------
    miller_index
        hkl in the conventional standard cell.
    slabs
        One per slab that `workflows.structures.slabs.enumerate_slabs` would cut, in its order unless
        terminations tie.
    is_polar
        True if the direction is polar, where no symmetric slab exists.
    n_too_large
        Slabs left out for having too many atoms.
    """

    miller_index: Miller
    slabs: tuple[SlabSize, ...]
    is_polar: bool = False
    n_too_large: int = 0


def count_slabs(
    bulk: Structure | Crystal,
    *,
    max_miller_index: int = 1,
    miller_indices: Sequence[Miller] | None = None,
    min_thickness: float = 10.0,
    layer_tolerance: float = 0.1,
    max_terminations: int | None = None,
    max_atoms: int | None = 200,
    symprec: float = SYMPREC,
) -> list[FacetCount]:
    """Count and measure the symmetric slabs of every facet.

    Parameters, order of the facets and errors are those of `workflows.structures.slabs.enumerate_slabs`.
    """
    check_arguments(
        lengths={"min_thickness": min_thickness, "symprec": symprec},
        counts={
            "max_miller_index": max_miller_index,
            "max_terminations": max_terminations,
            "max_atoms": max_atoms,
        },
        layer_tolerance=layer_tolerance,
        miller_indices=miller_indices,
    )
    crystal = bulk if isinstance(bulk, Crystal) else crystal_of(bulk, symprec)
    return [
        _count_facet(plane_of(crystal, facet), min_thickness, layer_tolerance, max_terminations, max_atoms)
        for facet in facets_of(crystal, max_miller_index, miller_indices)
    ]


def facets_of(
    crystal: Crystal, max_miller_index: int, miller_indices: Sequence[Miller] | None = None
) -> list[Miller]:
    """Return the facets wanted, equivalent ones merged; all up to `max_miller_index` if none are named.

    Raises
    ------
    InputError
        As `workflows.structures.facets.check_indices`.
    """
    if miller_indices is None:
        return distinct_facets(crystal, max_miller_index)
    for h in miller_indices:
        check_indices(crystal, h)
    return list(dict.fromkeys(canonical_facet(crystal, h) for h in miller_indices))


def _count_facet(
    plane: Plane,
    min_thickness: float,
    layer_tolerance: float,
    max_terminations: int | None,
    max_atoms: int | None,
) -> FacetCount:
    if plane.is_polar:
        return FacetCount(plane.miller_index, (), is_polar=True)
    cuts, _ = plane.cuts(layer_tolerance)
    distinct = cuts[: len(cuts) // plane.n_shifts]
    if max_terminations is not None and len(distinct) > max_terminations:
        # which ones have the widest gaps is a question of order, ties included
        distinct = [t.cut for t in terminations_of(plane, cuts)[:max_terminations]]
    else:
        distinct = sorted(distinct, key=lambda cut: -cut.gap)
    basis = plane.cartesian_basis
    in_plane = (float(basis[0, 0]), float(basis[1, 0]), float(basis[1, 1]))
    elements = sorted(set(plane.species))
    slabs, n_too_large = [], 0
    for cut in distinct:
        bottom, top = thinnest(plane, cut, min_thickness)
        first, last = atom_ranges(plane, bottom, top)
        repeats = last - first + 1
        if max_atoms is not None and int(repeats.sum()) > max_atoms:
            n_too_large += 1
            continue
        species = tuple(
            (element, int(repeats[[s == element for s in plane.species]].sum())) for element in elements
        )
        thickness = (top.position - bottom.position) * plane.spacing - bottom.gap
        slabs.append(SlabSize(species, in_plane, float(thickness)))
    return FacetCount(plane.miller_index, tuple(slabs), n_too_large=n_too_large)


def thinnest(plane: Plane, bottom: Cut, min_thickness: float) -> tuple[Cut, Cut]:
    """Return the bottom cut and the lowest top cut 2 z0 - p that makes the slab thick enough.

    The top cut is given as an image of one of the plane's cuts at its true height.
    """
    step = 1.0 / plane.n_shifts
    offset = (float(plane.reversals[0]) - 2 * bottom.position) % step
    # thickness = (2 z0 - p) - p less half a gap on each side; both gaps are equal by symmetry
    needed = (min_thickness - ROUNDING) / plane.spacing + bottom.gap / plane.spacing
    k = ceil((needed - offset) / step - 1e-9)
    top_position = bottom.position + offset + max(k, 0) * step
    return bottom, Cut(
        position=top_position,
        gap=bottom.gap,
        below=top_position - bottom.gap / (2 * plane.spacing),
        above=top_position + bottom.gap / (2 * plane.spacing),
    )


def count_layers(cuts: list[Cut], bottom: Cut, top: Cut) -> int:
    """Count the layers between two cuts: one for each cut above the bottom one, up to the top one."""
    positions = np.array([cut.position for cut in cuts])
    low, high = bottom.position + TOLERANCE, top.position + TOLERANCE
    return int((np.floor(high - positions) - np.floor(low - positions)).sum())


def atom_ranges(plane: Plane, bottom: Cut, top: Cut) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each primitive atom the first and last plane number that lies between the cuts."""
    heights = plane.coordinates[:, 2]
    first = np.ceil(bottom.position - heights).astype(int)
    last = np.floor(top.position - heights).astype(int)
    return first, last


LONGEST = 1000.0
"""Longest thickness, vacuum or tolerance (A): atoms of a thicker slab fill the memory."""


def check_arguments(
    lengths: dict[str, float],
    counts: dict[str, int | None],
    layer_tolerance: float,
    miller_indices: Sequence[Miller] | None,
) -> None:
    """Refuse limits that make no sense.

    Raises
    ------
    InputError
        In one line for all of them.
    """
    wrong = [
        f"{name} is {x} A; give a length above 0 and up to {LONGEST:g}"
        for name, x in lengths.items()
        if not 0 < x <= LONGEST
    ]
    wrong += [f"{name} is {n}; give 1 or more" for name, n in counts.items() if n is not None and n < 1]
    if not 0 <= layer_tolerance < inf:
        wrong.append(f"layer_tolerance is {layer_tolerance} A; give 0 or more")
    if miller_indices is not None and not len(miller_indices):
        wrong.append("miller_indices is empty; give at least one plane, or None for all of them")
    for h in miller_indices or []:
        if len(h) != 3 or not any(h):
            text = "".join(map(str, h))
            wrong.append(f"miller index ({text}) is not a plane; give three integers, not all zero")
        elif max(map(abs, h)) > LARGEST_INDEX:
            wrong.append(f"miller index {str(tuple(h))[:60]}: indices end at {LARGEST_INDEX}; correct it")
    if wrong:
        raise InputError("slabs: " + "; ".join(wrong))
