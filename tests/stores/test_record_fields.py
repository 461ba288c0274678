"""Records that lack a field or have one of another kind: left out with a line that names both."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import BaseModel

from stores.backends import collection
from stores.connections import open_store
from stores.labelled import LabelRecord, add_labels
from stores.learning.snapshots import create_snapshot
from stores.method_names import stored_methods
from stores.ranks import HIGHEST, rank_of
from stores.record_fields import BULK, CALCULATION, LABEL, METHOD, OUTPUT, REFERENCE, SURFACE, Form
from stores.records import (
    BulkRecord,
    CalculationOutput,
    CalculationRecord,
    Method,
    ReferenceRecord,
    SurfaceRecord,
)
from tests.methods import GPAW_DEMO
from tests.stores.conftest import make_bulk, make_calculation, make_surface, slab_dict

MODELS: list[tuple[Form, type[BaseModel]]] = [
    (SURFACE, SurfaceRecord),
    (BULK, BulkRecord),
    (REFERENCE, ReferenceRecord),
    (CALCULATION, CalculationRecord),
    (LABEL, LabelRecord),
    (METHOD, Method),
    (OUTPUT, CalculationOutput),
]
FORMS = {"surfaces": SURFACE, "bulks": BULK, "labels": LABEL}


@pytest.mark.parametrize(("form", "model"), MODELS)
def test_forms_list_the_fields_of_the_models(form: Form, model: type[BaseModel]) -> None:
    fields = model.model_fields
    assert set(form.kinds) == set(fields)
    required = {name for name, field in fields.items() if field.is_required()}
    assert set(form.required) == required | ({"created_at"} & set(fields))


def label(number: int) -> LabelRecord:
    return LabelRecord(
        id=f"label-{number}",
        source="slabs",
        source_id=str(number),
        method_fingerprint="imported-slabs-0123456789abcdef",
        formula="MgAg",
        chemsys="Ag-Mg",
        composition={"Mg": 2, "Ag": 2},
        n_atoms=4,
        compound="MgAg@20.0",
        slab=slab_dict(),
        geometry="as_cut",
        targets={"surface_energy": 0.03 + 0.001 * number},
    )


def documents(kind: str) -> list[dict[str, Any]]:
    """A sound document, and one for each field that lacks it or has it of another kind."""
    made: dict[str, Any] = {"surfaces": make_surface(0), "bulks": make_bulk(0), "labels": label(0)}
    sound = made[kind].model_dump(mode="json")
    found = [{**sound, "id": "sound"}]
    for name in FORMS[kind].kinds.keys() - {"id"}:
        lacking = {n: v for n, v in sound.items() if n != name} | {"id": f"no-{name}"}
        found += [lacking, {**sound, name: ["?"], "id": f"bad-{name}"}]
    return found


@pytest.mark.parametrize("kind", FORMS)
def test_damaged_records_are_left_out_by_name(
    kind: str, store_uri: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORMS[kind]
    monkeypatch.setattr(collection, "_NAMED", 1000)
    with open_store(store_uri) as store:
        store.collection(kind).upsert(documents(kind))
        optional = form.optional.keys() - set(form.either[:1])  # labels of slabs have no fractions
        expected = {"sound"} | {f"no-{name}" for name in optional}
        with caplog.at_level(logging.WARNING):
            assert {one["id"] for one in store.query(collection=kind)} == expected
        for name in form.kinds.keys() - {"id"}:
            lines = [line for line in caplog.messages if f"bad-{name} of {kind}" in line]
            assert len(lines) == 1
            assert f"({name}: not" in lines[0]
            assert len([x for x in caplog.messages if f"no-{name} of" in x]) == (name not in optional)
        caplog.clear()
        # what is not read is no fault, and every record can be counted and removed
        assert "no-formula" in {one["id"] for one in store.query({}, ["id", "chemsys"], collection=kind)}
        assert store.count({}, kind) == 2 * len(form.kinds) - 1
        assert store.remove({"id": "no-formula"}, kind) == 1


def test_distinct_values_are_of_the_field_s_kind(store_uri: str) -> None:
    with open_store(store_uri) as store:
        sound = make_surface(0).model_dump(mode="json") | {"formation_energy": None}
        bad = [{**sound, "id": "a", "chemsys": 5}, {**sound, "id": "b", "chemsys": {"a": "Mg"}}]
        store.collection("surfaces").upsert([sound, *bad])
        assert store.distinct("chemsys") == ["Ag-Mg"]
        assert store.distinct("miller_index") == [0, 1]  # entries one by one
        assert store.distinct("vbm") == store.distinct("formation_energy") == [None]


def test_a_method_is_known_from_any_sound_record(store_uri: str) -> None:
    with open_store(store_uri) as store:
        sound = make_surface(0).model_dump(mode="json")
        extra = {**sound["method"], "extra": {}, "colour": "red"}
        bad = [{**sound, "id": "a", "method": None}, {**sound, "id": "b", "method": extra}]
        store.collection("surfaces").upsert(bad)
        assert stored_methods(store, "surfaces") == {}
        store.add(make_surface(0))
        assert stored_methods(store, "surfaces") == {GPAW_DEMO.fingerprint: GPAW_DEMO}


def test_a_snapshot_is_made_of_the_sound_records(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    with open_store(f"sqlite:///{tmp_path}/records.sqlite") as store:
        store.add([make_surface(1), make_calculation(1)])
        lacking = make_surface(2).model_dump(mode="json")
        del lacking["method_fingerprint"]
        store.collection("surfaces").upsert(lacking)
        assert [record for record, _ in create_snapshot(store).records] == ["surface-1"]
    assert "surface-2 of surfaces" in caplog.text
    assert "method_fingerprint is missing" in caplog.text


def test_a_damaged_record_gives_way_to_a_result_and_not_to_a_failure(store_uri: str) -> None:
    with open_store(store_uri) as store:
        damaged = make_surface(1).model_dump(mode="json") | {"chemsys": 5}
        store.collection("surfaces").upsert(damaged)
        store.collection("labels").upsert(label(1).model_dump(mode="json") | {"targets": "?"})
        verdicts = {t: {"status": "failed"} for t in ("surface_energy", "work_function")}
        failed = SurfaceRecord.model_validate(make_surface(1).model_dump() | {"verdicts": verdicts})
        assert not store.add_unless_better(failed)
        assert store.add_unless_better(make_surface(1))
        assert add_labels(store, [label(1)]) == 1
        assert [one["chemsys"] for one in store.query({"id": "surface-1"})] == ["Ag-Mg"]
        assert [one["n_atoms"] for one in store.query(collection="labels")] == [4]


@pytest.mark.parametrize("status", [["ok"], {"a": 1}, 5])
def test_a_status_of_another_kind_has_a_rank(status: Any) -> None:
    assert rank_of({"verdicts": {"surface_energy": {"status": status}}}) == HIGHEST


def test_a_few_damaged_records_are_named(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    with open_store(f"sqlite:///{tmp_path}/records.sqlite") as store:
        sound = make_surface(0).model_dump(mode="json")
        bad = [{**sound, "id": f"bad-{i}", "area": None} for i in range(50)]
        store.collection("surfaces").upsert([sound, *bad])
        assert len(list(store.query())) == 1
        assert len(list(store.query())) == 1
        store.collection("surfaces").upsert({**bad[0], "formula": 5})
        for field in ("formula", "area", "formula"):  # named once, whichever field is wrong
            assert "bad-0" not in {one["id"] for one in store.query({}, ["id", field])}
    assert len(caplog.messages) == collection._NAMED + 1
