"""Exact enumeration of all symmetric slabs of a crystal, cut or only counted.

A slab is symmetric when an operation of the crystal that reverses the surface normal maps it onto itself.
Such an operation fixes a height z0 (twice z0 is the normal component of its translation); two cuts placed
symmetrically about z0 give a symmetric slab, and every symmetric slab arises so. Normal-preserving operations
shift the crystal along the normal by multiples of `period`, so that a termination is a cut position modulo
`period`, and the heights z0 fall in classes half a period apart. For a bottom cut at p the top cuts are
2 z0 - p, one per period: the thinnest slab that is thick enough is unique. Nothing is searched, nothing is
stripped atom by atom, and a facet without slabs has a reason. Thickness and atoms follow from the heights of
cuts and primitive atoms, so that thousands of compounds can be counted without building a slab.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, inf
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Composition, Lattice, Structure

from stores.errors import InputError
from stores.structures.document import structure_from_document
from workflows.structures.crystal import Crystal, crystal_of
from workflows.structures.facets import Miller, facets_of
from workflows.structures.planes import ROUNDING, TOLERANCE, Cut, Plane, plane_of
from workflows.structures.terminations import Termination, electropositive_first, terminations_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LONGEST = 1000.0  # longest thickness or vacuum (A): atoms of a thicker slab fill the memory


@dataclass(frozen=True)
class SlabSettings:
    """How slabs are cut, and which of their atoms relax.

    Attributes
    ----------
    max_miller_index
        Largest absolute Miller index, where no planes are named.
    min_thickness
        Least distance from the lowest to the highest atom (A).
    vacuum
        Distance between periodic images (A).
    free_depth
        Whole layers within this distance of a surface relax (A).
    layer_tolerance
        Atomic planes closer than this are one layer and never split (A).
    max_terminations
        Most terminations per facet, those with the widest gaps; None for all.
    max_atoms
        Larger slabs are left out, with a note; None for no limit.
    pre_relaxation
        What moves the free atoms before DFT does: none or chgnet (`workflows.jobs.pre_relaxation`).

    Raises
    ------
    InputError
        In one line for all values that make no sense.
    """

    max_miller_index: int = 1
    min_thickness: float = 10.0
    vacuum: float = 15.0
    free_depth: float = 3.0
    layer_tolerance: float = 0.1
    max_terminations: int | None = None
    max_atoms: int | None = 200
    pre_relaxation: str = "none"

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {length} A; give a length above 0 and up to {LONGEST:g}"
            for name in ("min_thickness", "vacuum")
            if not 0 < (length := getattr(self, name)) <= LONGEST
        ]
        wrong += [
            f"{name} is {number}; give 1 or more"
            for name in ("max_miller_index", "max_terminations", "max_atoms")
            if (number := getattr(self, name)) is not None and number < 1
        ]
        if not 0 <= self.layer_tolerance < inf:
            wrong.append(f"layer_tolerance is {self.layer_tolerance} A; give 0 or more")
        if wrong:
            raise InputError("slabs: " + "; ".join(wrong))


DEFAULT_SETTINGS = SlabSettings()


@dataclass(frozen=True)
class SymmetricSlab:
    """A symmetric slab, as cut.

    Attributes
    ----------
    structure
        c along the normal, slab centred at half of c, no atom across the cell boundary.
    oriented_bulk
        One lattice repeat of the bulk with exactly the slab's in-plane cell; its c leads to the next
        lattice plane and may be tilted.
    miller_index
        hkl in the conventional standard cell.
    termination, termination_label, termination_key
        Number from 0 (widest gap first), name of the outermost layer, and the order of the layers from the
        surface inward: a discrete description that does not depend on relaxed coordinates.
    cut, period
        Position of the bottom cut modulo `period`, and `period` itself (A).
    gap
        Distance between the layers that the cut separates (A).
    n_layers
        Number of atomic layers.
    thickness
        From the lowest to the highest atom (A).
    vacuum
        From the highest atom to the lowest of the next image (A).
    area
        Of one side (A^2).
    spacegroup_number
        Of the crystal.
    """

    structure: Structure
    oriented_bulk: Structure
    miller_index: Miller
    termination: int
    termination_label: str
    termination_key: str
    cut: float
    period: float
    gap: float
    n_layers: int
    thickness: float
    vacuum: float
    area: float
    spacegroup_number: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values (jobflow and monty read them back with `from_dict`)."""
        plain = dict(self.__dict__)
        plain["structure"] = self.structure.as_dict()
        plain["oriented_bulk"] = self.oriented_bulk.as_dict()
        plain["miller_index"] = list(self.miller_index)
        return {"@module": type(self).__module__, "@class": type(self).__name__, **plain}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> SymmetricSlab:
        """Rebuild a slab from `as_dict`."""
        values = {key: value for key, value in plain.items() if not key.startswith("@")}
        for key in ("structure", "oriented_bulk"):
            if isinstance(values[key], dict):
                values[key] = structure_from_document(values[key], key)
        h, k, l = values["miller_index"]
        values["miller_index"] = (h, k, l)
        return cls(**values)


