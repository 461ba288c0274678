"""Everything at once, with the fast engine: campaign, refresh, champion, suggestion, campaign, refresh."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from model.data.formula_key import formula_key
from model.data.splits import part_of
from model.promotion.registration import weight_files
from model.training.ensemble_files import save_ensemble
from stores.connections import open_store
from stores.errors import InputError, StoreError
from stores.learning.candidates import candidate_documents, computed_slabs, slab_key
from stores.learning.history import ChosenSlab, Round, begin_round, last_refresh, rounds_of
from stores.learning.model_card import ModelFacts
from stores.learning.registry import ModelRegistry
from tests.flows.labelled_store import quick_settings
from tests.model.untrained import untrained
from workflows.flows.active_learning import ActiveLearningMaker, StoppingRule, next_round
from workflows.flows.campaign.flow import CampaignMaker
from workflows.flows.refresh import RefreshMaker
from workflows.flows.surface import SurfaceMaker
from workflows.jobs.progress import PROGRESS
from workflows.structures.crystal import bulk_key
from workflows.structures.prototypes import structure_for
from workflows.structures.slabs import SlabSettings

FORMULAS = (
    *("MgAl", "MgSc", "MgNi", "MgZr", "MgIn", "MgSn"),  # train
    *("MgCu", "MgPd", "MgZn", "MgGa", "MgY", "MgV", "MgAu"),  # validate: 20 slabs tell the uncertainty
    *("MgK", "MgRu", "MgLa", "MgHf", "MgTa", "MgW"),  # held out
)
LATER = ("MgCo", "MgTi", "MgRh")
PLANES = [(1, 0, 0), (1, 1, 0)]
SETTINGS = {"min_new_records": 9, "members": 2, "targets": ["surface_energy"], "epochs": 25}


def test_the_formulas_reach_every_part():
    parts = Counter(part_of(formula_key(name, "", None)) for name in FORMULAS)
    assert parts == {"train": 6, "val": 7, "test": 6}


class Loop:
    def __init__(self, bench, monkeypatch=None) -> None:
        self.bench = bench
        self.maker = SurfaceMaker(bench.context(), slabs=SlabSettings(min_thickness=6.0))

    def refresh(self, **changes) -> RefreshMaker:
        settings = quick_settings(**{**SETTINGS, **changes})
        return RefreshMaker(self.bench.store, str(self.bench.folder / "runs"), settings)

    def campaign(self, formulas, refresh=None):
        flow = CampaignMaker(self.maker, refresh=refresh).make(
            [structure_for(name, "B2") for name in formulas], miller_indices=[PLANES] * len(formulas)
        )
        return self.bench.run(flow)

    def learn(self, formulas, **changes):
        """Run rounds; return the tally and what it said."""
        flow = ActiveLearningMaker(
            self.maker,
            self.refresh(),
            **{
                "batch": 3,
                "strategy": "improvement",
                "minimise": ("surface_energy",),
                "stop": StoppingRule(rounds=2),
                **changes,
            },
        ).make(
            [structure_for(name, "B2") for name in formulas],
            [{"source": "prototype", "lattice_is_guess": True}] * len(formulas),
            [PLANES] * len(formulas),
        )
        return self.bench.run(flow)

    def store(self):
        return open_store(self.bench.store)

    def champion(self):
        with self.store() as store:
            return ModelRegistry(store).champion_version()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture
def loop(bench, cache, monkeypatch):
    monkeypatch.setenv("MGSURF_CACHE", str(cache))
    return Loop(bench)


def test_from_nothing_to_a_model_that_chooses(loop):
    # a campaign that ends with a refresh
    tally = loop.campaign(FORMULAS, loop.refresh())
    assert tally.problems == []
    assert len(tally.records) == 57
    assert loop.champion() == 1
    with loop.store() as store:
        assert last_refresh(store).outcome == "promoted"
        assert ModelRegistry(store).champion().sizes["test"] == 18
    before = loop.bench.executed()

    # the model chooses among new slabs, they are computed, and it learns from them
    tally = loop.learn(FORMULAS + LATER, strategy="uncertain", minimise=())
    assert tally.problems == []
    with loop.store() as store:
        rounds = rounds_of(store, "test")
        assert [(r.number, r.model, r.strategy, len(r.slabs), r.done) for r in rounds[:1]] == [
            (1, "v1", "uncertain", 3, True)
        ]
        assert len({slab.key for one in rounds for slab in one.slabs}) == 6
        assert store.count() == 63
        # nine new records are required: six are not enough for another training
        assert len(ModelRegistry(store).cards()) == 1
        computed = computed_slabs(store, loop.maker.context.make_engine().method())
        left = [d for d in candidate_documents(store) if slab_key(d) not in computed]
        assert {d["model"] for d in left} == {"v1"}
        assert len(left) == 3
    assert set(loop.bench.executed().values()) == {1}
    assert all(loop.bench.executed()[key] == count for key, count in before.items())

    # a second campaign completes them: the third batch of news leads to a challenger
    assert loop.campaign(LATER, loop.refresh()).problems == []
    with loop.store() as store:
        registry = ModelRegistry(store)
        assert [card.version for card in registry.cards()] == [1, 2]
        assert registry.decision_log().status(2).state in ("champion", "rejected")
        assert "on 6 held-out compounds" in last_refresh(store).reason

    # everything is computed: nothing is left to do
    loop.learn(FORMULAS + LATER, stop=StoppingRule(rounds=9))
    with loop.store() as store:
        assert len(rounds_of(store, "test")) == 2


def test_without_a_model_the_first_slabs_are_drawn(loop):
    loop.learn(("MgAl", "MgSc"), batch=2, stop=StoppingRule(rounds=5, slabs=3))
    with loop.store() as store:
        rounds = rounds_of(store, "test")
        assert [(r.strategy, r.model, len(r.slabs)) for r in rounds] == [("random", "", 2), ("random", "", 1)]
        assert store.count() == 3
        assert last_refresh(store) is None


def test_a_killed_round_is_finished_and_not_chosen_anew(loop):
    def work():
        import logging

        class Kill(logging.Handler):
            def emit(self, record):
                if record.mgsurf_event.stage == "recorded":
                    os.kill(os.getpid(), signal.SIGKILL)

        PROGRESS.addHandler(Kill())
        PROGRESS.setLevel(logging.INFO)
        loop.learn(("MgAl", "MgSc"), stop=StoppingRule(rounds=1))

    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    with loop.store() as store:
        (first,) = rounds_of(store, "test")
        assert not first.done
        assert store.count() == 1
    assert loop.learn(("MgAl", "MgSc"), stop=StoppingRule(rounds=1)).problems == []
    with loop.store() as store:
        (again,) = rounds_of(store, "test")
        assert again.done
        assert again.slabs == first.slabs
        assert store.count() == 3
    assert set(loop.bench.executed().values()) == {1}


def round_of(store, *structures):
    slabs = [
        ChosenSlab(bulk_key=bulk_key(one), miller_index=(1, 0, 0), termination_key="0") for one in structures
    ]
    begin_round(store, Round(id="test-1", campaign="test", number=1, strategy="random", model="",
                             slabs=slabs, core_hours=1.0))  # fmt: skip


def interrupted(loop, structures, caplog):
    maker = ActiveLearningMaker(loop.maker, loop.refresh(), stop=StoppingRule(rounds=1))
    world = [[one, {"source": "prototype"}, PLANES] for one in structures]
    with caplog.at_level("INFO", PROGRESS.name):
        response = next_round.original(maker, world, None)
    return response, [record.mgsurf_event.text for record in caplog.records]


def test_a_round_whose_crystals_left_the_campaign_is_closed(loop, caplog):
    with loop.store() as store:
        round_of(store, structure_for("MgAl", "B2"))
    response, said = interrupted(loop, [structure_for("MgSc", "B2")], caplog)
    assert response.output == {"rounds": 1, "reason": "1 rounds were requested"}
    assert (
        "round 1 was interrupted, and none of its crystals is in the campaign any more; it is closed" in said
    )
    with loop.store() as store:
        assert [one.done for one in rounds_of(store, "test")] == [True]


def test_a_round_goes_on_with_the_crystals_that_are_left(loop, caplog):
    stays, goes = structure_for("MgSc", "B2"), structure_for("MgAl", "B2")
    with loop.store() as store:
        round_of(store, stays, goes)
    response, said = interrupted(loop, [stays], caplog)
    assert len(response.replace.jobs[0].jobs) > 0
    assert "1 of its 2 slabs are left out: their crystals are not in the campaign any more" in said


def test_rounds_do_not_look_for_uncertainty_where_the_model_never_learns(loop, tmp_path, caplog):
    save_ensemble(untrained(), tmp_path / "model")
    facts = ModelFacts(label="x", targets=("surface_energy", "work_function"), config={"split": "holdout"})
    with loop.store() as store:
        registry = ModelRegistry(store)
        registry.promote(registry.add(facts, weight_files(tmp_path / "model"))[0].version)

    def next_of(*formulas):
        maker = ActiveLearningMaker(loop.maker, loop.refresh(), batch=9, strategy="uncertain")
        world = [[structure_for(name, "B2"), {"source": "prototype"}, PLANES] for name in formulas]
        with caplog.at_level("INFO", PROGRESS.name):
            return next_round.original(maker, world, None)

    assert next_of("MgPd", "MgLa").output == {
        "rounds": 0,
        "reason": "the compounds of all slabs that are left validate or are held out and never train",
    }
    next_of("MgPd", "MgLa", "MgAl")
    assert "6 others are of compounds that validate or are held out" in [
        record.mgsurf_event.text for record in caplog.records
    ]
    with loop.store() as store:
        (one,) = rounds_of(store, "test")
    assert {slab.bulk_key for slab in one.slabs} == {bulk_key(structure_for("MgAl", "B2"))}


def test_a_refresh_that_fails_spoils_no_record(loop, monkeypatch):
    """A full disk while a campaign's last job trains: the records are there."""
    monkeypatch.setattr("workflows.flows.refresh.is_needed", lambda *a, **k: True)
    monkeypatch.setattr("workflows.flows.refresh._begin", full)
    with pytest.raises(StoreError, match="No space left"):
        loop.campaign(FORMULAS[:1], loop.refresh())
    with loop.store() as store:
        assert store.count() == 3


def test_a_slip_in_the_strategy_is_told_at_once(loop):
    with pytest.raises(InputError, match="cleverest"):
        loop.learn(("MgAl",), strategy="cleverest", minimise=())


def full(*arguments):
    raise StoreError("refresh/scratch could not be written (No space left on device): free space")
