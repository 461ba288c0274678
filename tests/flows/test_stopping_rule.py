from __future__ import annotations

from types import SimpleNamespace

import pytest

from workflows.flows.active_learning import StoppingRule, _good_enough

CARD = SimpleNamespace(name="v1", metrics={})


def predicted(sigma):
    return {"predictions": {"work_function": {"value": 4.0, "sigma": sigma}}}


@pytest.mark.parametrize(
    ("sigmas", "stops"), [((0.05, 0.08), True), ((0.05, 0.2), False), ((None, None), False)]
)
def test_a_model_that_tells_no_uncertainty_is_not_sure(sigmas, stops):
    rule = StoppingRule(sigmas={"work_function": 0.1})
    assert bool(_good_enough(rule, CARD, [predicted(sigma) for sigma in sigmas])) is stops
