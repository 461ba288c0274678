from __future__ import annotations

import json
from dataclasses import replace

import pytest
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from stores.connections import open_store
from stores.learning.candidates import CANDIDATES, candidate_documents, slab_key
from stores.records import Provenance
from workflows.flows.campaign.file import CampaignStructure
from workflows.flows.campaign.flow import CampaignMaker
from workflows.flows.chosen_slabs import ChosenSlabsMaker
from workflows.flows.enumeration.cost import calibrated
from workflows.flows.learning.candidates import slab_core_hours, update_candidates_of
from workflows.flows.surface import SurfaceMaker
from workflows.structures.crystal import bulk_key
from workflows.structures.slabs import SlabSettings

GUESS = Provenance(source="prototype", identifiers=["B2"], lattice_is_guess=True)


def entry(structure, facets=None, provenance=GUESS):
    return CampaignStructure(structure.composition.reduced_formula, structure, provenance, facets, "c.yaml:3")


def update(bench, maker, *entries):
    with open_store(bench.store) as store:
        found = update_candidates_of(store, maker, entries)
        return found, {d["id"]: d for d in candidate_documents(store, with_slabs=True)}


def test_every_slab_is_a_candidate_until_it_is_computed(bench, mgag, mg):
    maker = SurfaceMaker(bench.context())
    found, documents = update(bench, maker, entry(mgag), entry(mg))
    assert len(found.ids) == found.n_cut == 12  # 5 of B2 and 7 of hcp up to (111)
    assert found.n_computed == 0
    assert all(d["lattice_is_guess"] and d["bulk_id"] == "" and d["model"] == "" for d in documents.values())
    some = documents[found.ids[0]]
    assert len(some["slab"]["numbers"]) == some["n_atoms"] == len(some["slab"]["fractional"])

    # nothing is cut twice
    again, after = update(bench, maker, entry(mgag), entry(mg))
    assert again.ids == found.ids
    assert again.n_cut == 0
    assert after == documents

    bench.run(CampaignMaker(maker).make([mgag]))
    left, documents = update(bench, maker, entry(mgag), entry(mg))
    assert len(left.ids) == 7
    assert left.n_computed == 5
    assert {d["formula"] for d in documents.values()} == {"Mg"}


def test_an_id_is_that_of_the_record_it_becomes(bench, mgag):
    """Cut from the relaxed bulk, candidates are what the campaign computes, to the number of layers."""
    maker = SurfaceMaker(bench.context())
    update(bench, maker, entry(mgag))
    bench.run(CampaignMaker(maker).make([mgag], miller_indices=[[(1, 1, 0)]]))
    found, documents = update(bench, maker, entry(mgag))
    assert len(found.ids) == 4
    assert not any(d["lattice_is_guess"] for d in documents.values())
    assert len({d["bulk_id"] for d in documents.values()} - {""}) == 1
    bench.run(CampaignMaker(maker).make([mgag]))
    with open_store(bench.store) as store:
        surfaces = {record["id"] for record in store.query({}, ["id"])}
    assert set(found.ids) <= surfaces


def test_a_failed_slab_counts_as_computed_and_is_told(bench, mgag):
    maker = SurfaceMaker(bench.context(crash_on="slab_relax MgAg 12"))
    bench.run(CampaignMaker(maker).make([mgag]))
    found, _ = update(bench, maker, entry(mgag))
    assert (found.ids, found.n_computed, found.n_failed) == ([], 5, 1)


def test_a_record_that_is_removed_makes_a_candidate_again(bench, mgag):
    maker = SurfaceMaker(bench.context())
    bench.run(CampaignMaker(maker).make([mgag]))
    assert update(bench, maker, entry(mgag))[0].ids == []
    with open_store(bench.store) as store:
        store.remove({"miller_index": [1, 1, 0]})
    assert len(update(bench, maker, entry(mgag))[0].ids) == 1
    with open_store(bench.store) as store:  # and one that somebody removed from the candidates
        store.remove({}, collection=CANDIDATES)
    assert len(update(bench, maker, entry(mgag))[0].ids) == 1


