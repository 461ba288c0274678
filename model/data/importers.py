"""Import of external labelled slabs and bulk crystals into a store; what it holds is not added again."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from model.data.import_crystals import read_crystals
from model.data.import_formats import BATCH, SHARED_FILES, Imported, Problem, read_cgcnn, read_shared
from model.data.import_publication import import_publication, is_publication
from model.data.label_records import bulk_record, other_units, slab_record, with_labels_of, write_records
from model.data.label_units import QUANTITIES, UNITS, check_value, plan_property_units, plan_units
from model.graphs.bulk_graph import PlainBulk, bulk_graphs
from model.graphs.graph import GraphSettings
from stores.connections import open_store, parse_uri
from stores.errors import InputError
from stores.exclusion_marks import SURFACES, excluded_targets, write_marked
from stores.labelled import BULK, COLLECTION, LabelRecord
from stores.paths import names_store
from stores.structures.vacuum import vacuum_directions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from model.data.import_formats import Labelled, Rows
    from model.data.label_units import UnitPlan
    from stores.backends.collection import Collection
    from stores.surfaces import SurfaceStore

    Source = tuple[str, tuple[tuple[str, str], ...]]
    """Method of imported slabs, and the units of their targets."""

FORMATS = ("auto", "shared", "cgcnn", "crystals", "store", "publication")


def import_slabs(
    path: str,
    store_uri: str,
    *,
    format: str = "auto",
    targets: Sequence[str] | None = None,
    source: str | None = None,
    relaxed: bool = False,
    bulk: bool = False,
    classes: Sequence[str] = (),
    units: dict[str, str] | None = None,
    tick: Callable[[int, int, str], None] | None = None,
) -> Imported:
    """Import the labelled slabs, or bulk crystals, of a folder, file or store that can be used.

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
    bulk
        The structures are crystals periodic in three directions, without surface.
    classes
        Targets whose labels are classes: names or integers.
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

    kind = _format(path, format, bulk=bulk)
    if kind == "store":
        if targets or source or relaxed or bulk or classes:
            raise InputError("A store names its targets and methods itself; leave --targets, --source, "
                             "--relaxed, --bulk and --classes out.")  # fmt: skip
        return import_store(path, store_uri, units or {}, tick)
    if kind == "publication":
        if targets or source or relaxed or bulk or classes or units:
            raise InputError(
                f"{path} is a published data set, which names its targets, methods and units itself; leave "
                "--targets, --source, --unit, --relaxed, --bulk and --classes out."
            )
        return import_publication(Path(path), store_uri, tick)
    folder = Path(path)
    name = source or _source_name(folder)
    if not re.fullmatch(r"[\w.+-]{1,80}", name):
        raise InputError(f"The source name {name!r} has odd characters; give a plain word with --source.")
    if bulk and relaxed:
        raise InputError("--relaxed is of slabs; leave it out with --bulk.")
    if kind == "crystals":
        rows = read_crystals(folder, targets, classes)
    elif kind == "cgcnn":
        rows = read_cgcnn(folder, targets, classes)
    elif classes:
        raise InputError(f"{path} holds numbers only; leave --classes out.")
    else:
        rows = read_shared(folder, targets)
    if bulk:
        return import_crystals(kind, rows, name, path, store_uri, units or {}, tick)
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
                    record = slab_record(row, plan.convert(row.targets), stored_units, name, relaxed)
                    record.classes = _plain_classes(rows)
                    batch.append(record)
                except InputError as error:
                    result.problems.append(f"{row.where}: {row.source_id}: {error}")
            if len(batch) >= BATCH or number == rows.count:
                write_records(store, batch, result)
                batch = []
            if tick is not None:
                tick(number, rows.count, name)
    if not result.n_read:
        result.notes.append("no slab could be used; crystals without surface are imported with --bulk")
    return result


def _plain_classes(rows: Rows) -> dict[str, list[str]] | None:
    return {name: list(names) for name, names in rows.classes.items()} or None


