"""Import of external labelled slabs into a store; slabs that it holds already are not added again."""

from __future__ import annotations

import re
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.import_formats import BATCH, SHARED_FILES, Imported, Problem, read_cgcnn, read_shared
from model.data.label_units import QUANTITIES, UNITS, check_value, plan_units
from model.graphs.graph import GraphSettings, graph_of
from model.graphs.slab_frame import frame_of
from model.graphs.thickness import NoRepeatError, crystal_inside
from stores.connections import open_store, parse_uri
from stores.errors import InputError
from stores.exclusion_marks import carry_exclusions, excluded_targets
from stores.labelled import COLLECTION, LabelRecord, add_labels, source_fingerprint
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from model.data.import_formats import Labelled
    from model.data.label_units import UnitPlan
    from model.graphs.slab_frame import PlainSlab, SlabFrame
    from stores.surfaces import SurfaceStore

    Source = tuple[str, tuple[tuple[str, str], ...]]
    """Method of imported slabs, and the units of their targets."""

FORMATS = ("auto", "shared", "cgcnn", "store")
_STORE_ENDINGS = (".sqlite", ".sqlite3", ".db")
_SAME_PLACE = 1e-3  # a slab whose cell and atoms differ by more is another one (A, or fractional)


def import_slabs(
    path: str,
    store_uri: str,
    *,
    format: str = "auto",
    targets: Sequence[str] | None = None,
    source: str | None = None,
    relaxed: bool = False,
    units: dict[str, str] | None = None,
    tick: Callable[[int, int, str], None] | None = None,
) -> Imported:
    """Import the labelled slabs of a folder, file or store that can be used.

    Parameters
    ----------
    path
        Folder or file; the URI of a store, too.
    store_uri
        Store that they are written to.
    format
        One of `FORMATS`.
    targets
        Names of the columns of ``id_prop.csv``, or the targets wanted of a ``slabs.json.gz``.
    source
        Name of the source; by default that of the folder. All slabs of a source have one method.
    relaxed
        The slabs are relaxed, not as cut (where the source does not state it).
    units
        Units by target, before those that the source states; see `model.data.label_units`.
    tick
        Called with the number of slabs done, how many there are (0: not known), and a name.

    Raises
    ------
    InputError
        If nothing can be read at all.
    StoreError
        If a store cannot be read or written.
    """
    from pathlib import Path

    kind = _format(path, format)
    if kind == "store":
        if targets or source or relaxed:
            raise InputError("A store names its targets and methods itself; leave --targets, --source and "
                             "--relaxed out.")  # fmt: skip
        return import_store(path, store_uri, units or {}, tick)
    folder = Path(path)
    name = source or _source_name(folder)
    if not re.fullmatch(r"[\w.+-]{1,80}", name):
        raise InputError(f"The source name {name!r} has odd characters; give a plain word with --source.")
    rows = read_cgcnn(folder, targets) if kind == "cgcnn" else read_shared(folder, targets)
    plan = plan_units(rows.columns, rows.units, units or {}, path)
    stored_units = {name: UNITS.get(name, rows.units.get(name, "")) for name in rows.columns}
    stored_units = {name: unit for name, unit in stored_units.items() if unit}
    result = Imported(kind, name, notes=list(plan.notes))
    with open_store(store_uri) as store:
        batch: list[LabelRecord] = []
        for number, row in enumerate(rows.rows, start=1):
            if isinstance(row, Problem):
                result.problems.append(row.text)
            else:
                try:
                    batch.append(_record(row, plan.convert(row.targets), stored_units, name, relaxed))
                except InputError as error:
                    result.problems.append(f"{row.where}: {row.source_id}: {error}")
            if len(batch) >= BATCH or number == rows.count:
                _write(store, batch, result)
                batch = []
            if tick is not None:
                tick(number, rows.count, name)
    return result


def _format(path: str, format: str) -> str:
    from pathlib import Path

    if format not in FORMATS:
        raise InputError(f"There is no format {format}; choose one of {', '.join(FORMATS)}.")
    place = Path(path)
    if "://" in path:
        if format not in ("auto", "store"):
            raise InputError(f"{path} is a store, not of the format {format}; leave --format out.")
        return "store"
    if not place.exists():
        raise InputError(f"{path} does not exist; check the path.")
    if format != "auto":
        if format == "cgcnn" and not place.is_dir():
            raise InputError(f"{path} is a file, and CGCNN has folders; name the one with id_prop.csv.")
        return format
    if place.is_dir():
        if (place / "id_prop.csv").is_file():
            return "cgcnn"
        if any((place / name).is_file() for name in SHARED_FILES):
            return "shared"
        raise InputError(
            f"{path} has neither id_prop.csv nor {SHARED_FILES[0]}; name a folder with one of them."
        )
    if place.suffix.lower() in _STORE_ENDINGS:
        return "store"
    if place.name.lower().endswith((".json", ".json.gz")):
        return "shared"
    if place.name == "id_prop.csv":
        raise InputError(f"{path} is a file; name its folder.")
    raise InputError(f"{path} has no known form; name a folder with id_prop.csv or a slabs.json.gz.")


