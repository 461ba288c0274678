"""Equilibrium shape of a crystal and the averages over its facets."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.analysis.wulff import WulffFacet, WulffShape
from pymatgen.core import Lattice
from scipy.spatial import QhullError

from stores.errors import InputError
from workflows.structures.crystal import crystal_of
from workflows.structures.facets import equivalent_planes, standard_plane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from workflows.structures.crystal import Crystal
    from workflows.structures.facets import Miller


@dataclass(frozen=True)
class Facet:
    """One termination of a crystal plane.

    Attributes
    ----------
    miller_index
        hkl in the cell of the bulk structure.
    surface_energy
        At dmu = 0 (eV/A^2).
    work_function
        eV; None if unknown.
    label
        For people, e.g. "(110) Mg".
    slope
        d gamma / d dmu (1/A^2).
    """

    miller_index: Miller
    surface_energy: float
    work_function: float | None = None
    label: str = ""
    slope: float = 0.0


@dataclass(frozen=True)
class WulffResult:
    """A Wulff shape and the averages over it; without a shape `reason` says why.

    Attributes
    ----------
    shape
        pymatgen's WulffShape in units of the smallest surface energy, None if there is none.
    facets
        The termination of lowest surface energy of each family of equivalent planes.
    surface_energies
        Of `facets` at the chemical potential asked for (eV/A^2).
    area_fractions
        Share of each of `facets` in the shape's area (1), summing to 1.
    polygons
        Index into `facets` and corners in order, shape (n, 3), of every face of the shape.
    surface_energy, work_function
        Averages weighted by area (eV/A^2, eV); the work function is None if a face lacks one.
    shape_factor
        Area over volume^(2/3) (1); 4.836 for a sphere, 6 for a cube.
    reason
        One line; empty if all is well.
    """

    shape: WulffShape | None = None
    facets: tuple[Facet, ...] = ()
    surface_energies: tuple[float, ...] = ()
    area_fractions: tuple[float, ...] = ()
    polygons: tuple[tuple[int, NDArray[np.float64]], ...] = field(default=(), repr=False)
    surface_energy: float | None = None
    work_function: float | None = None
    shape_factor: float | None = None
    reason: str = ""


class CrystalWulffShape(WulffShape):
    """WulffShape that repeats a facet by the crystal's point group plus inversion.

    pymatgen takes the symmetry of the bare lattice, which makes (101) and (10-1) of Mg3Sb2 one facet.
    Inversion is added because both sides of a symmetric slab are the same termination.
    """

    def __init__(self, crystal: Crystal, millers: Sequence[Miller], energies: Sequence[float]) -> None:
        self.crystal = crystal
        super().__init__(Lattice(crystal.lattice), millers, energies)

    def _get_all_miller_e(self) -> list[WulffFacet]:
        reciprocal = self.structure.lattice.reciprocal_lattice_crystallographic
        planes = []
        for index, (miller, energy) in enumerate(zip(self.hkl_list, self.e_surf_list, strict=True)):
            for image in sorted(equivalent_planes(self.crystal, miller)):
                normal = reciprocal.get_cartesian_coords(image)
                normal = normal / np.linalg.norm(normal)
                planes.append(_plane(normal, energy, index, miller))
        return sorted(planes, key=lambda plane: plane.e_surf)


def _plane(normal: NDArray[np.float64], energy: float, index: int, miller: Miller) -> WulffFacet:
    # pymatgen leaves this class untyped
    return WulffFacet(normal, energy, normal * energy, normal / energy, index, index, miller)  # type: ignore[no-untyped-call]


def facets_from_records(records: Iterable[Mapping[str, Any]], accepted_only: bool = True) -> list[Facet]:
    """Take the facets of stored surface records (documents as in the store).

    Parameters
    ----------
    records
        Of one bulk and one method.
    accepted_only
        Leave out surface energies whose verdict is not accepted; a rejected work function counts as
        unknown.
    """
    facets = []
    for record in records:
        verdicts = record["verdicts"]
        if record.get("surface_energy") is None or not any(record["miller_index"]):
            continue  # an ingested slab whose plane is unknown has no place in the shape
        if accepted_only and verdicts["surface_energy"]["status"] != "accepted":
            continue
        h, k, l_ = record["miller_index"]
        known = not accepted_only or verdicts["work_function"]["status"] == "accepted"
        facets.append(
            Facet(
                (h, k, l_),
                record["surface_energy"],
                record.get("work_function") if known else None,
                record.get("termination_label", ""),
                record.get("surface_energy_slope") or 0.0,
            )
        )
    return facets


def wulff(bulk: Structure, facets: Sequence[Facet], dmu: float = 0.0) -> WulffResult:
    """Build the Wulff shape: the crystal of least total surface energy at given volume.

    Of every family of planes equivalent by the crystal's point group plus inversion the termination of
    lowest surface energy counts (Wulff, Z. Kristallogr. 34, 449 (1901); weighted averages as Tran et al.,
    Sci. Data 3, 160080 (2016)).

    Parameters
    ----------
    bulk
        Cell that the Miller indices refer to (A): of stored records the conventional standard cell.
    facets
        Terminations with their surface energies (eV/A^2) and work functions (eV).
    dmu
        Chemical potential of the reference element (eV).

    Returns
    -------
    WulffResult
        Without a shape when there is no facet, a surface energy is not positive, the facets do not
        enclose a volume or the hull cannot be computed.

    Raises
    ------
    InputError
        If a Miller index is (000).
    """
    if not facets:
        return WulffResult(reason="no Wulff shape: no facet has an accepted surface energy")
    crystal = crystal_of(bulk)
    lowest: dict[Miller, tuple[float, Facet]] = {}
    for facet in facets:
        if not any(facet.miller_index):
            raise InputError("Wulff shape: (000) is no crystal plane; correct the Miller index")
        family = standard_plane(crystal, facet.miller_index)
        energy = facet.surface_energy + facet.slope * dmu
        if family not in lowest or energy < lowest[family][0]:
            lowest[family] = (energy, facet)
    energies = tuple(energy for energy, _ in lowest.values())
    chosen = tuple(facet for _, facet in lowest.values())
    bad = [facet for energy, facet in lowest.values() if not energy > 0]
    if bad:
        names = ", ".join(f"{facet.miller_index} {facet.label}".strip() for facet in bad)
        return WulffResult(
            facets=chosen, surface_energies=energies,
            reason=f"no Wulff shape: surface energy of {names} is not positive at dmu = {dmu:.3f} eV",
        )  # fmt: skip
    try:
        shape = _build(crystal, list(lowest), energies)
    except (QhullError, np.linalg.LinAlgError) as error:
        reason = f"no Wulff shape: {_open_shape(crystal, lowest) or _first_line(error)}"
        return WulffResult(facets=chosen, surface_energies=energies, reason=reason)

    total = sum(shape.color_area)
    fractions = tuple(float(area / total) for area in shape.color_area)
    functions = [f.work_function for f, share in zip(chosen, fractions, strict=True) if share > 0]
    weights = [share for share in fractions if share > 0]
    mean_work_function: float | None = None
    reason = ""
    if any(value is None for value in functions):
        reason = "no weighted work function: a face of the Wulff shape has no accepted work function"
    else:
        mean_work_function = sum(
            weight * value for weight, value in zip(weights, functions, strict=True) if value is not None
        )
    return WulffResult(
        shape=shape,
        facets=chosen,
        surface_energies=energies,
        area_fractions=fractions,
        polygons=_polygons(shape),
        surface_energy=sum(s * e for s, e in zip(fractions, energies, strict=True)),
        work_function=mean_work_function,
        shape_factor=float(shape.shape_factor),
        reason=reason,
    )


def _build(crystal: Crystal, millers: Sequence[Miller], energies: Sequence[float]) -> CrystalWulffShape:
    # In units of the smallest energy, because pymatgen compares plane distances with an absolute 1e-5.
    scale = min(energies)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CrystalWulffShape(crystal, millers, [energy / scale for energy in energies])


def _open_shape(crystal: Crystal, millers: Iterable[Miller]) -> str:
    normals = [image for miller in millers for image in equivalent_planes(crystal, miller)]
    if np.linalg.matrix_rank(np.array(normals)) == 3:
        return ""
    names = ", ".join(str(miller) for miller in millers)
    return f"the facets {names} and their equivalents do not enclose a volume; more facets are needed"


def _first_line(error: Exception) -> str:
    return f"the hull cannot be computed ({str(error).strip().splitlines()[0]})"


def _polygons(shape: WulffShape) -> tuple[tuple[int, NDArray[np.float64]], ...]:
    """Join the triangles of each face into one polygon with its corners in order."""
    polygons = []
    for plane in shape.facets:
        if not plane.points:
            continue
        corners = np.unique(np.asarray(plane.points, dtype=float).reshape(-1, 3).round(8), axis=0)
        spokes = corners - corners.mean(axis=0)
        across = spokes[0] / np.linalg.norm(spokes[0])
        along = np.cross(plane.normal, across)
        order = np.argsort(np.arctan2(spokes @ along, spokes @ across))
        polygons.append((int(plane.index), corners[order]))
    return tuple(polygons)
