from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from model.data.importers import import_slabs
from stores.connections import open_store
from stores.labelled import LabelRecord, add_labels, source_fingerprint
from stores.records import content_hash


def record(name: str, **targets: float | None) -> LabelRecord:
    return LabelRecord(
        id=content_hash(["source", name]),
        source="source",
        source_id=name,
        method_fingerprint=source_fingerprint("source"),
        formula="Mg",
        chemsys="Mg",
        composition={"Mg": 1},
        n_atoms=1,
        compound="Mg",
        slab=Structure(Lattice.cubic(20), ["Mg"], [[0, 0, 0.5]]),
        geometry="as_cut",
        targets=targets,
    )


@pytest.fixture(params=["sqlite", "folder", "memory"])
def uri(request, tmp_path) -> str:
    return {
        "sqlite": f"sqlite:///{tmp_path}/s.sqlite",
        "folder": f"folder://{tmp_path}/records",
        "memory": f"memory://{tmp_path.name}",
    }[request.param]


def test_labels_are_kept_in_every_kind_of_store_and_written_once(uri):
    records = [record("a", surface_energy=0.1), record("b", surface_energy=None, other=2.0)]
    with open_store(uri) as store:
        assert add_labels(store, records) == 2
        assert add_labels(store, [record("a", surface_energy=0.1)]) == 0
        assert add_labels(store, [record("a", surface_energy=0.2)]) == 1
        assert add_labels(store, []) == 0
        found = {d["source_id"]: d for d in store.query(collection="labels")}
        assert store.count(collection="labels") == 2
        assert store.count() == 0  # no surfaces
    assert found["a"]["targets"] == {"surface_energy": 0.2}
    assert found["b"]["targets"] == {"surface_energy": None, "other": 2.0}
    again = LabelRecord.model_validate({k: v for k, v in found["a"].items() if not k.startswith("_")})
    assert Structure.from_dict(again.slab).formula == "Mg1"


def test_labels_can_be_asked_for_by_field(uri):
    with open_store(uri) as store:
        add_labels(store, [record("a", x=1.0), record("b", x=2.0)])
        assert [d["source_id"] for d in store.query({"targets.x": {"$gt": 1.5}}, collection="labels")] == [
            "b"
        ]
        assert list(store.query({"source": "another"}, collection="labels")) == []


def test_two_sources_have_two_fingerprints():
    assert source_fingerprint("one") != source_fingerprint("other")
    assert source_fingerprint("one") == source_fingerprint("one")


def test_unknown_fields_and_texts_for_numbers_are_refused():
    plain = record("a", x=1.0).model_dump()
    with pytest.raises(ValidationError):
        LabelRecord.model_validate({**plain, "energy": 1})
    with pytest.raises(ValidationError):
        LabelRecord.model_validate({**plain, "targets": {"x": "high"}})


def test_labels_that_several_writers_add_at_once_are_all_kept(store_uri):
    """Each writer adds a target of its own to the same two records, one of which is there before."""
    with open_store(store_uri) as store:
        add_labels(store, [record("a", old=1.0)])

    def merged(stored, new):
        time.sleep(0.002)  # others read in between, if they can
        return {**new, "targets": stored["targets"] | new["targets"]}

    def write(number: int) -> int:
        written = 0
        with open_store(store_uri) as store:
            for step in range(3):
                labels = {f"x{number}_{step}": float(number)}
                written += add_labels(store, [record("a", **labels), record("b", **labels)], merged)
        return written

    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(write, range(4)))
    ours = {f"x{number}_{step}": float(number) for number in range(4) for step in range(3)}
    with open_store(store_uri) as store:
        found = {d["source_id"]: d["targets"] for d in store.query(collection="labels")}
    assert found == {"a": {"old": 1.0, **ours}, "b": ours}
    assert written == [6] * 4


def test_merging_leaves_what_stays_and_combines_duplicates(store_uri):
    def merged(stored, new):
        return None if new["n_atoms"] > 5 else {**new, "targets": stored["targets"] | new["targets"]}

    with open_store(store_uri) as store:
        assert add_labels(store, [record("a", x=1.0), record("a", y=2.0)], merged) in (1, 2)
        assert add_labels(store, [record("a", x=1.0)], merged) == 0
        assert add_labels(store, [record("a", x=3.0).model_copy(update={"n_atoms": 9})], merged) == 0
        assert next(store.query(collection="labels"))["targets"] == {"x": 1.0, "y": 2.0}


@pytest.mark.parametrize("geometry", ["slab", "composition"])
def test_import_of_a_store_keeps_labels_of_other_targets_and_their_marks(store_uri, tmp_path, geometry):
    fields = {} if geometry == "slab" else {"slab": None, "geometry": geometry, "fractions": {"Mg": 1.0}}

    def one(**targets: float) -> LabelRecord:
        return record("a", **targets).model_copy(update=fields)

    with open_store(str(tmp_path / "other.sqlite")) as other:
        add_labels(other, [one(x=2.0, z=3.0)])
    with open_store(store_uri) as store:
        marked = {"excluded": {"y": "twice"}, "units": {"x": "K", "y": "mm"}, "classes": {"y": ["a", "b"]}}
        add_labels(store, [one(x=1.0, y=1.0).model_copy(update=marked)])
    import_slabs(str(tmp_path / "other.sqlite"), store_uri)
    assert import_slabs(str(tmp_path / "other.sqlite"), store_uri).n_changed == 0
    with open_store(store_uri) as store:
        (found,) = store.query(collection="labels")
    assert found["targets"] == {"x": 2.0, "y": 1.0, "z": 3.0}
    assert (found["excluded"], found["units"]) == ({"y": "twice"}, {"y": "mm"})
    assert found["classes"] == {"y": ["a", "b"]}
