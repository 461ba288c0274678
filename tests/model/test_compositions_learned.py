"""Networks and trees on compositions: inputs, losses of classes, calibration, training, files."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.baselines import extra_trees
from model.baselines.class_trees import ClassForest
from model.baselines.composition_descriptors import composition_descriptor_names, describe_compositions
from model.compositions.batch import CompositionBatch
from model.compositions.composition import PlainComposition
from model.compositions.image import property_cells
from model.evaluation.class_calibration import fit_share, fit_temperature, log_loss, with_temperature
from model.graphs.element_features import FEATURES
from model.network.composition_network import SIDE, CompositionConfig, CompositionNetwork
from model.training.ensemble_files import load_ensemble
from model.training.losses import class_weights
from model.training.presets import TrainingConfig, find_preset, with_params
from model.training.runs import RunSettings, chosen_preset, labelled_data, make_split, run_training
from model.training.target_losses import masked_losses
from model.training.train import train
from model.training.transfer import Start
from model.training.tuning import space_of
from stores.errors import InputError
from tests.model.small_compositions import CLASSES, small_compositions
from tests.model.untrained import without_checksums

ELEMENTS = torch.from_numpy(FEATURES["chemical"]().table)
SMALL = {
    "network.hidden": 32,
    "network.embedding": 16,
    "training.batch_size": 32,
    "training.optimiser.learning_rate": 0.01,
    "trees": 30,
}


def settings(**changes) -> RunSettings:
    return RunSettings(**{"preset": "mcvn", "epochs": 12, "params": SMALL, **changes})


def network(config: CompositionConfig, batch: CompositionBatch) -> CompositionNetwork:
    torch.manual_seed(0)
    made = CompositionNetwork(config, ELEMENTS)
    layout = "expert" if config.image == "none" else config.image
    made.learn_inputs(batch, torch.from_numpy(property_cells(batch.features.numpy(), layout)))
    return made.eval()


def config(**changes) -> CompositionConfig:
    return CompositionConfig(
        **{"targets": ("hardness",), "element_features": 21, "hidden": 16, "embedding": 16, **changes}
    )


@pytest.fixture(scope="module")
def batch() -> CompositionBatch:
    return CompositionBatch.of([entry.graph for entry in small_compositions(60, extras=True)])


def test_identity_tells_elements_fractions_and_columns_apart():
    numbers, halves = np.array([12, 47]), np.array([0.5, 0.5])
    one = PlainComposition(numbers, halves)
    assert one.identity == PlainComposition(numbers, halves.copy()).identity
    others = (
        PlainComposition(np.array([12, 48]), halves),
        PlainComposition(numbers, np.array([0.4, 0.6])),
        PlainComposition(numbers, halves, np.array([1.0])),
    )
    assert len({one.identity, *(other.identity for other in others)}) == 4


def test_the_image_is_grey_from_zero_to_one_and_each_property_has_a_cell(batch):
    made = network(config(extras=("heat",)), batch)
    images = made.grey_scale(batch.features)
    assert images.shape == (60, 7, SIDE, SIDE)
    assert images.min() == 0
    assert images.max() == 1
    assert len(set(made.cells.tolist())) == 58
    used = torch.zeros(SIDE * SIDE, dtype=torch.bool)
    used[made.cells] = True
    assert (images.flatten(2)[:, :, ~used] == 0).all()
    brighter = made.grey_scale(batch.features * 100 + 1e6)  # beyond: cut
    assert brighter.max() == 1


def test_raw_inputs_are_standardised_and_missing_columns_are_marked(batch):
    made = network(config(extras=("heat",)), batch)
    raw = made.raw_inputs(batch)
    assert raw.shape == (60, 406 + 100 + 2)
    varies = made.feature_scale > 0
    assert raw[:, :406][:, varies].mean(0).abs().max() < 0.1  # cut at four deviations
    assert (raw[:, :406][:, ~varies] == 0).all()
    missing = batch.extras[:, 0].isnan()
    assert missing.sum() == 9
    assert (raw[missing, -2] == 0).all()
    assert torch.equal(raw[:, -1] > 0, missing)


@pytest.mark.parametrize("changes", [{}, {"image": "none"}, {"attention": False}, {"raw": False}])
def test_an_alloy_is_predicted_alike_alone_and_beside_others(batch, changes):
    made = network(config(extras=("heat",), **changes), batch)
    many = PlainComposition(np.array([12, 13, 29, 30, 39]), np.full(5, 0.2), np.array([500.0]))
    own = small_compositions(60, extras=True)[0].graph
    alone = made(CompositionBatch.of([own]))
    beside = made(CompositionBatch.of([own, many]))
    assert beside[0].item() == pytest.approx(alone[0].item(), abs=1e-5)


def test_a_network_without_any_branch_is_refused():
    with pytest.raises(InputError, match="neither image"):
        CompositionNetwork(config(image="none", attention=False, raw=False), ELEMENTS)


def test_small_classes_weigh_more():
    places = torch.tensor([0.0] * 4 + [1.0] * 1 + [torch.nan])
    weights = class_weights(places, 1.0)
    assert weights[4] == pytest.approx(4 * weights[0].item())
    assert weights[:5].mean() == pytest.approx(1.0)
    assert weights[5] == 0
    assert class_weights(places, 0.5)[4] == pytest.approx(2 * class_weights(places, 0.5)[0].item())


def test_focal_loss_takes_weight_from_what_is_known_already():
    logits = torch.tensor([[math.log(4.0), 0.0]])  # probabilities 0.8 and 0.2
    given = (logits, torch.zeros(1, 1), torch.ones(1, 1))
    plain = masked_losses(*given, TrainingConfig(), [(slice(0, 2), True)])[0][0]
    focal = masked_losses(*given, TrainingConfig(focal=2.0), [(slice(0, 2), True)])[0][0]
    assert plain.item() == pytest.approx(-math.log(0.8))
    assert focal.item() == pytest.approx(0.2**2 * -math.log(0.8), rel=1e-5)


def test_focal_loss_has_a_gradient_where_nothing_is_missed():
    logits = torch.tensor([[40.0, 0.0], [0.0, 1.0]], requires_grad=True)
    given = (logits, torch.zeros(2, 1), torch.ones(2, 1))
    masked_losses(*given, TrainingConfig(focal=0.5), [(slice(0, 2), True)])[0][0].backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[1, 0] < 0


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match=r"training\.focal"):
        with_params(find_preset("mcvn"), {"training.focal": -1.0})
    with pytest.raises(InputError, match="attention heads"):
        CompositionNetwork(config(embedding=6), ELEMENTS)


def test_settings_of_classes_stand_in_files_only_where_used():
    assert "focal" not in TrainingConfig().plain()
    assert TrainingConfig(focal=2.0).plain()["focal"] == 2.0


def test_a_temperature_takes_away_confidence_that_is_not_earned():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 400).astype(float)
    logits = rng.normal(size=(400, 3))
    logits[np.arange(400), true.astype(int)] += 1.5
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    bold = with_temperature(honest, 0.25)
    found = fit_temperature(bold, true)
    assert found > 1.5
    assert log_loss(with_temperature(bold, found), true) < log_loss(bold, true) - 0.05
    assert (with_temperature(bold, found).argmax(1) == bold.argmax(1)).all()
    assert fit_temperature(bold[:30], true[:30]) == 1  # too few labels to choose by


def test_the_better_of_network_and_trees_has_the_larger_share():
    rng = np.random.default_rng(1)
    true = rng.integers(0, 2, 200).astype(float)
    right = np.where(true[:, None] == np.arange(2), 0.9, 0.1)
    even = np.full((200, 2), 0.5)
    assert fit_share(right, even, true) == 1
    assert fit_share(even, right, true) == 0
    assert fit_share(right[:30], even[:30], true[:30]) == 0.5


def test_class_trees_are_those_of_scikit_learn_with_and_without_numba(monkeypatch):
    from sklearn.ensemble import ExtraTreesClassifier

    data = small_compositions(80)
    descriptors = describe_compositions([entry.graph for entry in data])
    places = np.array([entry.targets["glass"] for entry in data])
    places[:5] = np.nan
    forest = ClassForest.fit(descriptors, places, 4, 20, seed=3)  # a fourth class has no label
    grown = ExtraTreesClassifier(20, max_features=0.2, random_state=3).fit(descriptors[5:], places[5:])
    expected = grown.predict_proba(descriptors)
    assert forest.predict(descriptors)[:, :3] == pytest.approx(expected, abs=1e-6)
    assert (forest.predict(descriptors)[:, 3] == 0).all()
    monkeypatch.setattr(extra_trees, "compiled_search", lambda name: None)
    assert forest.predict(descriptors)[:, :3] == pytest.approx(expected, abs=1e-6)
    again = ClassForest.from_state(forest.state())
    assert np.array_equal(again.predict(descriptors), forest.predict(descriptors))
    with pytest.raises(InputError, match="probabilities"):
        ClassForest.from_state({**forest.state(), "probabilities": torch.ones(3, 4)})


def test_descriptors_have_names(batch):
    graphs = [entry.graph for entry in small_compositions(5, extras=True)]
    found = describe_compositions(graphs)
    names = composition_descriptor_names(found.shape[1])
    assert found.shape == (5, 508)
    assert len(names) == len(set(names)) == 508
    assert names[-1] == "numeric column 1 missing"
    assert found[0, -1] == 1  # the first alloy lacks the column
    assert found[0, -2] == 0


@pytest.fixture(scope="module")
def data():
    return small_compositions(160, extras=True)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return run_training(lambda *_: data, settings(), folder), folder


def test_a_run_learns_quantity_and_classes(finished):
    run, _ = finished
    assert run["noun"] == "composition"
    assert run["targets"] == ["hardness", "glass"]
    hardness = run["metrics"]["hardness"]
    assert hardness["test"]["r2"] > 0.6
    assert hardness["coverage_90"] > 0.6
    assert run["classes"]["glass"]["test"]["accuracy"] > 0.75


def test_a_model_read_again_predicts_the_same(finished, data):
    _, folder = finished
    graphs = [entry.graph for entry in data]
    ensemble = load_ensemble(folder)
    assert ensemble.extras == ("heat",)
    assert ensemble.kinds == {"hardness": ("composition",), "glass": ("composition",)}
    assert ensemble.class_names == {"glass": CLASSES}
    assert ensemble.class_models.kind == "composition"
    assert set(ensemble.descriptor_models["composition"].targets) == {"hardness"}
    found = ensemble.predict(graphs)
    assert found.probabilities["glass"].sum(1) == pytest.approx(np.ones(len(graphs)))
    part = ensemble.predict(graphs[:7])
    assert part.mean["hardness"] == pytest.approx(found.mean["hardness"][:7], abs=1e-3)
    assert part.probabilities["glass"] == pytest.approx(found.probabilities["glass"][:7], abs=1e-4)
    nothing = ensemble.predict([])
    assert nothing.probabilities["glass"].shape == (0, 3)


def test_a_training_that_broke_off_ends_with_the_same_weights(data, tmp_path):
    preset, found = labelled_data(lambda *_: data, chosen_preset(settings(epochs=3)))
    split = make_split(found, settings())
    whole = train(found, split, preset)

    def stop(progress) -> None:
        if progress.epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(found, split, preset, folder=tmp_path, progress=stop)
    resumed = train(found, split, preset, folder=tmp_path)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_model_of_compositions_is_fine_tuned_and_keeps_its_scales(finished, data):
    _, folder = finished
    source = load_ensemble(folder).members[0]
    preset, found = labelled_data(lambda *_: data, chosen_preset(settings(epochs=1)))
    some = replace(make_split(found, settings()), train=make_split(found, settings()).train[:40])
    tuned = train(found, some, preset, start=Start(source))
    assert torch.equal(tuned.network.feature_mean, source.network.feature_mean)
    assert torch.equal(tuned.network.cells, source.network.cells)
    with pytest.raises(InputError, match="--freeze"):
        train(found, some, preset, start=Start(source, "embedding"))


def test_a_preset_of_the_other_kind_is_named(data):
    with pytest.raises(InputError, match="--preset mcvn"):
        labelled_data(lambda *_: data, chosen_preset(RunSettings("best", targets=("hardness",))))


def test_the_image_and_the_attention_are_searched():
    space = space_of(find_preset("mcvn"))
    assert {"network.image", "network.attention", "network.dropout"} <= set(space)
    assert "network.convolutions" not in space


def test_many_compositions_are_predicted_alike_in_threads(finished, data, monkeypatch):
    _, folder = finished
    ensemble = load_ensemble(folder)
    graphs = [entry.graph for entry in data]
    whole, places = ensemble.predict_placed(graphs)
    monkeypatch.setattr("model.training.ensemble.COMPOSITIONS_AT_ONCE", 50)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found, others = ensemble.predict_placed(graphs)
    finally:
        torch.set_num_threads(before)
    assert found.mean["hardness"] == pytest.approx(whole.mean["hardness"], abs=1e-3)
    assert found.sigma["hardness"] == pytest.approx(whole.sigma["hardness"], abs=1e-3)
    assert found.probabilities["glass"] == pytest.approx(whole.probabilities["glass"], abs=1e-4)
    assert others == pytest.approx(places, abs=1e-3)


def test_a_temperature_that_is_none_is_refused(finished, tmp_path):
    _, folder = finished
    copy = tmp_path / "model"
    shutil.copytree(folder / "model", copy)
    without_checksums(copy, temperatures={"glass": 0})
    with pytest.raises(InputError, match="temperature"):
        load_ensemble(copy)
