"""Exact enumeration of all symmetric slabs of a crystal.

A slab is symmetric when an operation of the crystal that reverses the surface normal maps it onto itself.
Such an operation fixes a height z0 (twice z0 is the normal component of its translation); two cuts placed
symmetrically about z0 give a symmetric slab, and every symmetric slab arises so. Normal-preserving operations
shift the crystal along the normal by multiples of `period`, hence a termination is a cut position modulo
`period`, and the heights z0 fall in classes half a period apart. For a bottom cut at p the top cuts are
2 z0 - p, one per period: the thinnest slab that is thick enough is unique. Nothing is searched, nothing is
stripped atom by atom, and a facet without slabs has a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Composition, Lattice, Structure

from stores.structures.document import structure_from_document
from workflows.structures.counting import atom_ranges, check_arguments, count_layers, facets_of, thinnest
from workflows.structures.crystal import Crystal, crystal_of
from workflows.structures.facets import Miller
from workflows.structures.planes import Cut, Plane, plane_of
from workflows.structures.terminations import Termination, electropositive_first, terminations_of
from workflows.structures.tolerances import SYMPREC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


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


def enumerate_slabs(
    bulk: Structure | Crystal,
    *,
    max_miller_index: int = 1,
    miller_indices: Sequence[Miller] | None = None,
    min_thickness: float = 10.0,
    vacuum: float = 15.0,
    layer_tolerance: float = 0.1,
    max_terminations: int | None = None,
    max_atoms: int | None = 200,
    symprec: float = SYMPREC,
) -> list[FacetSlabs]:
    """Cut every symmetric slab of every facet: one per inequivalent termination.

    Parameters
    ----------
    bulk
        Ordered crystal in any setting; facets are indexed in its conventional standard cell.
    max_miller_index
        Largest absolute Miller index; not used if `miller_indices` are given.
    miller_indices
        Facets wanted; equivalent ones are merged.
    min_thickness
        Least distance from the lowest to the highest atom (A).
    vacuum
        Distance between periodic images (A).
    layer_tolerance
        Atomic planes closer than this are one layer and never split (A).
    max_terminations
        Keep only this many terminations per facet, those with the widest gaps.
    max_atoms
        Leave out slabs with more atoms, with a note.
    symprec
        Distance tolerance of the symmetry search (A).

    Returns
    -------
    list of FacetSlabs
        In order of the indices; each facet has slabs or a reason.

    Raises
    ------
    InputError
        If an argument makes no sense or the structure has no determinable symmetry.
    """
    check_arguments(
        lengths={"min_thickness": min_thickness, "vacuum": vacuum, "symprec": symprec},
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
        _slabs_of_facet(
            plane_of(crystal, facet), min_thickness, vacuum, layer_tolerance, max_terminations, max_atoms
        )
        for facet in facets_of(crystal, max_miller_index, miller_indices)
    ]


def _slabs_of_facet(
    plane: Plane,
    min_thickness: float,
    vacuum: float,
    layer_tolerance: float,
    max_terminations: int | None,
    max_atoms: int | None,
) -> FacetSlabs:
    result = FacetSlabs(plane.miller_index, spacegroup_number=plane.crystal.spacegroup_number)
    if plane.is_polar:
        result.is_polar = True
        result.reason = "polar direction: no symmetric slab exists"
        return result
    cuts, note = plane.cuts(layer_tolerance)
    if note:
        result.notes.append(note)
    terminations = terminations_of(plane, cuts)
    if max_terminations is not None and len(terminations) > max_terminations:
        result.notes.append(
            f"kept the {max_terminations} of {len(terminations)} terminations with the widest gaps"
        )
        terminations = terminations[:max_terminations]
    oriented_bulk = _oriented_bulk(plane)
    for termination in terminations:
        bottom, top = thinnest(plane, termination.cut, min_thickness)
        first, last = atom_ranges(plane, bottom, top)
        n_atoms = int((last - first + 1).sum())
        if max_atoms is not None and n_atoms > max_atoms:
            result.notes.append(
                f"termination {termination.label}: {n_atoms} atoms at {min_thickness:g} A, "
                f"more than max_atoms={max_atoms}"
            )
            continue
        n_layers = count_layers(cuts, bottom, top)
        result.slabs.append(_build(plane, termination, bottom, top, n_layers, vacuum, oriented_bulk))
    if not result.slabs:
        result.reason = "; ".join(result.notes[1 if note else 0 :]) or "no termination left"
    return result


def slabs_like(
    plane: Plane, thickness: float, slack: float, height: float, layer_tolerance: float = 0.1
) -> list[SymmetricSlab]:
    """Cut every symmetric slab of a plane whose thickness lies near a given one.

    Parameters
    ----------
    plane
        A plane that is not polar.
    thickness, slack
        Wanted distance from the lowest to the highest atom, and the largest difference (A).
    height
        Of the cell along the normal (A): each slab gets the rest as vacuum.
    layer_tolerance
        As for `enumerate_slabs` (A).
    """
    cuts, _ = plane.cuts(layer_tolerance)
    oriented_bulk = _oriented_bulk(plane)
    found = []
    for termination in terminations_of(plane, cuts):
        least = max(thickness - slack, 0.0)
        while True:
            bottom, top = thinnest(plane, termination.cut, least)
            slab = _build(
                plane, termination, bottom, top, count_layers(cuts, bottom, top), 1.0, oriented_bulk
            )
            if slab.thickness > thickness + slack or slab.thickness >= height:
                break
            vacuum = height - slab.thickness
            found.append(_build(plane, termination, bottom, top, slab.n_layers, vacuum, oriented_bulk))
            least = slab.thickness + plane.period / 4
    return found


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
    bottom: Cut,
    top: Cut,
    n_layers: int,
    vacuum: float,
    oriented_bulk: Structure,
) -> SymmetricSlab:
    first, last = atom_ranges(plane, bottom, top)
    repeats = last - first + 1
    which = np.repeat(np.arange(len(plane.species)), repeats)
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
    structure = _structure(lattice, np.array(plane.species)[which], fractional)
    return SymmetricSlab(
        structure=structure,
        oriented_bulk=oriented_bulk,
        miller_index=plane.miller_index,
        termination=termination.number,
        termination_label=termination.label,
        termination_key=termination.key,
        cut=float(bottom.position * plane.spacing % plane.period),
        period=plane.period,
        gap=bottom.gap,
        n_layers=n_layers,
        thickness=thickness,
        vacuum=vacuum,
        area=float(np.linalg.norm(np.cross(lattice[0], lattice[1]))),
        spacegroup_number=plane.crystal.spacegroup_number,
    )
