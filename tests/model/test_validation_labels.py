"""Trees and process of compositions are fitted to the validation labels last, errors stated without them."""

import numpy as np
import pytest

from model.baselines.composition_descriptors import describe_compositions
from model.evaluation.metrics import evaluate
from model.training.ensemble import train_ensemble
from model.training.ensemble_files import load_ensemble
from model.training.runs import RunSettings, chosen_preset, labelled_data, make_split, read_rows, run_training
from model.training.validation_labels import predict_unseen, with_validation_labels
from tests.model.small_compositions import small_compositions

SETTINGS = RunSettings(
    preset="mcvn", epochs=2, params={"network.hidden": 32, "network.embedding": 16, "trees": 20}
)


@pytest.fixture(scope="module")
def trained():
    preset, data = labelled_data(lambda *_: small_compositions(120), chosen_preset(SETTINGS))
    split = make_split(data, SETTINGS)
    return data, split, train_ensemble(data, split, preset)


def of_part(found, rows):
    return found.take(rows).mean["hardness"], found.take(rows).probabilities["glass"]


def test_validation_labels_reach_trees_and_process_but_neither_weights_nor_calibration(trained):
    data, split, before = trained
    after = with_validation_labels(before, data, split, 0)
    own, chosen = after.descriptor_models["composition"], before.descriptor_models["composition"]
    known = sum(data[i].targets["hardness"] is not None for i in (*split.train, *split.val))
    own, chosen = own.targets["hardness"], chosen.targets["hardness"]
    assert len(own.process.points) == known > len(chosen.process.points)
    assert own.shares == chosen.shares
    assert after.class_models.shares == before.class_models.shares
    assert after.calibration is before.calibration
    assert after.temperatures is before.temperatures
    graphs = [data[i].graph for i in split.val]
    rows = np.arange(len(graphs)), [int(data[i].targets["glass"]) for i in split.val]
    described = describe_compositions(graphs)
    one, other = (
        model.class_models.forests["glass"].predict(described)[rows].mean() for model in (before, after)
    )
    assert one < other
    assert other == pytest.approx(1, abs=0.01)  # they have seen them


def test_no_validation_row_is_predicted_with_trees_that_know_its_label(trained):
    data, split, before = trained
    after = with_validation_labels(before, data, split, 0)
    found = predict_unseen(before, after, data, split)
    graphs = [entry.graph for entry in data]
    for rows, model in ((split.val, before), (split.train, after), (split.test, after)):
        expected = of_part(model.predict(graphs), rows)
        for one, other in zip(of_part(found, rows), expected, strict=True):
            assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_a_run_states_honest_errors_and_keeps_the_model_that_knows_all_labels(tmp_path, trained):
    data, split, before = trained
    run = run_training(lambda *_: data, SETTINGS, tmp_path)
    honest = evaluate(data, split, before.predict([entry.graph for entry in data]))["hardness"]["val"]["mae"]
    assert run["metrics"]["hardness"]["val"]["mae"] == pytest.approx(honest, rel=1e-3)
    kept = load_ensemble(tmp_path).predict([data[i].graph for i in split.test])
    rows = [row["hardness_predicted"] for row in read_rows(tmp_path) if row["part"] == "test"]
    assert sorted(rows) == pytest.approx(sorted(kept.mean["hardness"]), rel=1e-3)
