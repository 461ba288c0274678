from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.data.dataset import Dataset
from model.data.splits import Split
from model.graphs.graph import GraphSettings
from model.network.network import SurfaceNetwork
from model.training.checkpoint import Scaler, load_model, save_model
from model.training.ensemble import train_ensemble
from model.training.ensemble_files import save_ensemble
from model.training.losses import BALANCERS, BalanceConfig
from model.training.presets import OptimiserConfig, TrainingConfig
from model.training.runs import RunSettings, Transfer, run_training
from model.training.train import train
from model.training.transfer import Start, check_start, load_pretrained_weights, new_elements
from stores.errors import InputError
from tests.model.small_dataset import small_dataset
from tests.model.tiny import tiny_config, tiny_dataset, tiny_elements, tiny_graph, tiny_preset

SPLIT = Split("random", 0, tuple(range(26)), tuple(range(26, 34)), tuple(range(34, 40)))
QUICK = TrainingConfig(epochs=3, batch_size=8, optimiser=OptimiserConfig(learning_rate=1e-2))
AVERAGED = replace(
    QUICK, averaging=0.9, clip=1.0, optimiser=OptimiserConfig("one-cycle", 1e-2, weight_decay=0.1)
)


def trained(config=QUICK, dataset=None, network=None, **options):
    return train(
        dataset or tiny_dataset(),
        SPLIT,
        tiny_preset(config, network),
        **options,
    )


def renamed(dataset, **names):
    """Return the data set with other names of its targets."""
    entries = tuple(
        replace(e, targets={names.get(name, name): value for name, value in e.targets.items()})
        for e in dataset
    )
    return Dataset(entries, tuple(names.get(name, name) for name in dataset.targets))


def shifted(dataset, factor=3.0, shift=0.5):
    """Return the data set with labels of another mean and deviation."""
    entries = tuple(
        replace(e, targets={n: None if v is None else factor * v + shift for n, v in e.targets.items()})
        for e in dataset
    )
    return Dataset(entries, dataset.targets)


def parts(model, *beginnings):
    state = model.network.state_dict()
    return {name: value for name, value in state.items() if name.startswith(beginnings)}


@pytest.fixture(scope="module")
def pretrained():
    return trained()


@pytest.mark.parametrize("config", [QUICK, AVERAGED], ids=["plain", "averaged"])
@pytest.mark.parametrize(
    ("freeze", "held"),
    [("none", ()), ("embedding", ("embed.",)), ("convolutions", ("embed.", "convolutions."))],
)
def test_frozen_parts_stay_the_same_to_the_bit_and_all_others_learn(pretrained, freeze, held, config):
    tuned = trained(config, shifted(tiny_dataset()), start=Start(pretrained, freeze))
    before, after = pretrained.network.state_dict(), tuned.network.state_dict()
    for name, value in before.items():
        if name.startswith(("elements", *held)):
            assert torch.equal(value, after[name]), name
    for part in {"embed.", "convolutions.", "shared.", "heads."} - set(held):
        assert any(not torch.equal(before[name], after[name]) for name in parts(tuned, part)), part
    # running statistics are held, too
    moved = [n for n in before if "running_mean" in n and not torch.equal(before[n], after[n])]
    assert bool(moved) == (freeze != "convolutions")


@pytest.mark.parametrize("balance", [name for name in BALANCERS if name != "fixed"])
def test_every_balancer_trains_beside_frozen_parts(pretrained, balance):
    config = replace(QUICK, balance=BalanceConfig(balance))
    tuned = trained(config, start=Start(pretrained, "convolutions"))
    for name, value in parts(pretrained, "embed.", "convolutions.").items():
        assert torch.equal(value, tuned.network.state_dict()[name])


def test_kept_heads_predict_the_same_in_the_targets_units_before_any_training(pretrained):
    graphs = [tiny_graph(seed) for seed in range(100, 110)]
    network = SurfaceNetwork(tiny_config(), tiny_elements())
    scaler = Scaler((7.0, -2.0), (0.3, 11.0))
    load_pretrained_weights(network, scaler, Start(pretrained))
    again = replace(pretrained, network=network.eval(), scaler=scaler)
    for name, values in pretrained.predict(graphs).items():
        np.testing.assert_allclose(again.predict(graphs)[name], values, rtol=2e-5)