@dataclass
class FacetSlabs:
    """All slabs of one facet, or the reason why there are none.

    Attributes
    ----------
    miller_index
        hkl in the conventional standard cell.
    slabs
        One per inequivalent termination.
    reason
        Empty if there are slabs, else one line.
    notes
        Lines about decisions taken (no gap above the tolerance, terminations left out, slabs too big).
    is_polar
        True if the direction is polar.
    spacegroup_number
        Of the crystal.
    """

    miller_index: Miller
    slabs: list[SymmetricSlab] = field(default_factory=list)
    reason: str = ""
    notes: list[str] = field(default_factory=list)
    is_polar: bool = False
    spacegroup_number: int = 0


@dataclass(frozen=True)
class SlabSize:
    """Atoms and dimensions of a slab, from which its cost is estimated."""

    species: tuple[tuple[str, int], ...]  # number of atoms of each element, elements in alphabetical order
    in_plane: tuple[float, float, float]  # components a1x, a2x, a2y of the surface cell (A); a1 lies along x
    thickness: float  # from the lowest to the highest atom (A)

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
    """The slabs of one facet by their sizes."""

    miller_index: Miller  # hkl in the conventional standard cell
    # one per slab that `enumerate_slabs` would cut, in its order unless terminations tie
    slabs: tuple[SlabSize, ...]
    is_polar: bool = False  # True if the direction is polar, where no symmetric slab exists
    n_too_large: int = 0  # slabs left out for having too many atoms


def enumerate_slabs(
    bulk: Structure | Crystal,
    settings: SlabSettings = DEFAULT_SETTINGS,
    *,
    miller_indices: Sequence[Miller] | None = None,
) -> list[FacetSlabs]:
    """Cut every symmetric slab of every facet: one per inequivalent termination.

    Parameters
    ----------
    bulk
        Ordered crystal in any setting; facets are indexed in its conventional standard cell.
    settings
        Limits on indices, thickness, terminations and atoms.
    miller_indices
        Facets to cut, equivalent ones merged; None for all up to ``settings.max_miller_index``.

    Returns
    -------
    list of FacetSlabs
        In order of the indices; each facet has slabs or a reason.

    Raises
    ------
    InputError
        If a plane makes no sense or the structure has no determinable symmetry.
    """
    crystal = bulk if isinstance(bulk, Crystal) else crystal_of(bulk)
    facets = facets_of(crystal, settings.max_miller_index, miller_indices)
    return [_slabs_of_facet(plane_of(crystal, facet), settings) for facet in facets]


