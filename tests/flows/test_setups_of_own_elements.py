"""Tables of setups grow and change: what is computed again, found again, and what meets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stores.connections import open_store
from stores.labelled import heads_of, labelled_slabs
from stores.learning.candidates import computed_slabs
from stores.method_names import meeting_names, names_of_family
from stores.records import BulkRecord, CalculationRecord, Method, ReferenceRecord, SurfaceRecord, content_hash
from workflows.analysis.stability_window import stored_phases
from workflows.flows.campaign.flow import CampaignMaker
from workflows.flows.surface import SurfaceMaker

TABLE = {"Mg": "a", "Ag": "b"}


@pytest.fixture
def compute(bench, mg, mgag):
    """Run Mg (001) and MgAg (100) with a table of setups; return the number of calculations that ran."""

    def run(table, **options):
        before = sum(bench.executed().values())
        context = bench.context(table=table, **options)
        context = replace(context, engine="tests.engines.variant_engines:TableEngine")
        flow = CampaignMaker(SurfaceMaker(context)).make(
            [mg, mgag], miller_indices=[[(0, 0, 1)], [(1, 0, 0)]]
        )
        assert bench.run(flow).problems == []
        return sum(bench.executed().values()) - before

    return run


def ids(store):
    return {
        c: sorted(store.distinct("id", collection=c))
        for c in ("calculations", "bulks", "references", "surfaces")
    }


def make_old(uri, table):
    """Rewrite a store as it was when ids and fingerprints covered the whole table."""
    whole = Method.model_validate(
        {**next(iter(open_store(uri).query({}, ["method"])))["method"], "setups": table}
    )
    old = {"method": whole, "method_fingerprint": whole.whole_fingerprint}
    with open_store(uri) as store:
        renamed, rewritten = {}, []
        for kind in (CalculationRecord, BulkRecord, ReferenceRecord, SurfaceRecord):
            for record in list(store.records(kind)):
                name = whole.whole_fingerprint
                if kind is CalculationRecord:
                    identity = {k: v for k, v in record.identity.items() if k != "kind"}
                    name = content_hash({"kind": record.kind.value, "identity": identity, "method": name})
                elif kind is BulkRecord:
                    name = content_hash({"bulk": record.bulk_key, "method": name})
                elif kind is ReferenceRecord:
                    name = content_hash({"element": record.element, "method": name})
                else:  # what is hashed beside is in the relaxation's identity
                    of = store.get_calculation(record.calculation_ids["relax"])
                    identity = {k: v for k, v in of.identity.items() if k not in ("kind", "kpoints")}
                    name = content_hash({**identity, "method": name})
                renamed[record.id] = name
                update = {**old, "id": name}
                for field in ("calculation_id", "bulk_id"):
                    if hasattr(record, field):
                        update[field] = renamed[getattr(record, field)]
                if kind is SurfaceRecord:
                    update["calculation_ids"] = {k: renamed[v] for k, v in record.calculation_ids.items()}
                rewritten.append(record.model_copy(update=update))
        for collection in ("calculations", "bulks", "references", "surfaces"):
            store.remove({}, collection=collection)
        store.add(rewritten)


def test_an_element_added_to_a_table_renames_nothing(bench, compute):
    assert compute(TABLE) > 0
    with open_store(bench.store) as store:
        before = ids(store)
    for table, options in (
        ({**TABLE, "Cu": "c"}, {"moments": {"Cu": 1.0}}),
        ({"Ag": "b", "Mg": "a"}, {}),
    ):
        assert compute(table, **options) == 0
    with open_store(bench.store) as store:
        assert ids(store) == before


def test_records_named_by_whole_tables_are_found_and_meet_new_ones(bench, compute):
    table = {**TABLE, "Cu": "c"}
    compute(TABLE)
    make_old(bench.store, TABLE)
    with open_store(bench.store) as store:
        before = ids(store)
        assert len(store.distinct("method_fingerprint")) == 1
        (mg,) = store.query({"formula": "Mg"}, ["id"])
        store.remove({"chemsys": "Mg"})
        store.remove({"chemsys": "Mg", "kind": "slab_relax"}, collection="calculations")
    assert compute(table) == 1  # one relaxation, whose record is new
    with open_store(bench.store) as store:
        after = ids(store)
        assert {c: len(names) for c, names in after.items()} == {c: len(names) for c, names in before.items()}
        assert all(set(before[c]) == set(after[c]) for c in ("bulks", "references"))
        assert mg["id"] not in after["surfaces"]
        assert len(store.distinct("method_fingerprint")) == 2
        slabs = list(labelled_slabs(store))
        assert len({slab.method for slab in slabs}) == 1
        heads_of(slabs, ["surface_energy"])  # one method, else refused
        method = Method.model_validate(next(iter(store.query({}, ["method"])))["method"])
        whole = method.model_copy(update={"setups": table})
        assert len(computed_slabs(store, whole)) == 3
        assert names_of_family(store, whole, "surfaces") >= set(store.distinct("method_fingerprint"))


def test_two_setups_of_one_element_never_meet(bench, compute):
    first = compute(TABLE)
    again = compute({**TABLE, "Ag": "B"})
    assert 0 < again < first  # Mg, its slab and its reference were found
    with open_store(bench.store) as store:
        assert len(list(store.query({"formula": "MgAg"}))) == 4
        assert len(list(store.query({"formula": "Mg"}))) == 1
        slabs = list(labelled_slabs(store))
        by_method = {slab.method: slab.formula for slab in slabs}
        assert sorted(by_method.values()) == ["Mg", "MgAg", "MgAg"]
        for surface in store.surfaces({"formula": "MgAg"}):
            bulk = store.get(BulkRecord, surface.bulk_id)
            used = {
                store.get_calculation(name).output.setups.get("Ag")
                for name in surface.calculation_ids.values()
            }
            assert used - {None} == {surface.method.setups["Ag"]} == {bulk.method.setups["Ag"]}
        method = Method.model_validate(next(iter(store.query({}, ["method"])))["method"])
        for label in ("b", "B", "x"):
            whole = method.model_copy(update={"setups": {**TABLE, "Ag": label}})
            found = computed_slabs(store, whole)
            assert len(found) == (1 if label == "x" else 3)
        references = list(store.records(ReferenceRecord))
        assert sorted(r.element for r in references) == ["Ag", "Ag", "Mg"]
        bulks = [b.model_dump(mode="json") for b in store.records(BulkRecord) if b.formula == "MgAg"]
        phases = stored_phases(
            bulks,
            [r.model_dump(mode="json") for r in references],
            meeting_names(store, "bulks", "references"),
        )
        windows = [phases.window_of(bulk["id"]) for bulk in bulks]
        assert len({window.method for window in windows}) == 2
        assert all(window.competing == () for window in windows)