def import_crystals(
    kind: str,
    rows: Rows,
    source: str,
    where: str,
    store_uri: str,
    units: Mapping[str, str],
    tick: Callable[[int, int, str], None] | None,
) -> Imported:
    """Import bulk crystals; see `import_slabs`. `kind` is their format, `where` their file or folder."""
    stored_units, notes = plan_property_units(
        rows.columns, rows.classes, rows.units, units, where, "bulk crystal"
    )
    notes += [f"{name}: classes {', '.join(names)}" for name, names in rows.classes.items()]
    result = Imported(kind, source, notes=notes)
    with open_store(store_uri) as store:
        number, n_layers = 0, 0
        for part in batched(rows.rows):
            for row in part:
                if isinstance(row, Problem):
                    result.problems.append(row.text)
            found = [
                (row, PlainBulk(row.slab.numbers, row.slab.lattice, row.slab.fractional))
                for row in part
                if not isinstance(row, Problem)
            ]
            batch: list[LabelRecord] = []
            graphs = bulk_graphs([crystal for _, crystal in found], GraphSettings())
            for (row, crystal), graph in zip(found, graphs, strict=True):
                if isinstance(graph, InputError):
                    result.problems.append(f"{row.where}: {row.source_id}: {graph}")
                else:
                    n_layers += bool(vacuum_directions(crystal.lattice, crystal.fractional))
                    batch.append(bulk_record(row, crystal, stored_units, source, _plain_classes(rows)))
            write_records(store, batch, result)
            number += len(part)
            if tick is not None:
                tick(number, rows.count, source)
        result.problems += other_units(store, source, BULK, stored_units)
    result.notes += rows.notes
    if n_layers:
        result.notes.append(
            f"{n_layers} of {result.n_read} crystals hold vacuum, which is taken as part of their cell"
        )
    return result


def batched(rows: Iterator[Labelled | Problem]) -> Iterator[list[Labelled | Problem]]:
    """Yield rows in lists of `BATCH`."""
    while part := list(islice(rows, BATCH)):
        yield part


def _format(path: str, format: str, *, bulk: bool) -> str:
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
        if format == "crystals" and not bulk:
            raise InputError(f"{path}: a list of crystals has no surfaces; add --bulk.")
        if format == "publication" and not (place.is_dir() and is_publication(place)):
            raise InputError(f"{path} is no folder that mgsurf publish wrote; leave --format out.")
        return format
    if place.is_dir():
        if is_publication(place):
            return "publication"
        if (place / "id_prop.csv").is_file():
            return "cgcnn"
        if any((place / name).is_file() for name in SHARED_FILES):
            return "shared"
        raise InputError(
            f"{path} has neither id_prop.csv nor {SHARED_FILES[0]}; name a folder with one of them."
        )
    if names_store(path):
        return "store"
    if place.name.lower().endswith((".json", ".json.gz")):
        return "crystals" if bulk and place.name not in SHARED_FILES else "shared"
    if place.name == "id_prop.csv":
        raise InputError(f"{path} is a file; name its folder.")
    if is_table(path):
        raise InputError(
            f"{path} is a table: name its column of formulas with --composition-column, and its labels with "
            "--targets."
        )
    raise InputError(f"{path} has no known form; name a folder with id_prop.csv or a slabs.json.gz.")


def is_table(path: str) -> bool:
    """Whether a path is that of a table of compositions, by its name."""
    name = path.lower()
    ending = next((end for end in (".gz", ".xz", ".bz2") if name.endswith(end)), "")
    return name.removesuffix(ending).endswith(".csv") and not name.endswith("id_prop.csv")


def _source_name(path: Path) -> str:
    path = path.resolve()
    if path.is_dir():
        return path.name
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    return path.parent.name if path.name in SHARED_FILES else stem


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
            batch: list[dict[str, Any]] = []
            for document in other.query(collection=kind):
                done += 1
                try:
                    batch.append(_checked(document, kind, plans, result))
                except InputError as error:
                    result.problems.append(f"{result.source}, {kind}, record {document['id']}: {error}")
                if len(batch) >= BATCH:
                    result.n_changed += _write(store.collection(kind), batch)
                    batch = []
                if tick is not None:
                    tick(done, total, kind)
            result.n_changed += _write(store.collection(kind), batch)
    return result


def _write(goal: Collection, batch: list[dict[str, Any]]) -> int:
    """Write documents of another store; labels of other targets and marks of exclusion stay."""
    if goal.name == COLLECTION:
        return write_marked(goal, batch, lambda stored, new: with_labels_of(stored, new) or {**new})
    return write_marked(goal, batch) if goal.name == SURFACES else goal.upsert(batch, keep=("created_at",))


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
