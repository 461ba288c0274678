"""Which planes of a crystal are different facets, and their indices in the cell the crystal was given in."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from workflows.structures.naming import (
    LARGEST_INDEX,
    FourIndex,
    format_miller,
    format_plane,
    has_hexagonal_axes,
    mg_first_formula,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from workflows.structures.crystal import Crystal

Miller = tuple[int, int, int]

HEXAGONAL_TOLERANCE = 1e-2
"""By which a hexagonal cell may differ from equal edges and 120 degrees, relative to the edges."""


def equivalent_planes(crystal: Crystal, miller_index: Miller) -> set[Miller]:
    """Return all planes that the crystal's point group, with inversion added, makes of one.

    Inversion is added because both sides of a slab show: (hkl) and (-h -k -l) are the two sides of the same
    cut. The symmetry of the bare lattice is not used: it would merge (101) and (10-1) of Mg3Sb2 (P-3m1),
    which have different terminations.
    """
    images = {_miller(h) for h in (np.array(miller_index) @ crystal.point_group).tolist()}
    return images | {(-a, -b, -c) for a, b, c in images}


def canonical_facet(crystal: Crystal, miller_index: Miller) -> Miller:
    """Return the representative of a facet: smallest indices, fewest minus signs, large indices first."""
    divisor = gcd(*miller_index)
    if divisor == 0:
        raise ValueError("(000) is not a plane")
    reduced = _miller([int(i) // divisor for i in miller_index])
    return min(equivalent_planes(crystal, reduced), key=preference)


def distinct_facets(crystal: Crystal, max_miller_index: int) -> list[Miller]:
    """Return one (hkl) of every facet with |h|, |k|, |l| up to a maximum; (100) before (110) before (111)."""
    span = range(-max_miller_index, max_miller_index + 1)
    planes = {(h, k, l) for h, k, l in product(span, repeat=3) if gcd(h, k, l) == 1}
    found: list[Miller] = []
    while planes:
        plane = min(planes, key=preference)
        found.append(plane)
        planes -= equivalent_planes(crystal, plane)
    return sorted(found, key=lambda h: (max(map(abs, h)), sum(map(abs, h)), preference(h)))


def facets_of(
    crystal: Crystal, max_miller_index: int, miller_indices: Sequence[Miller] | None = None
) -> list[Miller]:
    """Return the named facets, equivalent ones merged; all up to `max_miller_index` if None.

    Raises
    ------
    InputError
        If no plane is named, one makes no sense, or as `check_indices`.
    """
    if miller_indices is None:
        return distinct_facets(crystal, max_miller_index)
    wrong = [] if len(miller_indices) else ["miller_indices is empty; give a plane, or None for all of them"]
    for h in miller_indices:
        if len(h) != 3 or not any(h):
            text = "".join(map(str, h))
            wrong.append(f"miller index ({text}) is not a plane; give three integers, not all zero")
        elif max(map(abs, h)) > LARGEST_INDEX:
            wrong.append(f"miller index {str(tuple(h))[:60]}: indices end at {LARGEST_INDEX}; correct it")
    if wrong:
        raise InputError("slabs: " + "; ".join(wrong))
    for h in miller_indices:
        check_indices(crystal, h)
    return list(dict.fromkeys(canonical_facet(crystal, h) for h in miller_indices))


def check_indices(crystal: Crystal, miller_index: Miller) -> None:
    """Raise `InputError` for four indices (hkil) of a crystal that is neither hexagonal nor trigonal."""
    if isinstance(miller_index, FourIndex) and not has_hexagonal_axes(crystal.spacegroup_number):
        h, k, l_ = miller_index
        formula = mg_first_formula(Counter(crystal.species))
        raise InputError(
            f"{format_miller((h, k, -(h + k), l_))}: four indices are for hexagonal and trigonal crystals, "
            f"and {formula} is {crystal.spacegroup_symbol} (no. {crystal.spacegroup_number}); write three "
            "indices of its standard cell"
        )


def _miller(h: Sequence[int]) -> Miller:
    return (h[0], h[1], h[2])


def preference(h: Miller) -> tuple[int, int, int, Miller]:
    """Sort key of planes: small indices, few minus signs, then large indices first."""
    return (max(map(abs, h)), sum(map(abs, h)), sum(i < 0 for i in h), (-h[0], -h[1], -h[2]))


def given_plane(crystal: Crystal, miller_index: Miller) -> Miller:
    """Return the indices of a facet in the axes of the cell that the crystal was given in.

    A plane h.x = const of the standard cell is (h M).x = const of the given one, for x -> M x + p takes the
    one's coordinates to the other's. Of the planes that symmetry makes equal one with the same indices is
    returned, else that which would name the facet.
    """
    whole = _whole(crystal.transformation)
    images = {_coprime(np.array(h) @ whole) for h in equivalent_planes(crystal, miller_index)}
    return miller_index if miller_index in images else min(images, key=preference)


def standard_plane(crystal: Crystal, miller_index: Miller) -> Miller:
    """Return the facet that a plane of the cell is in which the crystal was given; see `given_plane`."""
    whole = _whole(crystal.transformation)
    adjugate = np.rint(np.linalg.inv(whole) * np.linalg.det(whole)).astype(np.int64)
    # both sides of a slab show, so that the sign of the determinant does not matter
    return canonical_facet(crystal, _coprime(np.array(miller_index) @ adjugate))


def axes_note(crystal: Crystal, planes: Iterable[Miller], name: str) -> list[str]:
    """Return one line that names planes (hkl in the standard cell) in both cells, none if they are equal."""
    differing = [
        (plane, given) for plane in dict.fromkeys(planes) if (given := given_plane(crystal, plane)) != plane
    ]
    if not differing:
        return []
    number = crystal.spacegroup_number
    file_number = number if _has_hexagonal_axes(crystal) else 0
    pairs = [
        f"{format_plane(plane, number)} is {format_plane(given, file_number)}" for plane, given in differing
    ]
    return [
        f"planes refer to the standard cell of {crystal.spacegroup_symbol}; in the axes of {name} "
        + ", ".join(pairs)
    ]


def _has_hexagonal_axes(crystal: Crystal) -> bool:
    """Whether the cell as given has a = b, c along the normal and 120 degrees between a and b."""
    rows = crystal.transformation.T @ crystal.lattice
    metric = rows @ rows.T
    a2 = metric[0, 0]
    ideal = np.array([[a2, -a2 / 2, 0], [-a2 / 2, a2, 0], [0, 0, metric[2, 2]]])
    return bool(np.abs(metric - ideal).max() < HEXAGONAL_TOLERANCE * a2)


def _whole(transformation: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return six times the transformation: lattice vectors have halves and thirds in a centred cell."""
    return np.rint(6 * transformation).astype(np.int64)


def _coprime(h: NDArray[np.int64]) -> Miller:
    divisor = gcd(*h.tolist())
    return int(h[0]) // divisor, int(h[1]) // divisor, int(h[2]) // divisor
