"""The crystal and the planes of imported slabs, for a Wulff shape of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError, pluralize
from workflows.structures.crystal import crystal_of
from workflows.structures.facets import standard_plane
from workflows.structures.tolerances import LOOSE_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.structures.crystal import Crystal

SAME_CELL = 0.01
"""Cells whose vectors differ by less are of one crystal (relative)."""


def imported_facets(
    found: Sequence[dict[str, Any]],
) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """Find from the slabs themselves which planes of which crystal they are.

    A source seldom gives Miller indices, and never says in which cell. The inside of a slab shows its crystal
    (`model.graphs.thickness.bulk_cell`); the surface is the plane (001) of the cell found there.

    Parameters
    ----------
    found
        Imported slabs as of `stores.imported.as_surface`, with ``slab``.

    Returns
    -------
    records
        Of the slabs that show their crystal, with ``miller_index`` in its conventional standard cell,
        ``spacegroup_number`` and one ``bulk_id``.
    bulk
        That crystal, as a document.
    lines
        For people: what was left out, and which planes differ from those that the source gives.

    Raises
    ------
    InputError
        If no slab shows its crystal, or there are several crystals or sources.
    """
    from model.graphs.slab_frame import PlainSlab, frame_of
    from model.graphs.thickness import NoRepeatError, bulk_cell

    sources = sorted({str(record["source"]) for record in found})
    if len(sources) > 1:
        methods = sorted({str(record["method_fingerprint"]) for record in found})
        raise InputError(
            f"Wulff shape: one source at a time, found {', '.join(sources)}; choose one with --method "
            f"{' or '.join(methods)}"
        )
    records: list[dict[str, Any]] = []
    crystals: list[Crystal] = []
    unknown = []
    for record in found:
        try:
            frame = frame_of(PlainSlab.from_dict(record["slab"], f"the slab {record['source_id']}"))
            cell = bulk_cell(frame)
        except NoRepeatError:
            unknown.append(str(record["source_id"]))
            continue
        crystal = crystal_of(cell, LOOSE_SYMPREC if record["geometry"] == "relaxed" else SYMPREC)
        plane = list(standard_plane(crystal, (0, 0, 1)))
        crystals.append(crystal)
        number = crystal.spacegroup_number
        records.append({**record, "miller_index": plane, "spacegroup_number": number, "bulk_id": sources[0]})
    if not records:
        raise InputError(
            f"Wulff shape: none of {pluralize(len(found), 'imported slab')} shows its crystal (too thin), so "
            "that their planes are not known; import thicker slabs"
        )
    _check_one_crystal(crystals, records)
    lines = [f"surface energies are those of {sources[0]}; planes and crystal are found from its slabs"]
    if unknown:
        named = ", ".join(unknown[:3]) + (" ..." if len(unknown) > 3 else "")
        lines.append(f"{pluralize(len(unknown), 'slab')} left out, too thin to show the crystal: {named}")
    return records, crystals[0].structure.as_dict(), lines


def _check_one_crystal(crystals: Sequence[Crystal], records: Sequence[dict[str, Any]]) -> None:
    """Refuse slabs of different crystals, of whose formula there may be several."""
    first = crystals[0]
    names: dict[str, str] = {}
    for crystal, record in zip(crystals, records, strict=True):
        edges = [np.linalg.norm(one.lattice, axis=1) for one in (crystal, first)]
        same = (
            crystal.spacegroup_number == first.spacegroup_number
            and len(crystal.species) == len(first.species)
            and bool(np.all(np.abs(edges[0] / edges[1] - 1) < SAME_CELL))
        )
        name = f"{record['formula']} {crystal.spacegroup_symbol}, {np.linalg.det(crystal.lattice):.1f} A^3"
        names.setdefault(name if not same else "", f"{name} ({record['compound']})")
    if len(names) > 1:
        shown = "; ".join(dict.fromkeys(names.values()))
        raise InputError(
            f"Wulff shape: one crystal at a time, the imported slabs are of {shown}; choose one, such as "
            f"""with --filter '{{"compound": "{records[0]["compound"]}"}}'"""
        )
