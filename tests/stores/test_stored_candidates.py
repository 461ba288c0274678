from __future__ import annotations

import pytest

from stores.connections import open_store
from stores.errors import InputError
from stores.learning.candidates import (
    CandidateRecord,
    CutRecord,
    CutSlab,
    PackedSlab,
    add_candidates,
    candidate_documents,
    candidates_by_id,
    computed_slabs,
    known_candidates,
    known_cuts,
    method_of_candidates,
    remove_candidates,
    slab_key,
    update_candidates,
)
from tests.methods import GPAW_DEMO
from tests.stores.conftest import make_bulk, make_surface


def candidate(number: int = 0, **changes) -> CandidateRecord:
    values = {
        "id": f"candidate-{number}",
        "campaign": "test",
        "formula": "MgAg",
        "chemsys": "Ag-Mg",
        "spacegroup_number": 221,
        "bulk_key": "key",
        "bulk_id": "",
        "lattice_is_guess": True,
        "miller_index": (1, 1, 0),
        "termination_label": "Mg",
        "termination_key": f"Mg|Ag|{number}",
        "method_fingerprint": GPAW_DEMO.fingerprint,
        "n_layers": 7,
        "n_atoms": 14,
        "volume": 400.0,
        "kpoints": (4, 4, 1),
        "slab": PackedSlab(numbers=[12], lattice=[[3, 0, 0], [0, 3, 0], [0, 0, 20]], fractional=[[0, 0, 0]]),
    }
    return CandidateRecord(**{**values, **changes})


def cut(*candidates: CandidateRecord, **changes) -> CutRecord:
    slabs = [
        CutSlab(id=c.id, miller_index=c.miller_index, termination_key=c.termination_key) for c in candidates
    ]
    values = {
        "id": "cut", "bulk_key": "key", "bulk_id": "", "method": GPAW_DEMO,
        "method_fingerprint": GPAW_DEMO.fingerprint, "slabs": slabs,
    }  # fmt: skip
    return CutRecord(**{**values, **changes})


def test_many_candidates_are_never_in_memory_together(tmp_path):
    ids = [f"candidate-{i}" for i in range(2100)]
    with open_store(f"sqlite:///{tmp_path}/many.sqlite") as store:

        def candidates():
            for i in range(len(ids)):
                yield candidate(i)
            # when the last one is made, the first ones are written
            assert known_candidates(store, ids[:1000]) == set(ids[:1000])

        assert add_candidates(store, candidates()) == len(ids)
        reading = candidates_by_id(store, ids[::-1], with_slabs=True)
        first = next(reading)
        # what is removed while the first thousand are read does not come any more
        remove_candidates(store, ids[:50])
        assert [first["id"], *(one["id"] for one in reading)] == ids[:49:-1]


def test_candidates_are_kept_in_every_kind_of_store_and_written_once(store_uri):
    ours = [candidate(i) for i in range(5)]
    with open_store(store_uri) as store:
        assert add_candidates(store, ours, [cut(*ours)]) == 5
        assert add_candidates(store, ours, [cut(*ours)]) == 0
        assert store.count() == 0  # they are no surfaces
        found = list(candidate_documents(store, {"formula": "MgAg"}))
        assert [d["id"] for d in candidates_by_id(store, ["candidate-3", "no", "candidate-1"])] == [
            "candidate-3", "candidate-1",
        ]  # fmt: skip
        assert known_candidates(store, ["candidate-3", "no"]) == {"candidate-3"}
        cuts = known_cuts(store, ["cut", "other"])
        assert set(cuts) == {"cut"}
        assert [s["id"] for s in cuts["cut"]["slabs"]] == [c.id for c in ours]
        assert method_of_candidates(store) == GPAW_DEMO
        assert remove_candidates(store, ["candidate-0", "no"]) == 1
        assert len(list(candidate_documents(store))) == 4
    assert len(found) == 5
    assert all("slab" not in d for d in found)


def test_predictions_are_put_beside_the_rest(store_uri):
    with open_store(store_uri) as store:
        add_candidates(store, [candidate(0), candidate(1)])
        (whole,) = candidates_by_id(store, ["candidate-1"], with_slabs=True)
        numbers = {"work_function": {"value": 3.9, "sigma": None}}
        update_candidates(store, [{**whole, "model": "v3", "predictions": numbers, "place": [0.1, 2.0]}])
        (seen,) = candidates_by_id(store, ["candidate-1"], with_slabs=True)
        (other,) = candidates_by_id(store, ["candidate-0"])
    again = CandidateRecord.model_validate({k: v for k, v in seen.items() if not k.startswith("_")})
    assert again.predictions["work_function"].value == 3.9
    assert again.slab == candidate().slab
    assert again.place == [0.1, 2.0]
    assert other["model"] == ""


def test_computed_slabs_are_known_by_bulk_plane_and_termination(store_uri):
    """Whatever the number of layers, for that changes with the lattice; but only with the same method."""
    with open_store(store_uri) as store:
        store.add([make_bulk(0), make_surface(1)])
        store.add(make_surface(2, surface_energy=None, work_function=None))
        store.add(make_surface(3, bulk_id="unknown"))
        computed = computed_slabs(store, GPAW_DEMO)
        other = GPAW_DEMO.model_copy(update={"setups": {"Ag": "paw"}})
        assert computed_slabs(store, other) == {}
        assert computed_slabs(store, GPAW_DEMO.model_copy(update={"setups": {"Zn": "12"}})) == computed
    assert computed == {("key", (1, 1, 0), "Mg|Ag|1"): False, ("key", (1, 1, 0), "Mg|Ag|2"): True}
    keys = [slab_key(candidate(i, n_layers=99).model_dump()) for i in (1, 5)]
    assert [key in computed for key in keys] == [True, False]


def test_candidates_of_a_newer_mgsurf_are_refused(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/s.sqlite") as store:
        add_candidates(store, [candidate(0, schema_version=99)])
        with pytest.raises(InputError, match="newer mgsurf"):
            list(candidate_documents(store))


def test_one_method_or_a_campaign(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/s.sqlite") as store:
        with pytest.raises(InputError, match="no candidates; name a campaign"):
            method_of_candidates(store)
        add_candidates(store, [candidate(0), candidate(1, method_fingerprint="vasp-production-0")])
        with pytest.raises(InputError, match="several methods"):
            method_of_candidates(store)
