from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.data.splits import Split, grouped_split
from model.network.convolution import edge_threads, repeatable
from model.network.network import NetworkConfig
from model.training.losses import BALANCERS, BalanceConfig
from model.training.optimisers import Averaging, OneCycle, StepSchedule, make_optimiser, make_schedule
from model.training.presets import OptimiserConfig, TrainingConfig
from model.training.target_losses import masked_losses
from model.training.train import train
from stores.errors import InputError
from tests.model.small_dataset import small_dataset
from tests.model.tiny import tiny_config, tiny_dataset, tiny_preset

SPLIT = Split("random", 0, tuple(range(26)), tuple(range(26, 34)), tuple(range(34, 40)))
TARGETS = ("surface_energy", "work_function")
QUICK = TrainingConfig(epochs=4, batch_size=8, optimiser=OptimiserConfig(learning_rate=1e-2))


def trained(config=QUICK, dataset=None, network=None, **options):
    return train(
        dataset or tiny_dataset(),
        SPLIT,
        tiny_preset(config, network),
        **options,
    )


def same(one, other):
    a, b = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_training_learns():
    model = trained(replace(QUICK, epochs=25))
    for name in ("surface_energy", "work_function"):
        assert model.history[-1]["loss"][name] < 0.4 * model.history[0]["loss"][name]


@pytest.mark.parametrize("balance", [name for name in BALANCERS if name != "fixed"])
def test_same_seed_same_bits_and_missing_labels_are_masked(balance):
    # whole batches lack the work function now and then
    dataset = tiny_dataset(missing=range(22))
    config = replace(QUICK, epochs=2, batch_size=4, balance=BalanceConfig(balance))
    network = tiny_config(dropout=0.1)
    one, two = (trained(config, dataset, network) for _ in range(2))
    assert same(one, two)
    assert all(math.isfinite(line["score"]) for line in one.history)
    assert not same(one, trained(replace(config, seed=1), dataset, network))


def test_the_number_of_threads_changes_no_bit():
    dataset = small_dataset()  # batches large enough for torch to divide them among threads
    split = grouped_split(dataset, "random", 1)
    network = NetworkConfig(TARGETS, convolutions=1, hidden_layers=1)
    preset = tiny_preset(TrainingConfig(epochs=1), network, "cgcnn")
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(train(dataset, split, preset))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_a_repeatable_part_leaves_threads_to_the_edges_alone():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def blas():
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threadpoolctl.threadpool_limits(2, "blas"):
            outside = blas()
            with repeatable(), repeatable():
                assert (torch.get_num_threads(), edge_threads()) == (1, 2)
                assert set(blas()) <= {1}
            assert (torch.get_num_threads(), edge_threads()) == (2, 2)
            assert blas() == outside
    finally:
        torch.set_num_threads(before)


def test_labels_of_one_target_do_not_reach_the_head_of_another():
    output = torch.randn(3, 2, requires_grad=True)
    target = torch.tensor([[1.0, float("nan")], [0.0, 2.0], [float("nan"), 1.0]])
    losses, counts = masked_losses(output, target, (~target.isnan()).float(), QUICK)
    assert counts == [2, 2]
    sum(losses.values()).backward()
    assert (output.grad != 0).tolist() == [[True, False], [True, True], [False, True]]
    expected = ((output[0, 0] - 1) ** 2 + output[1, 0] ** 2) / 2
    assert losses[0].item() == pytest.approx(expected.item())


def test_target_without_label_in_the_batch_has_no_loss():
    target = torch.tensor([[1.0, float("nan")]])
    losses, counts = masked_losses(torch.zeros(1, 2), target, (~target.isnan()).float(), QUICK)
    assert list(losses) == [0] and counts == [1, 0]


@pytest.mark.parametrize(
    "config",
    [
        replace(QUICK, balance=BalanceConfig("gradnorm")),
        replace(
            QUICK, averaging=0.9, loss="huber", clip=1.0, optimiser=OptimiserConfig("one-cycle", 1e-2, 0.1)
        ),
        replace(QUICK, balance=BalanceConfig("pcgrad"), smoothing=True),
    ],
)
def test_resumed_training_equals_an_uninterrupted_one(tmp_path, config):
    network = tiny_config(dropout=0.1)
    whole = trained(config, network=network)

    def kill(progress):
        if progress.epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(config, network=network, folder=tmp_path, progress=kill)
    seen = []
    resumed = trained(config, network=network, folder=tmp_path, progress=lambda p: seen.append(p.epoch.epoch))
    assert seen == [3, 4]
    assert same(whole, resumed)
    untimed = [[{**line, "seconds": 0} for line in model.history] for model in (whole, resumed)]
    assert untimed[0] == untimed[1]
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]