def _slabs_of_facet(plane: Plane, settings: SlabSettings) -> FacetSlabs:
    result = FacetSlabs(plane.miller_index, spacegroup_number=plane.crystal.spacegroup_number)
    if plane.is_polar:
        result.is_polar = True
        result.reason = "polar direction: no symmetric slab exists"
        return result
    cuts, note = plane.cuts(settings.layer_tolerance)
    if note:
        result.notes.append(note)
    terminations = terminations_of(plane, cuts)
    most = settings.max_terminations
    if most is not None and len(terminations) > most:
        result.notes.append(f"kept the {most} of {len(terminations)} terminations with the widest gaps")
        terminations = terminations[:most]
    oriented_bulk = _oriented_bulk(plane)
    for termination in terminations:
        top = _lowest_top(plane, termination.cut, settings.min_thickness)
        first, last = _atom_ranges(plane, termination.cut, top)
        n_atoms = int((last - first + 1).sum())
        if settings.max_atoms is not None and n_atoms > settings.max_atoms:
            result.notes.append(
                f"termination {termination.label}: {n_atoms} atoms at {settings.min_thickness:g} A, "
                f"more than max_atoms={settings.max_atoms}"
            )
        else:
            result.slabs.append(_build(plane, termination, cuts, top, settings.vacuum, oriented_bulk))
    if not result.slabs:
        result.reason = "; ".join(result.notes[1 if note else 0 :]) or "no termination left"
    return result


def count_slabs(
    bulk: Structure | Crystal,
    settings: SlabSettings = DEFAULT_SETTINGS,
    *,
    miller_indices: Sequence[Miller] | None = None,
) -> list[FacetCount]:
    """Count and measure the symmetric slabs of every facet; arguments and errors as `enumerate_slabs`."""
    crystal = bulk if isinstance(bulk, Crystal) else crystal_of(bulk)
    facets = facets_of(crystal, settings.max_miller_index, miller_indices)
    return [_count_facet(plane_of(crystal, facet), settings) for facet in facets]


