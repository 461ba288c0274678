"""Wulff shape of a crystal: averages over its facets, chemical potential, and planes left out."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.analysis.wulff import WulffFacet, WulffShape
from pymatgen.core import Lattice
from scipy.spatial import QhullError

from stores.errors import InputError
from stores.verdicts import verdict_status
from workflows.analysis.surface_energy import reference_element_of
from workflows.structures.crystal import crystal_of
from workflows.structures.facets import distinct_facets, equivalent_planes, standard_plane
from workflows.structures.planes import plane_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from workflows.structures.crystal import Crystal
    from workflows.structures.facets import Miller

    Record = Mapping[str, Any]


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
        Name of the termination, e.g. "Mg".
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
    """A Wulff shape and the averages over it; without a shape `reason` gives why.

    Attributes
    ----------
    shape
        pymatgen's WulffShape in units of the smallest surface energy, None if there is none.
    facets
        The termination of lowest surface energy of each family of equivalent planes.
    surface_energies
        Of `facets` at the given chemical potential (eV/A^2).
    area_fractions
        Share of each of `facets` in the shape's area (1), summing to 1.
    polygons
        Index into `facets` and corners in order, shape (n, 3), of every face of the shape.
    surface_energy, work_function
        Averages weighted by area (eV/A^2, eV); the work function is None if a face lacks one.
    shape_factor
        Area over volume^(2/3) (1); 4.836 for a sphere, 6 for a cube.
    reason
        Why a shape or an average is missing, in one line; else empty.
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
                plane = (normal, energy, normal * energy, normal / energy, index, index, miller)
                planes.append(WulffFacet(*plane))  # type: ignore[no-untyped-call] # pymatgen leaves it untyped
        return sorted(planes, key=lambda plane: plane.e_surf)


def is_usable(record: Record, dmu: float = 0.0) -> bool:
    """Whether the record has an accepted surface energy of a known plane at a chemical potential (eV)."""
    accepted = verdict_status(record, "surface_energy") == "accepted"
    known = record.get("surface_energy") is not None and any(record["miller_index"])
    return bool(accepted and known and (dmu == 0 or record.get("surface_energy_slope") is not None))