def test_campaigns_that_ask_for_other_facets_share_what_is_predicted(bench, mgag):
    maker = SurfaceMaker(bench.context())
    few, documents = update(bench, maker, entry(mgag, [(1, 0, 0)]))
    assert len(few.ids) == 2
    with open_store(bench.store) as store:
        store.collection(CANDIDATES).upsert([{**d, "model": "v1"} for d in documents.values()])
    more, documents = update(bench, maker, entry(mgag))
    assert set(few.ids) < set(more.ids)
    assert {documents[name]["model"] for name in few.ids} == {"v1"}
    # another thickness makes other slabs
    thick, _ = update(bench, replace(maker, slabs=SlabSettings(min_thickness=20.0)), entry(mgag))
    assert not set(thick.ids) & set(more.ids)
    # another method has computed nothing
    bench.run(CampaignMaker(maker).make([mgag]))
    other, _ = update(bench, SurfaceMaker(bench.context(k_density=3.0)), entry(mgag))
    assert len(other.ids) == 5


def test_what_cannot_be_computed_is_left_out_in_one_line_each(bench, mgag):
    ternary = Structure(Lattice.cubic(4), ["Mg", "Ag", "Cu"], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]])
    strange = Structure(Lattice.cubic(3.5), ["Mg", "Xe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    found, _ = update(bench, SurfaceMaker(bench.context()), entry(ternary), entry(mgag), entry(strange))
    assert len(found.ids) == 5
    first, second = found.left_out
    assert "c.yaml:3" in first
    assert "more than two elements" in first
    assert "Xe" in second
    assert "\n" not in first + second


def test_an_interruption_keeps_what_was_cut(bench, mgag, mg, monkeypatch):
    maker = SurfaceMaker(bench.context())
    monkeypatch.setattr("workflows.flows.learning.candidates._KEPT_AT_ONCE", 1)

    def stop(done, total):
        if done == 1:
            raise KeyboardInterrupt

    with open_store(bench.store) as store:
        with pytest.raises(KeyboardInterrupt):
            update_candidates_of(store, maker, [entry(mgag), entry(mg)], progress=stop)
        assert store.count(collection=CANDIDATES) == 5
        assert update_candidates_of(store, maker, [entry(mgag), entry(mg)]).n_cut == 7


def test_core_hours_grow_with_the_slab(bench, mgag):
    maker = SurfaceMaker(bench.context())
    _, documents = update(bench, maker, entry(mgag))
    cost = calibrated(maker.context.make_engine().method(), None)
    some = next(iter(documents.values()))
    larger = {**some, "n_atoms": 2 * some["n_atoms"], "volume": 2 * some["volume"]}
    assert 0 < 3 * slab_core_hours(cost, some) < slab_core_hours(cost, larger)


def test_chosen_slabs_alone_are_computed(bench, mgag, mg):
    maker = SurfaceMaker(bench.context())
    _, documents = update(bench, maker, entry(mgag), entry(mg))
    wanted = [d for d in documents.values() if d["formula"] == "MgAg" and d["miller_index"] == [1, 1, 1]][:1]
    wanted += [d for d in documents.values() if d["formula"] == "Mg"][2:4]
    chosen = {}
    for document in wanted:
        chosen.setdefault(document["bulk_key"], []).append(slab_key(document)[1:])
    made = ChosenSlabsMaker(bench.context(), chosen=chosen)
    # as jobs carry it
    again = json.loads(json.dumps(made, cls=MontyEncoder), cls=MontyDecoder)
    tally = bench.run(CampaignMaker(again).make([mgag, mg]))
    assert tally.problems == []
    with open_store(bench.store) as store:
        bulks = {b["id"]: b["bulk_key"] for b in store.query({}, ["id", "bulk_key"], collection="bulks")}
        computed = {
            (bulks[s["bulk_id"]], tuple(s["miller_index"]), s["termination_key"]) for s in store.query({})
        }
    assert computed == {slab_key(document) for document in wanted}
    assert len(update(bench, maker, entry(mgag), entry(mg))[0].ids) == 12 - 3


def test_a_termination_that_the_relaxed_crystal_lacks_is_a_problem(bench, mgag):
    chosen = {bulk_key(mgag): [((1, 0, 0), "Mg1|Ag1"), ((1, 0, 0), "Xx")]}
    tally = bench.run(CampaignMaker(ChosenSlabsMaker(bench.context(), chosen=chosen)).make([mgag]))
    ((label, reason),) = tally.problems
    assert label == "MgAg (100)"
    assert "no termination Xx" in reason
    with open_store(bench.store) as store:
        assert store.count() == 1
