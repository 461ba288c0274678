"""Labels of a rehearsal with a potential never count as DFT's unless somebody chooses their method."""

from __future__ import annotations

import pytest

from model.audit.slabs import read_audit_slabs
from model.data.dataset import Dataset
from model.promotion.readiness import readiness
from stores.connections import open_store
from stores.errors import InputError
from stores.labelled import WITHOUT_MG, labelled_slabs, of_methods
from stores.learning.snapshots import draft_snapshot
from stores.method_names import is_dft, rehearsal_filter


@pytest.fixture
def both(surface, tmp_path):
    """A store with two surfaces by DFT and three by a potential, one of them without Mg."""
    with open_store(f"sqlite:///{tmp_path}/both.sqlite") as store:
        store.add([surface(0, id="a"), surface(1, id="b")])
        mlip = surface(0).method.model_copy(update={"engine": "mlip", "preset": "sevennet-0"})
        by_mlip = {"method": mlip, "method_fingerprint": mlip.fingerprint}
        without = {"formula": "Al", "chemsys": "Al"}
        store.add(
            [
                surface(0, id="c", **by_mlip),
                surface(1, id="d", **by_mlip),
                surface(2, id="e", **by_mlip, **without),
            ]
        )
        yield store


def potential(store):
    rehearsed = rehearsal_filter(store, "surfaces", rehearsed=True)
    others = rehearsal_filter(store, "surfaces", rehearsed=False)
    (found,) = store.distinct("method_fingerprint", rehearsed)
    assert store.count(rehearsed) + store.count(others) == store.count() and not is_dft(found)
    return found


def test_no_choice_means_dft(both):
    slabs = list(labelled_slabs(both))
    assert [slab.record_id for slab in of_methods(slabs, None)] == ["a", "b"]
    assert [slab.record_id for slab in of_methods(slabs, [potential(both)])] == ["c", "d"]
    assert len(of_methods(slabs, None, separate=True)) == 5


def test_snapshot_states_what_was_left_out(both):
    draft = draft_snapshot(both)
    assert all(is_dft(head.method) for head in draft.snapshot.heads) and draft.snapshot.n_records == 2
    assert (
        draft.left_out
        == f"3 slabs of a rehearsal without DFT left out; --method {potential(both)} takes them"
    )


def test_data_set_knows_which_targets_are_rehearsed(both):
    assert Dataset.from_store(both.uri).rehearsed == frozenset()
    mlip = Dataset.from_store(both.uri, methods=[potential(both)])
    assert mlip.rehearsed == set(mlip.targets)
    separate = Dataset.from_store(both.uri, ["surface_energy"], separate=True)
    assert {name.split("@")[1] for name in separate.rehearsed} == {
        potential(both), potential(both) + WITHOUT_MG,
    }  # fmt: skip


def test_a_rehearsal_makes_no_refresh_due(both):
    found = readiness(both, min_new_records=1)
    assert found.accepted == 2 and all(map(is_dft, found.methods))
    both.remove({"id": {"$in": ["a", "b"]}})
    assert readiness(both, min_new_records=1).accepted == 0
    assert readiness(both, min_new_records=1, method=potential(both)).accepted == 2
    with pytest.raises(InputError, match=f"no labelled slabs.*--method {potential(both)}"):
        Dataset.from_store(both.uri)
    with pytest.raises(InputError, match=f"--method {potential(both)}"):
        draft_snapshot(both)


def test_an_audit_leaves_them_out_with_a_line(both, caplog):
    assert [len(slabs.entries) for slabs in read_audit_slabs(both.uri)] == [2]
    assert caplog.messages == [
        f"3 slabs of a rehearsal without DFT left out; --method {potential(both)} takes them"
    ]
    (chosen,) = read_audit_slabs(both.uri, potential(both))
    assert chosen.method == potential(both) and len(caplog.messages) == 1
    both.remove({"id": {"$in": ["a", "b"]}})
    with pytest.raises(InputError, match=f"--method {potential(both)}"):
        read_audit_slabs(both.uri)