def facets_from_records(records: Iterable[Record], dmu: float = 0.0) -> list[Facet]:
    """Return the facets of stored surface records (documents of one bulk and one method).

    Only those with an accepted surface energy at the chemical potential `dmu` (eV); a rejected work function
    counts as unknown.
    """
    return [
        Facet(
            tuple(r["miller_index"]),
            r["surface_energy"],
            r.get("work_function") if verdict_status(r, "work_function") == "accepted" else None,
            r.get("termination_label", ""),
            r.get("surface_energy_slope") or 0.0,
        )
        for r in records
        if is_usable(r, dmu)
    ]


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
        first_line = str(error).strip().splitlines()[0]
        why = _open_shape(crystal, lowest) or f"the hull cannot be computed ({first_line})"
        return WulffResult(facets=chosen, surface_energies=energies, reason=f"no Wulff shape: {why}")

    total = sum(shape.color_area)
    fractions = tuple(float(area / total) for area in shape.color_area)
    faces = [(share, f.work_function) for share, f in zip(fractions, chosen, strict=True) if share > 0]
    products = [share * value for share, value in faces if value is not None]
    complete = len(products) == len(faces)
    return WulffResult(
        shape=shape,
        facets=chosen,
        surface_energies=energies,
        area_fractions=fractions,
        polygons=_polygons(shape),
        surface_energy=sum(s * e for s, e in zip(fractions, energies, strict=True)),
        work_function=sum(products) if complete else None,
        shape_factor=float(shape.shape_factor),
        reason=""
        if complete
        else "no weighted work function: a face of the Wulff shape has no accepted work function",
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


def _polygons(shape: WulffShape) -> tuple[tuple[int, NDArray[np.float64]], ...]:
    """Join the triangles of each face into one polygon with ordered corners."""
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


_SHOWN_DIGITS = 0.0005
"""Bounds are shown with three decimals (eV); what was typed from there counts as the bound itself."""


@dataclass(frozen=True)
class ChemicalPotential:
    """Chemical potential at which surface energies are taken."""

    dmu: float  # of `reference`, relative to its elemental phase (eV)
    # from X-rich to Mg-rich (eV); None for elements and where it is not known
    window: tuple[float, float] | None
    # reference, partner: element whose chemical potential it is (Mg wherever there is Mg), and the other one;
    # the partner of an element is empty
    reference: str
    partner: str

    @property
    def end(self) -> str:
        """Name of the end of the window where this is, such as "Mg-rich"; empty in between."""
        if not self.partner:
            return ""
        if self.dmu == 0:
            return f"{self.reference}-rich"
        return f"{self.partner}-rich" if self.window and self.dmu == self.window[0] else ""


def chemical_potential(
    records: Sequence[Record], dmu: float = 0.0, x_rich: bool = False
) -> ChemicalPotential:
    """Return the chemical potential `dmu` (eV), or its X-rich end, for records of one crystal and method.

    Raises
    ------
    InputError
        If both are given, or it lies outside the window within which the elements do not precipitate.
    """
    if x_rich and dmu != 0:
        raise InputError("--dmu and --x-rich exclude each other; choose one")
    formula = records[0]["formula"]
    elements = str(records[0]["chemsys"]).split("-")
    if len(elements) > 2:
        raise InputError(f"{formula}: surface energies are defined for elements and binary compounds only")
    reference = reference_element_of(records[0])
    partner = next((element for element in elements if element != reference), "")
    windows = [w for record in records if (w := record.get("chemical_potential_window"))]
    window = (max(float(w[0]) for w in windows), 0.0) if windows else None
    wanted = "--x-rich" if x_rich else f"--dmu {dmu:g}"
    if window is None:
        if x_rich or dmu != 0:
            why = (
                "it is an element"
                if not partner
                else f"its formation energy is positive or the reference of {partner} is missing"
            )
            raise InputError(f"{formula} has no window of the chemical potential ({why}); leave out {wanted}")
        return ChemicalPotential(0.0, None, reference, partner)
    low = window[0]
    if x_rich or low - _SHOWN_DIGITS <= dmu < low:
        dmu = low
    if not low <= dmu <= 0:  # also for what is not a number
        shown = f"{dmu:g}" if math.isfinite(dmu) else str(dmu)
        raise InputError(
            f"{formula}: --dmu {shown} lies outside the window of the chemical potential of {reference}, "
            f"{low:.3f} eV ({partner}-rich) to 0 eV ({reference}-rich); choose a value within it"
        )
    return ChemicalPotential(dmu + 0.0, window, reference, partner)


@dataclass(frozen=True)
class LeftOut:
    """A plane (hkl in the conventional standard cell), or one termination of it, missing in a Wulff shape.

    `label` is empty for a whole plane; `reason` is one line.
    """

    miller_index: Miller
    label: str
    reason: str


def left_out(
    crystal: Crystal,
    used: Iterable[Record],
    known: Iterable[Record],
    dmu: float = 0.0,
    max_index: int | None = None,
) -> list[LeftOut]:
    """List planes without an accepted surface energy, then rejected terminations of the other planes.

    Parameters
    ----------
    used
        Records given for the shape; the rejected among them are not part of it.
    known
        All records of the same bulk and method in the store.
    dmu
        Chemical potential of the shape (eV).
    max_index
        Planes up to this Miller index are expected; the largest of `known` if None.
    """
    planes: dict[Miller, list[Record]] = {}
    for record in known:
        if any(record["miller_index"]):
            planes.setdefault(standard_plane(crystal, tuple(record["miller_index"])), []).append(record)
    taken = {
        (standard_plane(crystal, tuple(r["miller_index"])), _label(r)) for r in used if is_usable(r, dmu)
    }
    present = {plane for plane, _ in taken}
    largest = max_index or max((abs(i) for plane in planes for i in plane), default=1)
    expected = [*distinct_facets(crystal, largest), *planes]
    whole = [
        LeftOut(plane, "", _why(crystal, plane, planes.get(plane, []), dmu))
        for plane in dict.fromkeys(expected)
        if plane not in present
    ]
    single = [
        LeftOut(plane, _label(record), _status(record))
        for plane, records in planes.items()
        if plane in present
        for record in records
        if not is_usable(record, dmu) and (plane, _label(record)) not in taken
    ]
    return whole + list(dict.fromkeys(single))


def _label(record: Record) -> str:
    return str(record.get("termination_label") or "")


def _status(record: Record) -> str:
    if is_usable(record):
        return f"surface energy known at the {reference_element_of(record)}-rich end only"
    return str(record["verdicts"]["surface_energy"]["status"]).replace("_", " ")


def _why(crystal: Crystal, plane: Miller, records: Sequence[Record], dmu: float) -> str:
    if any(is_usable(record, dmu) for record in records):
        return "not among the selected records"
    if records:
        return ", ".join(dict.fromkeys(_status(record) for record in records))
    polar = plane_of(crystal, plane).is_polar
    return "polar direction: no symmetric slab exists" if polar else "not computed"
