"""Compositions in stores, data sets, splits and snapshots."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model.compositions.formulas import plain_composition
from model.data.composition_entries import canonical_formula, group_equal
from model.data.dataset import Dataset, noun_of
from model.data.import_formats import Labelled
from model.data.label_records import bulk_record
from model.data.splits import PARTS, k_fold, split_dataset
from model.graphs.bulk_graph import PlainBulk
from stores.connections import open_store
from stores.errors import InputError
from stores.labelled import add_labels
from stores.learning.snapshots import create_snapshot
from tests.model.alloys import fill, record, ternaries

URI = "memory://compositions"


def parts_of(split):
    return [split.part(name) for name in PARTS]


@pytest.mark.parametrize(
    ("fractions", "formula"),
    [
        ({"Ag": 0.5, "Mg": 0.5}, "MgAg"),
        ({"Y": 0.1, "Mg": 0.65, "Cu": 0.25}, "Mg65Cu25Y10"),
        ({"O": 0.6, "Fe": 0.4}, "Fe2O3"),
        ({"Fe": 0.712, "B": 0.24, "Y": 0.048}, "B24Fe71.2Y4.8"),
        ({"Fe": 1 - 1e-6, "C": 1e-6}, "C0.0001Fe99.9999"),
    ],
)
def test_one_formula_for_a_composition(fractions, formula):
    assert canonical_formula(fractions) == formula


def test_equal_compositions_are_one_group_however_they_are_written():
    def of(**amounts):
        total = sum(amounts.values())
        return plain_composition({s: x / total for s, x in amounts.items()})

    written = [of(Mg=1, Ag=1), of(Ag=50, Mg=50), of(Mg=33.3, Ag=66.7), of(Mg=1, Ag=2), of(Mg=50.2, Ag=49.8)]
    assert group_equal(written) == [0, 0, 1, 1, 2]
    assert group_equal([of(Fe=99.99, C=0.010), of(Fe=99.99, C=0.012)]) == [0, 1]  # a trace element counts


def test_numeric_columns_make_another_sample_of_one_composition():
    steels = [
        record({"Fe": 99, "C": 1}, fatigue=500.0, extras={"T": 500.0}),
        record({"Fe": 99, "C": 1}, fatigue=400.0, extras={"T": 600.0}),
        record({"Fe": 98, "C": 2}, fatigue=400.0, extras={"T": 600.0, "t": 3.0}),
    ]
    fill("memory://steels", steels)
    dataset = Dataset.from_store("memory://steels")
    assert dataset.extras == ("T", "t") == dataset.subset([0]).extras
    assert len({e.group for e in dataset}) == 3 and len({e.compound for e in dataset}) == 2
    columns = {e.formula: e.graph.extras for e in dataset}
    assert columns["C2Fe98"].tolist() == [600.0, 3.0] and np.isnan(columns["CFe99"][1])


def test_records_of_compositions_are_read_and_split():
    fill(URI, ternaries())
    dataset = Dataset.from_store(URI)
    assert dataset.targets == ("glass", "hardness") and dataset.classes == {"glass": ("no", "yes")}
    assert {e.kind for e in dataset} == {"composition"}
    assert noun_of({"glass": ("composition",)}) == "composition"
    one = next(e for e in dataset if e.formula == "Mg84Ag5Al11" or e.elements == ("Ag", "Al", "Mg"))
    assert one.graph.numbers.tolist() == [12, 13, 47] and one.graph.fractions.sum() == pytest.approx(1)
    for kind, name in (("random", "group"), ("compound", "compound"), ("chemsys", "chemsys")):
        parts = [{getattr(dataset[i], name) for i in s} for s in parts_of(split_dataset(dataset, kind, 1))]
        assert all(parts) and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert all("Cu" in dataset[i].elements for i in split_dataset(dataset, "element:Cu").test)
    assert len(k_fold(dataset, "chemsys", 5)) == 5


def test_copies_of_a_composition_never_straddle():
    records = ternaries(30)
    copies = [
        record({s: x * 1.0003 if s == "Mg" else x for s, x in r.fractions.items()}, "other", hardness=1.0)
        for r in records
    ]
    fill("memory://copies", records + copies)
    dataset = Dataset.from_store("memory://copies", methods=None, separate=True)
    assert len({e.group for e in dataset}) == 30
    for kind in ("random", "compound", "chemsys"):
        split = split_dataset(dataset, kind, 3)
        where = {dataset[i].record_id: k for k, part in enumerate(parts_of(split)) for i in part}
        assert all(where[r.id] == where[c.id] for r, c in zip(records, copies, strict=True))


def test_a_compound_is_left_out_by_any_of_its_formulas():
    fill("memory://left", [*ternaries(), record({"Mg": 0.5, "Ag": 0.5}, hardness=50.0)])
    dataset = Dataset.from_store("memory://left")
    split = split_dataset(dataset, "compound:Ag50Mg50")
    assert [dataset[i].formula for i in split.test] == ["MgAg"]


def test_snapshots_keep_compositions():
    fill("memory://snapshots", ternaries(20))
    with open_store("memory://snapshots") as store:
        made = create_snapshot(store)
        changed = ternaries(20)[0]
        changed.targets["hardness"] = 1.0
        add_labels(store, [changed])
    old, new = Dataset.from_snapshot("memory://snapshots", made.id), Dataset.from_store("memory://snapshots")
    assert len(old) == len(new) == 20 and old.classes == new.classes
    assert [e.graph.fractions.tolist() for e in old] == [e.graph.fractions.tolist() for e in new]
    assert sum(a.targets != b.targets for a, b in zip(old, new, strict=True)) == 1


def test_compositions_and_crystals_are_no_common_data_set():
    uri = "memory://mixed"
    atoms = PlainBulk(np.array([12, 47]), 3.3 * np.eye(3), np.array([[0, 0, 0], [0.5] * 3]))
    labelled = Labelled("MgAg", "", atoms, {"gap": 0.0})
    fill(uri, [*ternaries(5), bulk_record(labelled, atoms, {"gap": "eV"}, "crystals", None)])
    with pytest.raises(InputError, match=r"compositions.*--targets"):
        Dataset.from_store(uri)
    assert len(Dataset.from_store(uri, ["hardness"])) == 5


def test_old_documents_stay_as_they_were():
    fill("memory://plain", [record({"Mg": 1, "Ag": 1}, hardness=1.0)])
    with open_store("memory://plain") as store:
        (document,) = store.query(collection="labels")
    assert not {"slab", "classes", "excluded", "extras"} & document.keys()
    assert json.dumps(document["fractions"], sort_keys=True) == '{"Ag": 0.5, "Mg": 0.5}'


@pytest.mark.parametrize("how", ["compound:Mg66.67Ag33.33", "holdout"])
def test_roundings_of_a_composition_with_other_numeric_columns_are_left_out_together(how):
    copies = [
        record({"Mg": mg, "Ag": 100 - mg}, hardness=50.0, extras={"T": t})
        for mg, t in ((66.67, 300.0), (66.7, 400.0))
    ]
    numbers = [round(n * 0.5, 1) for n in range(2, 160)]
    pairs = [
        record({"Mg": mg, "Al": 100 - mg}, hardness=5.0, extras={"T": t})
        for n in numbers
        for mg, t in ((n, 300.0), (n + 0.003, 400.0))
    ]
    fill(f"memory://{how}", [*copies, *ternaries(), *pairs])
    dataset = Dataset.from_store(f"memory://{how}", ["hardness"])
    sets = [{dataset[i].compound for i in part} for part in parts_of(split_dataset(dataset, how))]
    assert not sets[0] & sets[2] and not sets[1] & sets[2] and not sets[0] & sets[1]
