"""One crystal plane: its in-plane lattice, atomic layers, cuts, and the symmetry along its normal.

Heights along the plane normal are given as ``u = h . x / delta``: `x` a position in the conventional cell,
``h = (h, k, l)``, and `delta` the smallest positive value of ``h . v`` over all lattice vectors `v`
(centrings included). Lattice vectors then have integer `u`, one lattice plane is one unit, and one unit is
`spacing` in A.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workflows.structures.crystal import Crystal

TOLERANCE = 1e-4
"""Two heights closer than this (in lattice planes) are the same; positions are symmetrised beforehand."""

COPLANAR = 1e-3  # atoms closer than this along the normal (A) lie in one plane whatever `layer_tolerance` is
ROUNDING = 1e-7  # lengths (A) that symmetry makes equal agree to this


@dataclass(frozen=True)
class Cut:
    """A place between two atomic layers where the crystal can be cleaved."""

    position: float  # middle of the gap (in units of the plane spacing, 0 <= position < 1)
    gap: float  # distance between the layers on both sides (A)


@dataclass(frozen=True)
class Plane:
    """A family of lattice planes of one crystal, with everything needed to cut slabs from it."""

    crystal: Crystal
    miller_index: tuple[int, int, int]  # hkl in the conventional standard cell
    # rows a1, a2, a3 in conventional coordinates, shape (3, 3): a1 and a2 are the reduced primitive lattice
    # of the plane (obtuse, right-handed with the normal), a3 is the shortest lattice vector that leads to the
    # next plane; together they span the primitive cell
    basis: NDArray[np.float64]
    spacing: float  # distance of neighbouring lattice planes (A)
    # atoms of the primitive cell as multiples of the basis, shape (n, 3); column 2 is the height u
    coordinates: NDArray[np.float64]
    species: tuple[str, ...]  # element of each atom, length n
    # all u by which normal-preserving operations shift the crystal, modulo 1, sorted; the first is 0
    shifts: tuple[Fraction, ...]
    # all values 2 u0 of heights u0 about which a normal-reversing operation maps the crystal onto itself,
    # modulo 1, sorted; empty for a polar direction
    reversals: tuple[Fraction, ...]

    @property
    def is_polar(self) -> bool:
        """True if no operation of the crystal reverses the normal: no symmetric slab exists."""
        return not self.reversals

    @property
    def n_shifts(self) -> int:
        """How often the crystal repeats itself, up to an in-plane operation, within one plane spacing."""
        return len(self.shifts)

    @property
    def period(self) -> float:
        """Smallest shift along the normal by an operation that preserves the normal (A)."""
        return self.spacing / self.n_shifts

    @cached_property
    def cartesian_basis(self) -> NDArray[np.float64]:
        """Rows a1, a2, a3 (A), rotated so that a1 lies along x and the normal along +z; shape (3, 3)."""
        a1, a2, a3 = self.basis @ self.crystal.lattice
        x = a1 / np.linalg.norm(a1)
        z = np.cross(a1, a2)
        z /= np.linalg.norm(z)
        frame = np.array([x, np.cross(z, x), z])
        rotated: NDArray[np.float64] = np.array([a1, a2, a3]) @ frame.T
        rotated[0, 1:] = rotated[1, 2] = 0.0
        return rotated

    def cuts(self, layer_tolerance: float) -> tuple[list[Cut], str]:
        """Return the gaps between atomic layers within one plane spacing, sorted by position.

        If none is wider than `layer_tolerance` (A), these are the widest ones (and their images under the
        symmetry of the crystal), and the second value is a line about it; else it is empty.
        """
        heights = np.sort(self.coordinates[:, 2] % 1.0)
        heights[heights > 1.0 - TOLERANCE] -= 1.0  # one layer, not two, at the cell's edge
        heights = np.sort(heights)
        above = np.append(heights[1:], heights[0] + 1.0)
        gaps = (above - heights) * self.spacing
        # atoms of one plane, and gaps that symmetry makes equal, differ by rounding
        wide = gaps > max(layer_tolerance, COPLANAR) + ROUNDING
        note = ""
        if not wide.any():
            wide = gaps > gaps.max() - TOLERANCE * self.spacing
            note = (
                f"no gap between atomic planes exceeds layer_tolerance={layer_tolerance:g} A; "
                f"cut at the widest ({gaps.max():.3f} A)"
            )
        middles = (heights + above) / 2 % 1.0
        found = [Cut(float(middles[i]), float(gaps[i])) for i in np.flatnonzero(wide)]
        return sorted(found, key=lambda cut: cut.position), note


def plane_of(crystal: Crystal, miller_index: tuple[int, int, int]) -> Plane:
    """Work out the geometry and the symmetry of a crystal along one plane normal.

    Parameters
    ----------
    crystal
        Standardised crystal with its exact symmetry operations.
    miller_index
        Coprime hkl in the conventional standard cell.
    """
    h = np.array(miller_index)
    primitive = crystal.primitive_basis
    projections = [Fraction(float(v)).limit_denominator(12) for v in primitive @ h]
    delta = _gcd_of(projections)
    h_primitive = [int(p / delta) for p in projections]
    basis = _reduced_basis(np.array(_unimodular(h_primitive)) @ primitive, crystal.lattice)
    reciprocal = np.linalg.inv(crystal.lattice).T
    spacing = float(delta) / float(np.linalg.norm(h @ reciprocal))

    coordinates = crystal.primitive_positions @ np.linalg.inv(basis)
    coordinates -= np.floor(coordinates + TOLERANCE)

    images = h @ crystal.rotations  # how u transforms: h.(W x + w) = (h W).x + h.w
    # translations of space-group operations are multiples of 1/24, and so is h.w
    in_24ths = np.rint(crystal.translations * 24).astype(int) @ h
    shifts, reversals = (
        sorted({Fraction(int(t), 24) / delta % 1 for t in in_24ths[(images == sign * h).all(axis=1)]})
        for sign in (1, -1)
    )
    return Plane(
        crystal=crystal,
        miller_index=miller_index,
        basis=basis,
        spacing=spacing,
        coordinates=coordinates,
        species=crystal.primitive_species,
        shifts=tuple(shifts),
        reversals=tuple(reversals),
    )


def _gcd_of(values: list[Fraction]) -> Fraction:
    """Return the largest fraction of which all values are integer multiples."""
    denominator = int(np.lcm.reduce([v.denominator for v in values]))
    return Fraction(int(np.gcd.reduce([int(v * denominator) for v in values])), denominator)


def _unimodular(h: list[int]) -> list[list[int]]:
    """Return integer rows a1, a2, a3 of determinant +-1 with h.a1 = h.a2 = 0 and h.a3 = 1 (h coprime)."""
    rows = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    values = list(h)
    while sum(v != 0 for v in values) > 1:
        pivot = min((i for i in range(3) if values[i]), key=lambda i: abs(values[i]))
        for i in range(3):
            if i != pivot and values[i]:
                q = values[i] // values[pivot]
                values[i] -= q * values[pivot]
                rows[i] = [a - q * b for a, b in zip(rows[i], rows[pivot], strict=True)]
    last = next(i for i in range(3) if values[i])
    top = [values[last] * a for a in rows[last]]  # values[last] is +1 or -1
    return [rows[i] for i in range(3) if i != last] + [top]


def _reduced_basis(basis: NDArray[np.float64], lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make a1, a2 the two shortest vectors of the plane at an obtuse angle, and a3 as short as possible."""
    a1, a2, a3 = basis
    metric = lattice @ lattice.T

    def dot(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
        return float(p @ metric @ q)

    while True:  # Lagrange-Gauss reduction
        if dot(a1, a1) > dot(a2, a2) + 1e-8:
            a1, a2 = a2, a1
        q = round(dot(a1, a2) / dot(a1, a1))
        if q == 0 or dot(a2 - q * a1, a2 - q * a1) > dot(a2, a2) - 1e-8:
            break
        a2 = a2 - q * a1
    if dot(a1, a2) > 1e-8:
        a2 = -a2
    if np.linalg.det(np.array([a1, a2, a3]) @ lattice) < 0:
        a1, a2 = a2, a1
    in_plane = np.array([[dot(a1, a1), dot(a1, a2)], [dot(a1, a2), dot(a2, a2)]])
    centre = np.rint(np.linalg.solve(in_plane, [dot(a1, a3), dot(a2, a3)]))
    candidates = [a3 - (centre[0] + i) * a1 - (centre[1] + j) * a2 for i, j in product((-1, 0, 1), repeat=2)]
    a3 = min(candidates, key=lambda v: round(dot(v, v), 6))
    return np.array([a1, a2, a3])
