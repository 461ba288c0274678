from __future__ import annotations

from model.promotion.challenger import decide
from stores.connections import open_store
from stores.learning.model_card import ModelFacts
from stores.learning.registry import ModelRegistry


def test_weights_that_somebody_went_back_from_are_not_called_champion(tmp_path):
    """The same snapshot and recipe give the same weights again, and so the version that was rolled back."""
    with open_store(f"sqlite:///{tmp_path / 'results.sqlite'}") as store:
        registry = ModelRegistry(store)
        facts = ModelFacts(label="x", targets=("work_function",))
        for content in (b"one", b"two"):
            registry.promote(registry.add(facts, {"member-0.pt": content})[0].version)
        registry.rollback("odd values")
        card, new = registry.add(facts, {"member-0.pt": b"two"})
        assert not new
        action, reason = decide(registry, card, None, tell=print)
    assert action == "reject"
    assert reason == "v2 is these weights already, and was retired: odd values"
