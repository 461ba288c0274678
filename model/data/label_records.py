"""Records of imported slabs, crystals and compositions, written unless another structure has their id."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from model.data.composition_entries import canonical_formula
from model.graphs.graph import GraphSettings, graph_of
from model.graphs.slab_frame import frame_of
from model.graphs.thickness import NoRepeatError, crystal_inside
from stores.errors import pluralize
from stores.labelled import BULK, COLLECTION, COMPOSITION, LabelRecord, add_labels, source_fingerprint
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.data.import_formats import Imported, Labelled
    from model.graphs.bulk_graph import PlainBulk
    from model.graphs.slab_frame import PlainSlab, SlabFrame
    from stores.surfaces import SurfaceStore

_SAME_PLACE = 1e-3  # a slab whose cell and atoms differ by more is another one (A, or fractional)


def slab_record(
    row: Labelled, targets: dict[str, float | None], units: dict[str, str], source: str, relaxed: bool
) -> LabelRecord:
    """Return the record of a slab.

    Parameters
    ----------
    row
        As its source has it.
    targets
        Its labels, converted to `units`.
    source
        Name of the source.
    relaxed
        Whether it is relaxed where the source does not state it.

    Raises
    ------
    InputError
        If no graph can be made of it.
    """
    from ase.data import chemical_symbols

    frame = frame_of(row.slab)
    graph_of(frame, GraphSettings())  # refuses what no graph can be made of
    numbers, counts = np.unique(row.slab.numbers, return_counts=True)
    composition = {chemical_symbols[n]: int(c) for n, c in zip(numbers, counts, strict=True)}
    return LabelRecord(
        id=content_hash({"source": source, "source_id": row.source_id}),
        source=source,
        source_id=row.source_id,
        method_fingerprint=source_fingerprint(source),
        formula=_formula(composition),
        chemsys="-".join(sorted(composition)),
        composition=composition,
        n_atoms=len(row.slab.numbers),
        compound=_compound(frame, composition),
        slab=_structure_dict(row.slab),
        geometry="relaxed" if (row.geometry or ("relaxed" if relaxed else "")) == "relaxed" else "as_cut",
        targets=targets,
        units=units,
        miller_index=row.miller_index,
    )


def bulk_record(
    row: Labelled,
    crystal: PlainBulk,
    units: dict[str, str],
    source: str,
    classes: dict[str, list[str]] | None,
) -> LabelRecord:
    """Return the record of a crystal whose graph could be built, with its labels as they are."""
    from ase.data import chemical_symbols

    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    composition = {chemical_symbols[n]: int(c) for n, c in zip(numbers, counts, strict=True)}
    volume = abs(float(np.linalg.det(crystal.lattice))) / len(crystal.numbers)
    return LabelRecord(
        id=content_hash({"source": source, "source_id": row.source_id, "geometry": BULK}),
        source=source,
        source_id=row.source_id,
        method_fingerprint=source_fingerprint(source, geometry=BULK),
        formula=_formula(composition),
        chemsys="-".join(sorted(composition)),
        composition=composition,
        n_atoms=len(crystal.numbers),
        compound=f"{_formula(composition)} {volume:.3f}",
        slab=_structure_dict(crystal),
        geometry="bulk",
        targets=row.targets,
        units=units,
        classes=classes,
    )


def composition_record(
    fractions: dict[str, float],
    extras: dict[str, float | None],
    targets: dict[str, float | None],
    *,
    units: dict[str, str],
    classes: dict[str, list[str]] | None,
    source: str,
    unit: Literal["at%", "wt%"],
) -> LabelRecord:
    """Return the record of a composition, whose name in its source is its canonical formula.

    Numeric columns (`extras`) make records of one composition different samples: the name then ends in a hash
    of them. `unit` is that of the amounts in the source; `fractions` are of atoms.
    """
    formula = canonical_formula(fractions)
    name = f"{formula} {content_hash(extras, 8)}" if extras else formula
    return LabelRecord(
        id=content_hash({"source": source, "source_id": name, "geometry": COMPOSITION}),
        source=source,
        source_id=name,
        method_fingerprint=source_fingerprint(source, geometry=COMPOSITION),
        formula=formula,
        chemsys="-".join(sorted(fractions)),
        composition={},
        n_atoms=0,
        compound=formula,
        geometry="composition",
        fractions=fractions,
        extras=extras or None,
        composition_unit=unit,
        targets=targets,
        units=units,
        classes=classes,
    )


def _formula(amounts: dict[str, int]) -> str:
    """Return the reduced formula with Mg first and the others in alphabetical order."""
    divisor = gcd(*amounts.values())
    order = sorted(amounts, key=lambda symbol: (symbol != "Mg", symbol))
    return "".join(f"{s}{n if (n := amounts[s] // divisor) > 1 else ''}" for s in order)


def _compound(frame: SlabFrame, composition: dict[str, int]) -> str:
    from ase.data import chemical_symbols

    try:
        inside, volume = crystal_inside(frame)
    except NoRepeatError:
        return _formula(composition)
    return f"{_formula({chemical_symbols[n]: count for n, count in inside.items()})} {volume:.3f}"


def _structure_dict(slab: PlainSlab) -> dict[str, Any]:
    """Return what `stores.structures.document` reads, without making 89 sites of pymatgen first."""
    from ase.data import chemical_symbols

    symbols = [chemical_symbols[n] for n in slab.numbers]
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": place, "properties": {}, "label": symbol}
        for symbol, place in zip(symbols, slab.fractional.tolist(), strict=True)
    ]
    return {
        "lattice": {"matrix": slab.lattice.tolist(), "pbc": [True, True, True]},
        "sites": sites,
        "charge": 0,
        "properties": {},
    }


def write_records(store: SurfaceStore, batch: Sequence[LabelRecord], result: Imported) -> None:
    """Write records, except those whose id another structure has.

    Stored labels of targets that a record does not have are kept: files often hold one property.
    """
    other_structures: set[str] = set()

    def merged(stored: dict[str, Any], new: dict[str, Any]) -> dict[str, Any] | None:
        if (document := with_labels_of(stored, new)) is not None:
            return document
        other_structures.add(new["id"])
        return None

    result.n_changed += add_labels(store, batch, merged)
    for record in batch:
        if record.id in other_structures:
            noun = "crystal" if record.geometry == BULK else "slab"
            result.problems.append(
                f"{record.source_id}: the store holds another {noun} of this name from {record.source}; "
                f"give another --source"
            )
            continue
        result.n_read += 1
        for target, value in record.targets.items():
            result.n_labels[target] = result.n_labels.get(target, 0) + (value is not None)


def with_labels_of(stored: dict[str, Any], new: dict[str, Any]) -> dict[str, Any] | None:
    """Return a new document with the labels of other targets that its stored version has.

    And with its structure, in whatever order and orientation an earlier reader gave it. None if that is
    another one; compositions, whose ids are made of themselves, have none.
    """
    if new.get("slab") is not None and not _same_slab(stored["slab"], new["slab"]):
        return None
    old = stored["targets"].keys() - new["targets"].keys()
    document = {**new, "targets": stored["targets"] | new["targets"]}
    for field in ("units", "classes"):
        kept = {name: value for name, value in (stored.get(field) or {}).items() if name in old}
        if field == "units" or kept or new.get(field):
            document[field] = kept | (new.get(field) or {})
    if "slab" in stored:
        document["slab"] = stored["slab"]
    return document


def other_units(store: SurfaceStore, source: str, geometry: str, units: Mapping[str, str]) -> list[str]:
    """Return a line for each target that other records of the source have in another unit."""
    method = source_fingerprint(source, geometry=geometry)
    lines = []
    for target, unit in units.items():
        others = {f"units.{target}": {"$ne": unit}, f"targets.{target}": {"$ne": None}}
        if count := store.count({"method_fingerprint": method, **others}, COLLECTION):
            lines.append(
                f"{pluralize(count, 'record')} of {source} in the store have {target} in another unit than "
                f"{unit}; import all of them again in one unit, or give another --source"
            )
    return lines


def _same_slab(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two slabs are equal up to their orientation and the order of their atoms."""
    if len(one["sites"]) != len(other["sites"]):
        return False
    cells = [np.array(slab["lattice"]["matrix"]) for slab in (one, other)]
    metrics = [cell @ cell.T for cell in cells]
    longest = float(np.sqrt(max(metric.max() for metric in metrics)))
    if np.abs(metrics[0] - metrics[1]).max() > 2 * longest * _SAME_PLACE:
        return False
    species = [np.array([site["species"][0]["element"] for site in slab["sites"]]) for slab in (one, other)]
    places = [np.array([site["abc"] for site in slab["sites"]]) for slab in (one, other)]
    offsets = places[0][:, None] - places[1][None]
    same = np.all(np.abs(offsets - np.round(offsets)) < _SAME_PLACE, axis=2)
    same &= species[0][:, None] == species[1][None]
    return bool(same.any(axis=0).all() and same.any(axis=1).all())
