from __future__ import annotations

from types import SimpleNamespace

import pytest

from stores.learning.model_card import PastTraining
from workflows.flows.active_learning import StoppingRule, _good_enough, _why_none
from workflows.flows.learning.suggestion import Suggestion

CARD = SimpleNamespace(name="v1", metrics={})


def predicted(sigma):
    return {"predictions": {"work_function": {"value": 4.0, "sigma": sigma}}}


@pytest.mark.parametrize(
    ("sigmas", "stops"), [((0.05, 0.08), True), ((0.05, 0.2), False), ((None, None), False)]
)
def test_a_model_that_tells_no_uncertainty_is_not_sure(sigmas, stops):
    rule = StoppingRule(sigmas={"work_function": 0.1})
    assert bool(_good_enough(rule, CARD, [predicted(sigma) for sigma in sigmas])) is stops


@pytest.mark.parametrize(("held_out", "stops"), [((), True), (("La1Mg1",), False), (None, False)])
def test_an_error_on_compounds_that_the_model_learned_from_does_not_stop(held_out, stops):
    card = SimpleNamespace(
        name="v1",
        metrics={"holdout": {"work_function": {"test": {"mae": 0.01}}}},
        trainings=(PastTraining(split="holdout", held_out=()), PastTraining(split="", held_out=held_out)),
    )
    assert bool(_good_enough(StoppingRule(errors={"work_function": 0.1}), card, [])) is stops


@pytest.mark.parametrize(
    ("pool", "unpredicted", "never", "hopeless", "reason"),
    [
        (5, 0, 0, 5, "none of the 5 slabs left has a chance to beat the best known values"),
        (5, 1, 2, 0, "no slab fits into what is left of the budget"),
        (0, 0, 3, 0, "the compounds of all slabs that are left validate or are held out and never train"),
        (0, 3, 0, 0, "the model cannot take 3 of the slabs that are left"),
        (
            0,
            1,
            2,
            0,
            "the model cannot take 1 of the slabs that are left, and the others are of compounds that never "
            "train",
        ),
    ],
)
def test_a_round_without_slabs_says_why(pool, unpredicted, never, hopeless, reason):
    assert _why_none(Suggestion([], pool, unpredicted, 1.0, never, hopeless)) == reason
