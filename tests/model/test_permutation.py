"""Importance of inputs: what a network does not see is without influence, what it learned from is not."""

from model.evaluation.permutation import ELEMENTS
from model.training.runs import RunSettings, run_training
from tests.model.small_compositions import small_compositions

ATTENTION_ALONE = {
    "network.raw": False,
    "network.image": "none",
    "network.hidden": 32,
    "network.embedding": 16,
    "training.batch_size": 32,
    "training.optimiser.learning_rate": 0.01,
    "trees": 0,
}


def test_attention_alone_sees_elements_only(tmp_path):
    data = small_compositions(160, extras=True)
    settings = RunSettings("mcvn", epochs=12, params=ATTENTION_ALONE)
    run = run_training(lambda *_: data, settings, tmp_path / "run")
    for target, found in run["importance"].items():
        assert found.pop(ELEMENTS) > 0.2, target
        assert len(found) == 59 and max(map(abs, found.values())) < 1e-12
    bare = run_training(lambda *_: data, settings, tmp_path / "bare", keep_model=False)
    assert "importance" not in bare
