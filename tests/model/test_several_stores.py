from __future__ import annotations

import pytest

from model.data.dataset import Dataset
from model.graphs.graph import build_graph
from stores.connections import open_store
from stores.errors import InputError
from stores.labelled import add_labels
from tests.model.crystals import slabs_of
from tests.model.test_dataset import label


def store_of(path, *records) -> str:
    with open_store(f"sqlite:///{path}") as store:
        add_labels(store, list(records))
    return f"sqlite:///{path}"


def test_targets_of_several_stores_stand_side_by_side_and_twins_share_a_group(tmp_path) -> None:
    cuts = [cut.structure for cut in slabs_of("MgAg")]
    one = store_of(tmp_path / "1.sqlite", *(label(s, f"{i}", "a", energy=1.0) for i, s in enumerate(cuts)))
    two = store_of(tmp_path / "2.sqlite", label(cuts[0], "same", "b", work=4.0))
    joined = Dataset.from_store([one, two])
    assert joined.targets == ("energy", "work")
    assert len(joined) == len(cuts) + 1
    assert [e.record_id for e in joined] == sorted(e.record_id for e in joined)
    groups = [e.group for e in joined]
    twins = [e for e in joined if groups.count(e.group) == 2]
    assert {tuple(e.targets.values()) for e in twins} == {(1.0, None), (None, 4.0)}
    # the order of the stores does not matter
    assert [e.record_id for e in Dataset.from_store([two, one])] == [e.record_id for e in joined]


def test_a_record_that_two_stores_hold_counts_once_and_must_be_the_same(tmp_path) -> None:
    slab = slabs_of("MgAg")[0].structure
    one = store_of(tmp_path / "1.sqlite", label(slab, "x", energy=1.0))
    two = store_of(tmp_path / "2.sqlite", label(slab, "x", energy=1.0))
    assert len(Dataset.from_store([one, two])) == 1
    # the slab is the first store's, as its labels are
    another = slabs_of("MgAg")[2].structure
    recut = store_of(tmp_path / "4.sqlite", label(another, "x", energy=1.0))
    for stores, kept in (([one, recut], slab), ([recut, one], another)):
        assert sorted(Dataset.from_store(stores)[0].graph.numbers) == sorted(build_graph(kept).numbers)
    other = store_of(tmp_path / "3.sqlite", label(slab, "x", energy=2.0))
    with pytest.raises(InputError, match=r"has other labels in sqlite:///.*1.sqlite than in .*3.sqlite"):
        Dataset.from_store([one, other])
    with pytest.raises(InputError, match="hold together has no labels work; it has energy"):
        Dataset.from_store([one, two], ["work"])


def test_two_stores_whose_classes_of_a_record_differ_do_not_meet(tmp_path) -> None:
    slab = slabs_of("MgAg")[0].structure
    stores = [
        store_of(
            tmp_path / f"{names[0]}.sqlite",
            label(slab, "x", metal=0.0).model_copy(update={"classes": {"metal": names}}),
        )
        for names in (["no", "yes"], ["yes", "no"])
    ]
    assert Dataset.from_store(stores[0]).classes == {"metal": ("no", "yes")}
    with pytest.raises(InputError, match=r"has other labels in sqlite:///.*no.sqlite than in .*yes.sqlite"):
        Dataset.from_store(stores)


def test_one_target_of_two_sources_is_refused_across_stores(tmp_path) -> None:
    a, b = (cut.structure for cut in slabs_of("MgAg")[:2])
    one = store_of(tmp_path / "1.sqlite", label(a, "x", "first", energy=1.0))
    two = store_of(tmp_path / "2.sqlite", label(b, "y", "second", energy=2.0))
    with pytest.raises(InputError, match="several methods"):
        Dataset.from_store([one, two])
    apart = Dataset.from_store([one, two], separate=True)
    assert len(apart.targets) == 2
