"""Labels that are kept out of training: marks, their undoing, and what keeps them."""

from __future__ import annotations

import pytest

from stores.connections import open_store
from stores.exclusions import accept, exclude, excluded_line, list_excluded
from stores.labelled import LabelRecord, add_labels, labelled_slabs, source_fingerprint
from stores.learning.snapshots import draft_snapshot
from tests.stores.kills import in_children


def imported(name: str, **targets: float | None) -> LabelRecord:
    return LabelRecord(
        id=name,
        source="others",
        source_id=name,
        method_fingerprint=source_fingerprint("others"),
        formula="Mg3La",
        chemsys="La-Mg",
        composition={"Mg": 3, "La": 1},
        n_atoms=4,
        compound="Mg3La 26.3",
        slab={"lattice": {"matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 30]]},
              "sites": [{"species": [{"element": "Mg", "occu": 1}], "abc": [0, 0, 0.5]}]},
        geometry="as_cut",
        targets=targets,
    )  # fmt: skip


@pytest.fixture
def filled(store_uri, surface):
    """URI of a store with a surface and two imported slabs, all of whose surface energies are excluded."""
    with open_store(store_uri) as store:
        store.add(surface())
        add_labels(store, [imported("a", surface_energy=0.02, work_function=2.8),
                           imported("b", surface_energy=0.03)])  # fmt: skip
        ids = [surface().id, "a", "b"]
        counts = exclude(store, {name: {"surface_energy": "audit: too low"} for name in ids})
        assert counts == {"surface_energy": 3}
        assert not exclude(store, {name: {"surface_energy": "again"} for name in ids})
    return store_uri


def targets(store):
    return {slab.record_id: sorted(slab.targets) for slab in labelled_slabs(store, with_slabs=False)}


def test_excluded_values_stay_but_are_not_trained_on(filled, surface):
    with open_store(filled) as store:
        assert targets(store) == {surface().id: ["work_function"], "a": ["work_function"], "b": []}
        found = {value["id"]: value for value in list_excluded(store)}
        assert {value["reason"] for value in found.values()} == {"audit: too low"}
        assert found[surface().id]["kind"] == "surfaces"
        assert store.count({"verdicts.surface_energy.status": "faulty"}) == 1
        record = store.get("surfaces", surface().id)
        assert record.surface_energy == surface().surface_energy
        assert record.verdicts.surface_energy.reason == "audit: too low"


@pytest.mark.parametrize(
    ("names", "left"), [({"Mg3La"}, 1), ({"a"}, 2), ({"all"}, 0), ({"MgXx"}, 3), ({"a", "b"}, 1)]
)
def test_exclusions_are_undone_by_record_formula_or_all(filled, surface, names, left):
    with open_store(filled) as store:
        assert sum(accept(store, names).values()) == 3 - left
        assert len(list_excluded(store)) == left
        if left == 0:
            both = ["surface_energy", "work_function"]
            assert targets(store) == {surface().id: both, "a": both, "b": ["surface_energy"]}


def test_writing_an_equal_value_again_keeps_the_exclusion_and_a_new_value_drops_it(filled, surface):
    with open_store(filled) as store:
        assert store.add(surface()) == 0
        assert add_labels(store, [imported("a", surface_energy=0.02, work_function=2.8)]) == 0
        assert len(list_excluded(store)) == 3
        store.add(surface(work_function=4.44))  # another field changes
        assert len(list_excluded(store)) == 3
        store.add(surface(surface_energy=0.061))
        add_labels(store, [imported("a", surface_energy=0.055, work_function=2.8)])
        assert [value["id"] for value in list_excluded(store)] == ["b"]


def test_a_snapshot_states_how_many_labels_are_excluded(filled):
    with open_store(filled) as store:
        assert draft_snapshot(store, ["work_function"], separate=True).excluded == {}
        accept(store, {"b"})
        excluded = draft_snapshot(store, separate=True).excluded
    assert excluded == {"surface_energy": 2}
    assert "2 surface_energy" in excluded_line(excluded)


@pytest.mark.parametrize("undone", [False, True])
def test_two_processes_that_mark_the_same_records_lose_no_mark(store_uri, undone):
    if store_uri.startswith("memory"):
        pytest.skip("of one process")
    names = [f"slab-{number}" for number in range(40)]
    with open_store(store_uri) as store:
        add_labels(store, [imported(name, surface_energy=0.02, work_function=2.8) for name in names])
        if undone:
            exclude(store, {name: {"surface_energy": "first"} for name in names})

    def mark(target):
        with open_store(store_uri) as store:
            return sum(exclude(store, {name: {target: "audit"}})[target] for name in names)

    def undo():
        with open_store(store_uri) as store:
            return sum(accept(store, {name})["surface_energy"] for name in names)

    one = undo if undone else lambda: mark("surface_energy")
    assert in_children(one, lambda: mark("work_function")) == [("40", 0), ("40", 0)]
    with open_store(store_uri) as store:
        found = [value["target"] for value in list_excluded(store)]
    assert found.count("surface_energy") == (0 if undone else 40)  # not put back by who marks the other
    assert undone or found.count("work_function") == 40