def test_folder_of_another_training_is_refused(tmp_path):
    trained(replace(QUICK, epochs=1), folder=tmp_path)
    with pytest.raises(InputError, match="other settings or data"):
        trained(replace(QUICK, epochs=1, seed=3), folder=tmp_path)
    with pytest.raises(InputError, match="other settings or data"):
        trained(replace(QUICK, epochs=1), tiny_dataset(missing=[1]), folder=tmp_path)


def test_cut_off_state_is_named(tmp_path):
    trained(replace(QUICK, epochs=1), folder=tmp_path)
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:500])
    with pytest.raises(InputError, match="not a whole mgsurf checkpoint"):
        trained(replace(QUICK, epochs=1), folder=tmp_path)


def test_weights_kept_are_those_of_the_best_validation():
    model = trained(replace(QUICK, epochs=12, optimiser=OptimiserConfig(learning_rate=0.05)))
    best = min(model.history, key=lambda line: line["score"])
    dataset = tiny_dataset()
    predicted = model.predict([dataset[i].graph for i in SPLIT.val])
    true = np.array([dataset[i].targets["work_function"] for i in SPLIT.val])
    assert np.abs(predicted["work_function"] - true).mean() == pytest.approx(best["val_mae"]["work_function"])


def test_early_stop():
    config = replace(QUICK, epochs=200, patience=3, optimiser=OptimiserConfig(learning_rate=0.05))
    history = trained(config).history
    assert len(history) < 200
    assert len(history) == min(history, key=lambda line: line["score"])["epoch"] + 3


def test_progress_tells_loss_and_time_left():
    told = []
    trained(progress=told.append)
    assert [p.epoch.epoch for p in told] == [1, 2, 3, 4]
    assert set(told[0].epoch.loss) == {"surface_energy", "work_function"}


def test_part_without_labels_and_divergence_are_told():
    with pytest.raises(InputError, match=r"training set has no slab.*work_function"):
        trained(dataset=tiny_dataset(missing=range(26)), network=tiny_config(targets=("work_function",)))
    with pytest.raises(InputError, match="lower the learning rate"):
        trained(replace(QUICK, epochs=50, optimiser=OptimiserConfig(learning_rate=1e30)))


def test_schedules():
    step = make_schedule(OptimiserConfig(), 150, 10)
    assert isinstance(step, StepSchedule)
    assert step.rate(999) == 1e-3 and step.rate(1000) == pytest.approx(1e-4)
    cycle = OneCycle(OptimiserConfig("one-cycle", 1.0), 10, 10)
    rates = [cycle.rate(i) for i in range(100)]
    assert max(rates) == pytest.approx(1.0, abs=0.01) and rates.index(max(rates)) in (9, 10)
    assert rates[-1] < 0.01 and rates[0] < 0.2
    with pytest.raises(InputError, match="choose step, one-cycle"):
        make_schedule(OptimiserConfig("cosine"), 1, 1)


def test_average_follows_the_weights():
    layer = torch.nn.Linear(1, 1, bias=False)
    average = Averaging(layer, decay=0.5)
    torch.nn.init.constant_(layer.weight, 1.0)
    for _ in range(30):
        average.update()
    assert float(average.average["weight"]) == pytest.approx(1.0, abs=1e-5)


def test_angles_of_pairs_are_recorded_and_leave_the_training_as_it_is(tmp_path):
    data, split = tiny_dataset(40, missing=range(0, 40, 2)), Split("all", 0, *[tuple(range(40))] * 3)
    config = replace(QUICK, balance=BalanceConfig("pcgrad"), epochs=2, batch_size=8)
    preset = tiny_preset(config)
    plain = train(data, split, preset, folder=tmp_path / "plain")
    watched = train(data, split, preset, folder=tmp_path / "watched", angle_batches=3)
    assert same(plain, watched)
    assert all("cosines" not in line for line in plain.history)
    assert "cosines" not in (tmp_path / "plain" / "history.jsonl").read_text()
    for line in watched.history:
        assert set(line["cosines"]) == {"surface_energy / work_function"}
        assert -1 <= line["cosines"]["surface_energy / work_function"] <= 1
    one_batch = train(data, split, preset, angle_batches=1)
    assert one_batch.history[0]["cosines"]["surface_energy / work_function"] == pytest.approx(
        one_batch.history[0]["cosine"]
    )


def test_the_fused_optimiser_takes_the_steps_of_adamw():
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 3)
    other = torch.nn.Linear(5, 3)
    other.load_state_dict(layer.state_dict())
    ours = make_optimiser(layer.parameters(), OptimiserConfig(learning_rate=0.01, weight_decay=0.1))
    plain = torch.optim.AdamW(
        [{"params": [other.weight], "weight_decay": 0.1}, {"params": [other.bias], "weight_decay": 0.0}],
        lr=0.01,
    )
    for _ in range(20):
        x = torch.randn(4, 5)
        for one, optimiser in ((layer, ours), (other, plain)):
            optimiser.zero_grad()
            one(x).square().sum().backward()
            optimiser.step()
    for found, expected in zip(layer.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
