"""Labels of computed surfaces without Mg never meet those of Mg compounds unless somebody chooses them."""

from __future__ import annotations

import pytest

from stores.connections import open_store
from stores.errors import InputError
from stores.labelled import WITHOUT_MG, heads_of, labelled_slabs, of_methods
from stores.learning.snapshot_changes import news_since
from stores.learning.snapshots import draft_snapshot


@pytest.fixture
def both(surface, tmp_path):
    """A store with two surfaces of MgAg, one of Al and one of NiAl, all by one method."""

    uri = f"sqlite:///{tmp_path}/both.sqlite"
    with open_store(uri) as store:
        store.add(
            [
                surface(0, id="a"),
                surface(1, id="b"),
                surface(2, id="c", formula="Al", chemsys="Al"),
                surface(3, id="d", formula="AlNi", chemsys="Al-Ni", reference_element="Al"),
            ]
        )
        yield store


def fingerprint(store):
    return store.distinct("method_fingerprint")[0]


def test_they_have_a_method_of_their_own(both):
    methods = {slab.record_id: slab.method for slab in labelled_slabs(both)}
    mg = fingerprint(both)
    assert methods == {"a": mg, "b": mg, "c": mg + WITHOUT_MG, "d": mg + WITHOUT_MG}


def test_they_are_not_mixed_silently(both):
    slabs = list(labelled_slabs(both))
    with pytest.raises(InputError, match=r"several methods.*-without-mg \(2\).*--method"):
        heads_of(slabs, ["surface_energy"])


def test_one_kind_is_chosen_by_the_name_of_its_method(both):
    slabs, mg = list(labelled_slabs(both)), fingerprint(both)
    assert [s.record_id for s in of_methods(slabs, [mg])] == ["a", "b"]
    assert [s.record_id for s in of_methods(slabs, [mg[:6]])] == ["a", "b"]  # a beginning means those with Mg
    assert [s.record_id for s in of_methods(slabs, [mg + WITHOUT_MG])] == ["c", "d"]
    assert draft_snapshot(both, ["surface_energy"], methods=[mg]).snapshot.n_records == 2
    apart = draft_snapshot(both, ["surface_energy"], separate=True).snapshot
    assert {head.name: head.labels for head in apart.heads} == {
        f"surface_energy@{mg}": 2,
        f"surface_energy@{mg}{WITHOUT_MG}": 2,
    }


def test_a_store_without_mg_is_trained_on_as_it_is(both):
    both.remove({"formula": "MgAg"})
    slabs = list(labelled_slabs(both))
    assert set(heads_of(slabs, ["surface_energy"]).values()) == {"surface_energy"}
    assert len(of_methods(slabs, [fingerprint(both)])) == 2  # the only method that begins so


def test_without_a_choice_those_with_mg_are_taken(both):
    mg = fingerprint(both)
    taken = of_methods(list(labelled_slabs(both)), None)
    assert {slab.method for slab in taken} == {mg}
    draft = draft_snapshot(both)
    assert [head.method for head in draft.snapshot.heads] == [mg, mg]
    assert draft.left_out == f"2 slabs without Mg left out; --method {mg}{WITHOUT_MG} takes them"
    assert draft_snapshot(both, methods=[mg]).left_out == ""


def test_those_of_another_method_are_left_out_too(both, surface):
    other = surface(4).method.model_copy(update={"cutoff": 480.0})
    both.remove({"formula": {"$in": ["Al", "AlNi"]}})
    al = surface(4, id="e", formula="Al", chemsys="Al", method=other, method_fingerprint=other.fingerprint)
    both.add([al])
    slabs = list(labelled_slabs(both))
    assert len({slab.method for slab in slabs}) == 2
    assert [slab.record_id for slab in of_methods(slabs, None)] == ["a", "b"]
    assert "1 slab without Mg left out" in draft_snapshot(both).left_out


def test_a_model_of_mg_compounds_sees_no_news_in_others(both):
    snapshot = draft_snapshot(both).snapshot
    news = news_since(both, snapshot)
    assert (news.added, news.other_methods) == ((), ("c", "d"))