def test_heads_of_new_targets_are_new_and_shared_ones_are_kept_unless_reset(pretrained):
    config = tiny_config(targets=("cleavage_energy", "work_function"))
    scaler = Scaler(pretrained.scaler.mean, pretrained.scaler.std)

    def fine_tuned(**options):
        torch.manual_seed(1)
        network = SurfaceNetwork(config, tiny_elements())
        fresh = {name: value.clone() for name, value in network.state_dict().items()}
        load_pretrained_weights(network, scaler, Start(pretrained, **options))
        return fresh, network.state_dict()

    source = pretrained.network.state_dict()
    fresh, state = fine_tuned()
    assert torch.equal(
        state["heads.head_cleavage_energy.0.weight"], fresh["heads.head_cleavage_energy.0.weight"]
    )
    assert torch.equal(
        state["heads.head_work_function.0.weight"], source["heads.head_work_function.0.weight"]
    )
    fresh, state = fine_tuned(reset_heads=True)
    for name in fresh:
        assert torch.equal(state[name], fresh[name] if name.startswith("heads.") else source[name])


def test_a_fine_tuned_model_begins_better_than_a_new_one(pretrained):
    longer = trained(replace(QUICK, epochs=25))
    tuned = trained(replace(QUICK, epochs=1), start=Start(longer))
    new = trained(replace(QUICK, epochs=1))
    loss, loss_of_new = (sum(model.history[0]["loss"].values()) for model in (tuned, new))
    assert loss < 0.7 * loss_of_new


def test_other_targets_can_be_fine_tuned(pretrained):
    dataset = renamed(tiny_dataset(), work_function="cleavage_energy")
    network = tiny_config(targets=("surface_energy", "cleavage_energy"))
    tuned = trained(QUICK, dataset, network, start=Start(pretrained, "embedding"))
    assert tuned.targets == ("surface_energy", "cleavage_energy")
    assert np.isfinite(tuned.predict([tiny_graph(5)])["cleavage_energy"]).all()


def test_what_does_not_fit_is_refused_in_one_line(pretrained):
    def refused(start=None, config=None, elements=None, graphs=None):
        with pytest.raises(InputError) as raised:
            check_start(
                start or Start(pretrained),
                config or tiny_config(),
                tiny_elements() if elements is None else elements,
                graphs or GraphSettings(),
            )
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "embedding 8 instead of 16" in refused(config=tiny_config(embedding=16))
    assert "depth flag instead of none" in refused(config=tiny_config(depth="none"))
    assert "cutoff" in refused(graphs=GraphSettings(cutoff=6.0))
    assert "features" in refused(elements=tiny_elements() + 1)
    # these decide nothing that is kept
    check_start(
        Start(pretrained),
        tiny_config(dropout=0.5, targets=("cleavage_energy",)),
        tiny_elements(),
        GraphSettings(fold=True, min_thickness=20.0),
    )
    with pytest.raises(InputError, match="choose none, embedding, convolutions"):
        Start(pretrained, "heads")


def test_elements_that_were_never_seen_are_named(pretrained):
    assert new_elements(Start(pretrained), ["Zn", "Ag", "Mg", "Ag"]) == ("Ag",)


def test_a_training_in_work_does_not_go_on_from_another_start(pretrained, tmp_path):
    trained(QUICK, folder=tmp_path)
    with pytest.raises(InputError, match="other settings"):
        trained(QUICK, folder=tmp_path, start=Start(pretrained))


def test_an_interrupted_fine_tuning_gives_the_same_bits(pretrained, tmp_path):
    class StopError(Exception):
        pass

    def stop(line):
        if line.epoch.epoch == 2:
            raise StopError

    start = Start(pretrained, "embedding")
    whole = trained(AVERAGED, start=start)
    with pytest.raises(StopError):
        trained(AVERAGED, start=start, folder=tmp_path, progress=stop)
    again = trained(AVERAGED, start=start, folder=tmp_path)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])