def _count_facet(plane: Plane, settings: SlabSettings) -> FacetCount:
    if plane.is_polar:
        return FacetCount(plane.miller_index, (), is_polar=True)
    cuts, _ = plane.cuts(settings.layer_tolerance)
    distinct = cuts[: len(cuts) // plane.n_shifts]
    if settings.max_terminations is not None and len(distinct) > settings.max_terminations:
        # which ones have the widest gaps is a question of order, ties included
        distinct = [t.cut for t in terminations_of(plane, cuts)[: settings.max_terminations]]
    else:
        distinct = sorted(distinct, key=lambda cut: -cut.gap)
    basis = plane.cartesian_basis
    in_plane = (float(basis[0, 0]), float(basis[1, 0]), float(basis[1, 1]))
    elements = sorted(set(plane.species))
    slabs, n_too_large = [], 0
    for bottom in distinct:
        top = _lowest_top(plane, bottom, settings.min_thickness)
        first, last = _atom_ranges(plane, bottom, top)
        repeats = last - first + 1
        if settings.max_atoms is not None and int(repeats.sum()) > settings.max_atoms:
            n_too_large += 1
            continue
        species = tuple(
            (element, int(repeats[[s == element for s in plane.species]].sum())) for element in elements
        )
        slabs.append(SlabSize(species, in_plane, _thickness(plane, bottom, top)))
    return FacetCount(plane.miller_index, tuple(slabs), n_too_large=n_too_large)


def slabs_like(
    plane: Plane, thickness: float, slack: float, height: float, layer_tolerance: float = 0.1
) -> list[SymmetricSlab]:
    """Cut every symmetric slab of a plane, not polar, whose thickness lies within `slack` of a given one (A).

    `height` is that of the cell along the normal (A): each slab gets the rest as vacuum.
    """
    cuts, _ = plane.cuts(layer_tolerance)
    oriented_bulk = _oriented_bulk(plane)
    found = []
    for termination in terminations_of(plane, cuts):
        least = max(thickness - slack, 0.0)
        while True:
            top = _lowest_top(plane, termination.cut, least)
            reached = _thickness(plane, termination.cut, top)
            if reached > thickness + slack or reached >= height:
                break
            found.append(_build(plane, termination, cuts, top, height - reached, oriented_bulk))
            least = reached + plane.period / 4
    return found


def _lowest_top(plane: Plane, bottom: Cut, min_thickness: float) -> Cut:
    """Return the lowest top cut 2 z0 - p that makes the slab above a bottom cut p thick enough."""
    # it is an image of one of the plane's cuts, given at its true height
    step = 1.0 / plane.n_shifts
    offset = (float(plane.reversals[0]) - 2 * bottom.position) % step
    # thickness = (2 z0 - p) - p less half a gap on each side; both gaps are equal by symmetry
    needed = (min_thickness - ROUNDING) / plane.spacing + bottom.gap / plane.spacing
    k = ceil((needed - offset) / step - 1e-9)
    return Cut(bottom.position + offset + max(k, 0) * step, bottom.gap)


def _thickness(plane: Plane, bottom: Cut, top: Cut) -> float:
    """From the lowest to the highest atom between two cuts (A)."""
    return float((top.position - bottom.position) * plane.spacing - bottom.gap)


def _count_layers(cuts: list[Cut], bottom: Cut, top: Cut) -> int:
    """Count the layers between two cuts: one for each cut above the bottom one, up to the top one."""
    positions = np.array([cut.position for cut in cuts])
    low, high = bottom.position + TOLERANCE, top.position + TOLERANCE
    return int((np.floor(high - positions) - np.floor(low - positions)).sum())


def _atom_ranges(plane: Plane, bottom: Cut, top: Cut) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each primitive atom the first and last plane number that lies between the cuts."""
    heights = plane.coordinates[:, 2]
    first = np.ceil(bottom.position - heights).astype(int)
    last = np.floor(top.position - heights).astype(int)
    return first, last


def _oriented_bulk(plane: Plane) -> Structure:
    return _structure(plane.cartesian_basis, np.array(plane.species), plane.coordinates)


def _structure(
    lattice: NDArray[np.float64], species: NDArray[np.str_], fractional: NDArray[np.float64]
) -> Structure:
    """Build a structure, electropositive elements first, each sorted from bottom to top."""
    elements = sorted(set(species.tolist()), key=electropositive_first)
    rank = np.searchsorted(elements, species, sorter=np.argsort(elements))
    number = np.argsort(elements)[rank]
    order = np.lexsort((*np.round(fractional, 5).T, number))
    # one Composition for all sites of an element: pymatgen would build one for each site
    compositions = [Composition({element: 1}) for element in elements]
    return Structure(Lattice(lattice), [compositions[i] for i in number[order]], fractional[order])


def _build(
    plane: Plane,
    termination: Termination,
    cuts: list[Cut],
    top: Cut,
    vacuum: float,
    oriented_bulk: Structure,
) -> SymmetricSlab:
    bottom = termination.cut
    first, last = _atom_ranges(plane, bottom, top)
    which = np.repeat(np.arange(len(plane.species)), last - first + 1)
    planes = np.concatenate([np.arange(lo, hi + 1) for lo, hi in zip(first, last, strict=True)])
    coordinates = plane.coordinates[which].copy()
    coordinates[:, 2] += planes
    cartesian = coordinates @ plane.cartesian_basis
    z = cartesian[:, 2]
    thickness = float(z.max() - z.min())
    height = thickness + vacuum
    cartesian[:, 2] += height / 2 - (z.max() + z.min()) / 2
    lattice = plane.cartesian_basis.copy()
    lattice[2] = [0.0, 0.0, height]
    fractional = np.asarray(np.linalg.solve(lattice.T, cartesian.T).T, dtype=np.float64)
    fractional[:, :2] -= np.floor(fractional[:, :2] + 1e-8)
    return SymmetricSlab(
        structure=_structure(lattice, np.array(plane.species)[which], fractional),
        oriented_bulk=oriented_bulk,
        miller_index=plane.miller_index,
        termination=termination.number,
        termination_label=termination.label,
        termination_key=termination.key,
        cut=float(bottom.position * plane.spacing % plane.period),
        period=plane.period,
        gap=bottom.gap,
        n_layers=_count_layers(cuts, bottom, top),
        thickness=thickness,
        vacuum=vacuum,
        area=float(np.linalg.norm(np.cross(lattice[0], lattice[1]))),
        spacegroup_number=plane.crystal.spacegroup_number,
    )
