"""Planes of a crystal in the axes of the cell that it was given in, where these are not the standard ones."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from workflows.structures.facets import canonical_facet, equivalent_planes, preference
from workflows.structures.naming import format_plane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from workflows.structures.crystal import Crystal
    from workflows.structures.facets import Miller

HEXAGONAL_TOLERANCE = 1e-2
"""By which a hexagonal cell may differ from equal edges and 120 degrees, relative to the edges."""


def given_plane(crystal: Crystal, miller_index: Miller) -> Miller:
    """Return the indices of a facet in the axes of the cell that the crystal was given in.

    A plane h.x = const of the standard cell is (h M).x = const of the given one, for x -> M x + p takes the
    one's coordinates to the other's.

    Parameters
    ----------
    crystal
        From `workflows.structures.crystal.crystal_of`.
    miller_index
        hkl in its conventional standard cell.

    Returns
    -------
    tuple of int
        Of the planes that symmetry makes equal: the same indices if one has them, else those that would
        name the facet.
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
    """Return one line that names planes in both cells, none if their indices are the same.

    Parameters
    ----------
    crystal
        From `workflows.structures.crystal.crystal_of`.
    planes
        hkl in its conventional standard cell.
    name
        Of the file, for the message.
    """
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
    """Tell whether the cell as given has a = b, c along the normal and 120 degrees between a and b."""
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
