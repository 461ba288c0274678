"""Crystals of imported slabs, and which planes of them the slabs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.graphs.slab_frame import PlainSlab, frame_of
from model.graphs.thickness import NoRepeatError, bulk_cell
from stores.errors import InputError
from workflows.structures.crystal import crystal_of
from workflows.structures.facets import canonical_facet, standard_plane
from workflows.structures.planes import plane_of
from workflows.structures.slab_matching import supercell_strain
from workflows.structures.tolerances import LOOSE_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from model.graphs.slab_frame import SlabFrame
    from workflows.structures.crystal import Crystal
    from workflows.structures.facets import Miller

    Record = dict[str, Any]

SAME_CELL = {SYMPREC: 0.01, LOOSE_SYMPREC: 0.02}
"""Cells whose edges differ by less are of one crystal (relative), by the tolerance of their symmetry: the
inside of a thin relaxed slab is strained along the normal."""

AGREEING = 2 / 3
"""Share of a source's Miller indices that must be those found in slabs, for the others to be believed."""


@dataclass(frozen=True, eq=False)
class ImportedCrystal:
    """A crystal with the imported slabs that show planes of it."""

    crystal: Crystal  # found inside the slabs; of those that show it the one of median volume
    # the slabs as `stores.imported.as_surface` gives them, with ``miller_index`` in the crystal's
    # conventional standard cell, ``spacegroup_number`` and one ``bulk_id``
    records: tuple[Record, ...]


@dataclass(frozen=True, eq=False)
class _Shown:
    """A slab that shows its crystal, with the plane of it that the surface is."""

    record: Record
    crystal: Crystal
    plane: Miller


def imported_crystals(found: Sequence[Record]) -> tuple[list[ImportedCrystal], list[Record]]:
    """Find from imported slabs of one formula which planes of which crystals they are.

    The inside of a slab shows its crystal (`model.graphs.thickness.bulk_cell`); the surface is the plane
    (001) of the cell found there. A slab that is too thin to show it, or so distorted that it shows another
    crystal than most, has the Miller index that its source gives, if that index fits the slab's in-plane cell
    and the source's indices are those found for most slabs of the same crystal that show their planes.

    Parameters
    ----------
    found
        Imported slabs with ``slab``, see `stores.imported.imported_surfaces`.

    Returns
    -------
    tuple
        Crystals, that of most slabs first, and the slabs whose plane remains unknown.
    """
    frames = [frame_of(PlainSlab.from_dict(one["slab"], f"the slab {one['source_id']}")) for one in found]
    cells: list[Structure | None] = []
    for frame in frames:
        try:
            cells.append(bulk_cell(frame))
        except NoRepeatError:
            cells.append(None)
    groups, tolerance = _groups(found, cells)
    crystals = [_of_median_volume(group) for group in groups]
    agree = [_agrees(group, crystal) for group, crystal in zip(groups, crystals, strict=True)]
    own = {id(one.record): number for number, group in enumerate(groups) for one in group}
    planes = {id(one.record): one.plane for group in groups for one in group}
    members: list[list[tuple[Record, Miller]]] = [[] for _ in groups]
    unknown = []
    for record, frame in zip(found, frames, strict=True):
        number = own.get(id(record))
        # a crystal of which the source's indices are not those found is doubtful, however many show it
        size = 0 if number is None or not agree[number] else len(groups[number])
        fits = [
            (strain, other)
            for other, crystal in enumerate(crystals)
            if agree[other] and len(groups[other]) > size
            if (strain := _strain(record, frame, crystal)) is not None
        ]
        if fits and (tolerance == LOOSE_SYMPREC or number is None):
            other = min(fits)[1]
            plane = canonical_facet(crystals[other], _given(record))
            members[other].append((record, plane))
        elif number is not None:
            members[number].append((record, planes[id(record)]))
        else:
            unknown.append(record)
    result = [_imported(crystal, slabs) for crystal, slabs in zip(crystals, members, strict=True) if slabs]
    return sorted(result, key=lambda one: -len(one.records)), unknown


def _imported(crystal: Crystal, slabs: Sequence[tuple[Record, Miller]]) -> ImportedCrystal:
    number, first = crystal.spacegroup_number, slabs[0][0]
    fields = {"spacegroup_number": number, "bulk_id": f"{first['source']} {first['formula']} {number}"}
    return ImportedCrystal(
        crystal, tuple({**record, "miller_index": list(plane), **fields} for record, plane in slabs)
    )


def _tolerances(found: Sequence[Record]) -> tuple[float, ...]:
    """Tolerances of the symmetry to try: the loose one for slabs that are, or may be, relaxed."""
    relaxed = any(record["geometry"] == "relaxed" for record in found)
    return (LOOSE_SYMPREC,) if relaxed else (SYMPREC, LOOSE_SYMPREC)


def _groups(found: Sequence[Record], cells: Sequence[Structure | None]) -> tuple[list[list[_Shown]], float]:
    """Divide slabs that show their crystal by it, at the tolerance that makes fewest crystals of them."""
    best: tuple[list[list[_Shown]], float] | None = None
    for tolerance in _tolerances(found):
        shown = []
        for record, cell in zip(found, cells, strict=True):
            try:
                crystal = None if cell is None else crystal_of(cell, tolerance)
            except InputError:  # no symmetry found
                continue
            if crystal is not None:
                shown.append(_Shown(record, crystal, standard_plane(crystal, (0, 0, 1))))
        groups = _grouped(shown, SAME_CELL[tolerance])
        if best is None or len(groups) < len(best[0]):
            best = groups, tolerance
    assert best is not None
    return best


def _grouped(shown: Sequence[_Shown], same_cell: float) -> list[list[_Shown]]:
    """Divide slabs by their crystals: space group, number of atoms and lengths of the cell's edges."""
    groups: list[list[_Shown]] = []
    for one in shown:
        edges = np.linalg.norm(one.crystal.lattice, axis=1)
        for group in groups:
            first = group[0].crystal
            ratios = edges / np.linalg.norm(first.lattice, axis=1)
            if (
                one.crystal.spacegroup_number == first.spacegroup_number
                and len(one.crystal.species) == len(first.species)
                and bool(np.all(np.abs(ratios - 1) < same_cell))
            ):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _of_median_volume(group: Sequence[_Shown]) -> Crystal:
    ordered = sorted(
        (one.crystal for one in group), key=lambda crystal: float(np.linalg.det(crystal.lattice))
    )
    return ordered[len(ordered) // 2]


def _agrees(group: Sequence[_Shown], crystal: Crystal) -> bool:
    """Whether the source gives Miller indices, and `AGREEING` of them are those found."""
    given = [(one.plane, _given(one.record)) for one in group if any(one.record["miller_index"])]
    equal = sum(canonical_facet(crystal, theirs) == plane for plane, theirs in given)
    return bool(given) and equal >= AGREEING * len(given)


def _strain(record: Record, frame: SlabFrame, crystal: Crystal) -> float | None:
    """Strain of a slab's in-plane cell against the plane that its source names; None if it does not fit."""
    miller = _given(record)
    if not any(miller):
        return None
    plane = plane_of(crystal, canonical_facet(crystal, miller))
    return supercell_strain(np.asarray(frame.cell, dtype=float), plane)


def _given(record: Record) -> Miller:
    h, k, l_ = record["miller_index"]
    return (h, k, l_)