def _source_name(path: Path) -> str:
    path = path.resolve()
    if path.is_dir():
        return path.name
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    return path.parent.name if path.name in SHARED_FILES else stem


def _record(
    row: Labelled, targets: dict[str, float | None], units: dict[str, str], source: str, relaxed: bool
) -> LabelRecord:
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


def _write(store: SurfaceStore, batch: list[LabelRecord], result: Imported) -> None:
    """Write records, except those whose id another slab has."""
    ids = [record.id for record in batch]
    there = {d["id"]: d for d in store.collection(COLLECTION).query({"id": {"$in": ids}}, ["id", "slab"])}
    kept = []
    for record in batch:
        stored = there.get(record.id)
        if stored is not None and _same_slab(stored["slab"], record.slab):
            # whatever order and orientation an earlier reader gave it
            record.slab = stored["slab"]
        elif stored is not None:
            result.problems.append(
                f"{record.source_id}: the store holds another slab of this name from {record.source}; "
                f"give another --source"
            )
            continue
        kept.append(record)
        for target, value in record.targets.items():
            result.n_labels[target] = result.n_labels.get(target, 0) + (value is not None)
    result.n_read += len(kept)
    result.n_changed += add_labels(store, kept)


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


_KINDS = ("bulks", "references", "calculations", "surfaces", COLLECTION)


def import_store(
    path: str, store_uri: str, units: Mapping[str, str], tick: Callable[[int, int, str], None] | None
) -> Imported:
    """Copy all records of another store, except those with an accepted value that no surface has.

    `units` of imported slabs in it, by target, go before those that are stored.

    Raises
    ------
    InputError
        If both stores are one, or imported slabs have a unit that is not known.
    """
    result = Imported("store", path)
    if parse_uri(path) == parse_uri(store_uri):
        raise InputError(f"{path} is the store itself; name another with --store.")
    with open_store(path, must_exist=True) as other, open_store(store_uri) as store:
        result.source = other.uri
        plans = _unit_plans(other, units, result)
        total, done = sum(other.count(collection=kind) for kind in _KINDS), 0
        for kind in _KINDS:
            goal = store.collection(kind)
            batch: list[dict[str, Any]] = []
            for document in other.query(collection=kind):
                done += 1
                try:
                    batch.append(_checked(document, kind, plans, result))
                except InputError as error:
                    result.problems.append(f"{result.source}, {kind}, record {document['id']}: {error}")
                if len(batch) >= BATCH:
                    carry_exclusions(goal, batch)
                    result.n_changed += goal.upsert(batch, keep=("created_at",))
                    batch = []
                if tick is not None:
                    tick(done, total, kind)
            carry_exclusions(goal, batch)
            result.n_changed += goal.upsert(batch, keep=("created_at",)) if batch else 0
    return result


def _unit_plans(other: SurfaceStore, units: Mapping[str, str], result: Imported) -> dict[Source, UnitPlan]:
    """How the labels of each source are converted: stores of earlier versions keep other units."""
    columns: dict[Source, dict[str, list[float]]] = {}
    fields = ["method_fingerprint", "targets", "units", "excluded"]
    for document in other.query({}, fields, collection=COLLECTION):
        found, out = columns.setdefault(_source_of(document), {}), excluded_targets(document)
        for name, value in document["targets"].items():
            found.setdefault(name, []).extend([] if value is None or name in out else [value])
    plans = {}
    for key, found in columns.items():
        stated = {target: unit for target, unit in units.items() if target in found}
        plans[key] = plan_units(found, dict(key[1]), stated, f"{result.source}, labels of {key[0]}")
        result.notes += plans[key].notes
    return plans


def _source_of(document: dict[str, Any]) -> Source:
    units = document.get("units") or {}
    return document["method_fingerprint"], tuple(sorted((t, u) for t, u in units.items() if t in QUANTITIES))


def _checked(
    document: dict[str, Any], kind: str, plans: dict[Source, UnitPlan], result: Imported
) -> dict[str, Any]:
    """Convert a record to our units and count its labels; raises InputError on values that no surface has."""
    if kind == "surfaces":
        values = {
            target: document[target]
            for target, verdict in document.get("verdicts", {}).items()
            if verdict.get("status") == "accepted" and document.get(target) is not None
        }
        for target, value in values.items():
            check_value(target, value, frozenset(QUANTITIES))
    elif kind == COLLECTION:
        out = excluded_targets(document)
        converted = plans[_source_of(document)].convert(document["targets"], out)
        units = {t: UNITS.get(t, unit) for t, unit in (document.get("units") or {}).items()}
        document = {**document, "targets": converted, "units": units}
        values = {name: v for name, v in converted.items() if v is not None and name not in out}
    else:
        return document
    result.n_read += 1
    for target in document["verdicts"] if kind == "surfaces" else document["targets"]:
        result.n_labels[target] = result.n_labels.get(target, 0) + (target in values)
    return document
