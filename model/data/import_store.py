"""All records of another store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.data.imported import BATCH, Imported
from model.data.label_units import QUANTITIES, UNITS, check_value, plan_units
from stores.connections import open_store, parse_uri
from stores.errors import InputError
from stores.exclusion_marks import carry_exclusions, excluded_targets
from stores.labelled import COLLECTION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from model.data.label_units import UnitPlan
    from stores.surfaces import SurfaceStore

    Source = tuple[str, tuple[tuple[str, str], ...]]
    """Method of imported slabs, and the units of their targets."""

_KINDS = ("bulks", "references", "calculations", "surfaces", COLLECTION)


def import_store(
    path: str, store_uri: str, units: Mapping[str, str], tick: Callable[[int, int, str], None] | None
) -> Imported:
    """Copy all records of another store, but those with an accepted value that no surface has.

    Parameters
    ----------
    path, store_uri
        The two stores.
    units
        Of the imported slabs in it, by target; they go before those that are stored.
    tick
        See `model.data.importers.import_slabs`.

    Raises
    ------
    InputError
        If both are one, or imported slabs have a unit that is not known.
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
    """Return how the labels of each source are converted: stores of earlier versions keep other units."""
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
    document: dict[str, Any],
    kind: str,
    plans: dict[Source, UnitPlan],
    result: Imported,
) -> dict[str, Any]:
    """Return a record with its values in our units, and count its labels.

    Raises
    ------
    InputError
        If an accepted value is one that no surface has.
    """
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
