"""Which planes of a crystal are different facets."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from workflows.structures.naming import FourIndex, format_miller, has_hexagonal_axes, mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.structures.crystal import Crystal

Miller = tuple[int, int, int]


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
    """Return one representative of every facet with indices up to a maximum.

    Parameters
    ----------
    crystal
        Standardised crystal.
    max_miller_index
        Largest absolute value of h, k and l.

    Returns
    -------
    list of (h, k, l)
        Sorted by the size of the indices; (100) before (110) before (111).
    """
    span = range(-max_miller_index, max_miller_index + 1)
    planes = {(h, k, l) for h, k, l in product(span, repeat=3) if gcd(h, k, l) == 1}
    found: list[Miller] = []
    while planes:
        plane = min(planes, key=preference)
        found.append(plane)
        planes -= equivalent_planes(crystal, plane)
    return sorted(found, key=lambda h: (max(map(abs, h)), sum(map(abs, h)), preference(h)))


def check_indices(crystal: Crystal, miller_index: Miller) -> None:
    """Refuse four indices for a crystal without hexagonal axes.

    Parameters
    ----------
    crystal
        Whose plane it is.
    miller_index
        From `workflows.structures.naming.parse_miller`.

    Raises
    ------
    InputError
        If it was written as (hkil) and the crystal is neither hexagonal nor trigonal.
    """
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