def test_members_begin_with_members_in_turn_and_tell_where_from(tmp_path):
    def ensemble(**options):
        return train_ensemble(tiny_dataset(), SPLIT, tiny_preset(QUICK), **options)

    first = ensemble(members=2)
    save_ensemble(first, tmp_path)
    transfer = Transfer.of(tmp_path, "convolutions")
    tuned = ensemble(members=3, starts=transfer.starts())
    for k, member in enumerate(tuned.members):
        source = first.members[k % 2]
        for name, value in parts(source, "convolutions.").items():
            assert torch.equal(value, member.network.state_dict()[name])
        assert member.training["start"]["freeze"] == "convolutions"
    save_model(tuned.members[0], tmp_path / "one.pt")
    assert load_model(tmp_path / "one.pt").training["start"] == tuned.members[0].training["start"]


def test_a_model_that_changed_meanwhile_is_not_taken(pretrained, tmp_path):
    save_model(pretrained, tmp_path / "model.pt")
    transfer = Transfer.of(tmp_path / "model.pt")
    assert transfer.plain() == Transfer.of(tmp_path / "model.pt").plain()
    save_model(trained(replace(QUICK, seed=1)), tmp_path / "model.pt")
    with pytest.raises(InputError, match="meanwhile"):
        transfer.starts()
    with pytest.raises(InputError, match="no trained model"):
        Transfer.of(tmp_path / "absent")


def test_a_target_that_the_model_lacks_begins_with_a_fitted_head(tmp_path):
    energy = trained(network=tiny_config(targets=("surface_energy",)))
    save_model(energy, tmp_path / "model.pt")
    transfer = Transfer.of(tmp_path / "model.pt")
    assert transfer.for_targets(("surface_energy",)).plain() == transfer.plain()  # runs as before
    other = transfer.for_targets(("work_function",))
    assert other.plain() == {**transfer.plain(), "carry_heads": True}
    new = Transfer.of(tmp_path / "model.pt", reset_heads=True)
    assert new.for_targets(("work_function",)) == new
    # in a run, nothing moving: it is as good as the mean of the training labels, a random head is not
    still = {"training.epochs": 1, "training.optimiser.learning_rate": 1e-12, "trees": 0}
    small = {"network.embedding": 8, "network.hidden": 8, "network.convolutions": 2}
    first = run_training(small_data, settings("surface_energy", still | small), tmp_path / "first")
    tuned = settings("work_function", still | small, Transfer.of(tmp_path / "first", "all-but-last"))
    run = run_training(small_data, tuned, tmp_path / "tuned")
    assert first["settings"].get("transfer") is None
    assert run["settings"]["transfer"]["carry_heads"] is True
    assert run["history"][0][0]["loss"]["work_function"] <= 1.01
    assert run_training(small_data, tuned, tmp_path / "tuned") == run


def small_data(graph_settings, targets):
    whole = small_dataset(graph_settings)
    entries = [replace(e, targets={t: e.targets[t] for t in targets}) for e in whole][:60]
    return Dataset(tuple(entries), targets)


def settings(target, params, transfer=None):
    return RunSettings("sem-cgcnn", params=params, targets=(target,), transfer=transfer)


def test_heads_of_one_target_by_several_methods_train_side_by_side(tmp_path):
    # named as Dataset.from_store(separate=True) does; in some batches a head has no label at all
    names = ("surface_energy@imported-a.b-0f", "surface_energy@imported-c-1e", "work_function")
    entries = []
    for i, e in enumerate(tiny_dataset()):
        value = e.targets["surface_energy"]
        own = {names[0]: value if i % 2 else None, names[1]: None if i % 2 else value}
        entries.append(replace(e, targets={**own, names[2]: e.targets["work_function"] if i % 5 else None}))
    dataset = Dataset(tuple(entries), names)
    config = replace(QUICK, batch_size=3, balance=BalanceConfig("gradnorm"))
    model = trained(config, dataset, tiny_config(targets=names))
    save_model(model, tmp_path / "model.pt")
    graphs = [tiny_graph(7)]
    again = load_model(tmp_path / "model.pt").predict(graphs)
    assert set(again) == set(names)
    for name in names:
        assert np.isfinite(again[name]).all()
        assert again[name] == model.predict(graphs)[name]
