"""Wulff shapes of many draws of the surface energies: averages over the shape with their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from workflows.structures.facets import equivalent_planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from workflows.structures.crystal import Crystal
    from workflows.structures.facets import Miller

    Array = NDArray[np.float64]


SMALLEST_SHARE = 1e-9  # share of a shape's area above which a facet is on it; below lies rounding


@dataclass(frozen=True, eq=False)
class Planes:
    """All planes that bound a Wulff shape."""

    normals: Array  # [m, 3], unit vectors
    family: NDArray[np.intp]  # [m], number of the facet that each plane is an image of

    @classmethod
    def of(cls, crystal: Crystal, facets: Sequence[Miller]) -> Planes:
        """Images of facets under the point group with inversion.

        Parameters
        ----------
        crystal
            Whose conventional standard cell the indices refer to.
        facets
            One hkl for each family.
        """
        reciprocal = np.linalg.inv(crystal.lattice).T
        images = [
            (number, h)
            for number, facet in enumerate(facets)
            for h in sorted(equivalent_planes(crystal, facet))
        ]
        vectors = np.array([h for _, h in images]) @ reciprocal
        family = np.array([number for number, _ in images])
        return cls(vectors / np.linalg.norm(vectors, axis=1)[:, None], family)

    def areas(self, energies: Array) -> Array:
        """Area of each family on the Wulff shape {x: normal . x <= energy}.

        A plane at the distance h is the point normal / h of the dual polyhedron; edges of the dual's convex
        hull are edges of the shape. A face's area is half the sum over its edges of their length times their
        signed distance from the foot of the face's normal.

        Parameters
        ----------
        energies
            [families], positive.

        Returns
        -------
        ndarray
            [families], in units of the energies squared.

        Raises
        ------
        scipy.spatial.QhullError
            If the planes do not enclose a volume.
        """
        heights = energies[self.family]
        hull = ConvexHull(self.normals / heights[:, None])
        if (hull.equations[:, 3] > -1e-9 / heights.max()).any():  # the origin is not inside
            raise QhullError("the planes do not enclose a volume")
        corners = -hull.equations[:, :3] / hull.equations[:, 3:]
        areas = np.zeros(len(heights))
        # the neighbour opposite to corner k of a triangle shares its edge between the other two
        for k in range(3):
            one, other = hull.simplices[:, (k + 1) % 3], hull.simplices[:, (k + 2) % 3]
            first = np.arange(len(corners)) < hull.neighbors[:, k]
            p, q = one[first], other[first]
            length = np.linalg.norm(corners[first] - corners[hull.neighbors[first, k]], axis=1)
            cosine = np.einsum("ij,ij->i", self.normals[p], self.normals[q])
            sine = np.sqrt(np.maximum(1 - cosine**2, 1e-300))
            np.add.at(areas, p, 0.5 * length * (heights[q] - heights[p] * cosine) / sine)
            np.add.at(areas, q, 0.5 * length * (heights[p] - heights[q] * cosine) / sine)
        return np.asarray(np.bincount(self.family, areas, len(energies)))


@dataclass(frozen=True)
class Termination:
    """A termination of a facet with the uncertainty of its values."""

    miller_index: Miller  # hkl in the conventional standard cell
    label: str  # name of the outermost layer
    # surface_energy, surface_energy_sigma: at dmu = 0, and its standard deviation (eV/A^2)
    surface_energy: float
    surface_energy_sigma: float = 0.0
    # work_function, work_function_sigma: eV; None if unknown
    work_function: float | None = None
    work_function_sigma: float = 0.0
    slope: float = 0.0  # d gamma / d dmu (1/A^2)
    source: str = "dft"  # "dft" or "model"
    # surface_energy_shared, work_function_shared: standard deviation of the part of the error that all
    # terminations of the compound have in common (eV/A^2, eV); None if unknown, see `weighted_values`
    surface_energy_shared: float | None = None
    work_function_shared: float | None = None


@dataclass(frozen=True)
class FacetShare:
    """A facet of a Wulff shape, by its termination of lowest surface energy."""

    termination: Termination  # with its values
    area_fraction: float  # of the shape's area at the mean values (1)
    appears: float  # share of the draws in which the facet is on the shape (1)


@dataclass(frozen=True)
class WeightedValues:
    """Averages over a Wulff shape with the uncertainty that follows from that of its facets."""

    # surface_energy, surface_energy_sigma: area-weighted, at the mean values; standard deviation over the
    # draws (eV/A^2)
    surface_energy: float | None = None
    surface_energy_sigma: float | None = None
    # work_function, work_function_sigma: the same (eV); None if a face has no work function
    work_function: float | None = None
    work_function_sigma: float | None = None
    shape_factor: float | None = None  # area over volume^(2/3) (1)
    facets: tuple[FacetShare, ...] = ()  # one for each family of planes, largest area first
    reason: str = ""  # why there is no shape or no work function; else empty


def weighted_values(
    crystal: Crystal,
    terminations: Sequence[Termination],
    *,
    dmu: float = 0.0,
    drawn_dmu: Array | None = None,
    draws: int = 200,
    correlation: float = 0.5,
    seed: int = 0,
) -> WeightedValues:
    """Average surface energy and work function over the Wulff shape, and draw how uncertain they are.

    A draw adds to each value s z_0 + sqrt(sigma^2 - s^2) z, with z_0 shared by all terminations of the
    compound, separately for surface energy and work function: errors of a model are alike within a compound.
    In each draw the termination of lowest surface energy of each family counts.
    Draws with a surface energy that is not positive have no shape and are left out.

    Parameters
    ----------
    crystal
        Whose conventional standard cell the indices refer to; one facet of each family of planes.
    terminations
        All terminations of all facets.
    dmu
        Chemical potential of the reference element relative to its elemental phase (eV).
    drawn_dmu
        [draws], the same in each draw where it is uncertain: all terminations of a draw share it.
    draws
        How many; 0: no uncertainty.
    correlation
        rho, between the errors of two terminations of the compound (0 to 1), where the shared part s of the
        standard deviation is unknown: s is sqrt(rho) sigma then.
    seed
        Of the random numbers.
    """
    if not terminations:
        return WeightedValues(reason="no facet has a surface energy")
    families = list(dict.fromkeys(one.miller_index for one in terminations))
    members = [np.array([i for i, one in enumerate(terminations) if one.miller_index == h]) for h in families]
    slope = np.array([one.slope for one in terminations])
    mean = np.array([one.surface_energy for one in terminations]) + slope * dmu
    moved = np.zeros(draws) if drawn_dmu is None else drawn_dmu - dmu
    sigma = np.array([one.surface_energy_sigma for one in terminations])
    work = np.array([np.nan if one.work_function is None else one.work_function for one in terminations])
    work_sigma = np.array([one.work_function_sigma for one in terminations])
    if not np.isfinite(mean).all():
        one = terminations[int(np.flatnonzero(~np.isfinite(mean))[0])]
        return WeightedValues(reason=f"surface energy of {one.miller_index} {one.label} is no finite number")
    if (mean <= 0).any():
        worst = terminations[int(mean.argmin())]
        return WeightedValues(
            reason=f"surface energy of {worst.miller_index} {worst.label} is not positive "
            f"({mean.min():.4f} eV/A2)"
        )
    common_part = np.array(
        [
            _shared_part(terminations, sigma, correlation, "surface_energy_shared"),
            _shared_part(terminations, work_sigma, correlation, "work_function_shared"),
        ]
    )
    own_part = np.sqrt(np.maximum(np.array([sigma, work_sigma]) ** 2 - common_part**2, 0.0))
    planes = Planes.of(crystal, families)

    def averages(energies: Array, functions: Array) -> tuple[Array, float, float, float, NDArray[np.intp]]:
        lowest = np.array([rows[energies[rows].argmin()] for rows in members])
        heights = energies[lowest]
        areas = planes.areas(heights / heights.min()) * heights.min() ** 2
        total = areas.sum()
        shares = areas / total
        on = shares > SMALLEST_SHARE
        volume = float(areas @ heights) / 3
        function = float(shares[on] @ functions[lowest][on] / shares[on].sum())
        return shares, float(shares @ heights), function, float(total / volume ** (2 / 3)), lowest

    try:
        shares, surface_energy, work_function, shape_factor, lowest = averages(mean, work)
    except QhullError:
        names = ", ".join(str(h) for h in families)
        return WeightedValues(
            reason=f"the facets {names} and their equivalents do not enclose a volume; more facets are needed"
        )
    random = np.random.default_rng(seed)
    appears, found = np.zeros(len(families)), []
    is_certain = not (sigma.any() or work_sigma.any() or (slope.any() and moved.any()))
    for move in () if is_certain else moved:
        common = random.standard_normal(2)
        own = random.standard_normal((2, len(terminations)))
        error = common_part * common[:, None] + own_part * own
        energies = mean + slope * move + error[0]
        if (energies <= 0).any():
            continue
        try:
            areas, gamma, phi, _, _ = averages(energies, work + error[1])
        except QhullError:  # energies that differ by many orders of magnitude
            continue
        appears += areas > SMALLEST_SHARE
        found.append((gamma, phi))
    facets = sorted(
        (
            FacetShare(
                terminations[i], float(share), float(count / len(found)) if found else float(share > 0)
            )
            for i, share, count in zip(lowest, shares, appears, strict=True)
        ),
        key=lambda facet: -facet.area_fraction,
    )
    drawn = np.array(found).reshape(-1, 2)
    known = np.isfinite(work_function)
    return WeightedValues(
        surface_energy,
        0.0 if is_certain else _spread(drawn[:, 0]),
        work_function if known else None,
        None if not known else 0.0 if is_certain else _spread(drawn[:, 1]),
        shape_factor,
        tuple(facets),
        "" if known else "a face of the Wulff shape has no work function",
    )


def _shared_part(terminations: Sequence[Termination], sigma: Array, correlation: float, name: str) -> Array:
    """Return the standard deviation of what the errors of the terminations have in common, [n]."""
    stated = [getattr(one, name) for one in terminations]
    return np.array(
        [
            s * correlation**0.5 if shared is None else min(shared, s)
            for s, shared in zip(sigma, stated, strict=True)
        ]
    )


def _spread(values: Array) -> float | None:
    """Return the standard deviation of the finite values, None of fewer than two."""
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1)) if len(finite) > 1 else None
