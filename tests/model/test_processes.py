from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import re
import signal
import struct
from dataclasses import replace

import pytest
import torch
from torch import distributed

from model.data.splits import Split
from model.network import process_group
from model.training import processes
from model.training.losses import BalanceConfig
from model.training.presets import OptimiserConfig, TrainingConfig, find_preset, with_params
from model.training.processes import check_processes, train_in_processes
from model.training.runs import RunSettings, chosen_preset, labelled_data, make_split
from stores.errors import InputError, MgsurfError
from tests.model.small_compositions import small_compositions
from tests.model.tiny import tiny_config, tiny_dataset, tiny_preset

SPLIT = Split("random", 0, tuple(range(25)), tuple(range(25, 34)), tuple(range(34, 40)))
CONFIG = TrainingConfig(
    epochs=5,
    batch_size=8,  # the last of four batches has one slab: nothing for the second process
    optimiser=OptimiserConfig("one-cycle", 1e-2, 0.1),
    balance=BalanceConfig("gradnorm"),
    loss="huber",
    averaging=0.9,
    clip=1.0,
)
NETWORK = tiny_config(element_features=21, dropout=0.1, pooling="surface")
PRESET = tiny_preset(CONFIG, NETWORK, "chemical")  # features that other processes know, too
DATASET = tiny_dataset(missing=range(22))  # three training slabs have a work function: most parts have none


def trained(number, **options):
    return train_in_processes(number, DATASET, SPLIT, PRESET, **options)


def assert_close(one, other, tolerance=1e-5):
    """Losses, validation errors and weights of losses of every epoch agree to this share."""
    assert len(one.history) == len(other.history)
    for line, other_line in zip(one.history, other.history, strict=True):
        for key in ("loss", "val_mae", "weights"):
            assert line[key] == pytest.approx(other_line[key], rel=tolerance)
        assert line["score"] == pytest.approx(other_line["score"], rel=tolerance)
        assert line["cosine"] == pytest.approx(other_line["cosine"], rel=tolerance, abs=tolerance)


@pytest.fixture(scope="module")
def two():
    seen = []
    return trained(2, progress=seen.append), seen


def test_two_processes_have_the_losses_of_one(two):
    model, seen = two
    assert_close(trained(1), model)
    assert [line.epoch.epoch for line in seen] == list(range(1, 6))
    assert model.training["processes"] == 2


def test_a_killed_process_ends_all_and_the_training_resumes_to_the_same_bits(two, tmp_path):
    def kill(progress):
        if progress.epoch.epoch == 2:
            second = max(multiprocessing.active_children(), key=lambda process: process.name)
            os.kill(second.pid, signal.SIGKILL)

    with pytest.raises(MgsurfError, match=r"process 2 of 2 .* SIGKILL.* repeat"):
        trained(2, folder=tmp_path, progress=kill)
    assert not multiprocessing.active_children()
    known = len((tmp_path / "history.jsonl").read_text().splitlines())
    assert 2 <= known < 5
    seen = []
    model = trained(2, folder=tmp_path, progress=seen.append)
    assert [line.epoch.epoch for line in seen] == list(range(known + 1, 6))
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 6))
    weights = two[0].network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.network.state_dict().items())


def test_classes_and_compositions_have_the_losses_of_one_process_too():
    settings = RunSettings("mcvn", epochs=2, params={"training.batch_size": 20, "network.embedding": 16})
    preset, dataset = labelled_data(lambda *_: small_compositions(), chosen_preset(settings))
    split = make_split(dataset, settings)
    one, two = (train_in_processes(n, dataset, split, preset) for n in (1, 2))
    assert_close(one, two)


@pytest.mark.parametrize(
    ("training", "kind", "words"),
    [
        (replace(CONFIG, loss="mae"), InputError, "no loss 'mae'"),
        (None, RuntimeError, "process 1 of 1: .*None"),
    ],
)
def test_a_process_reports_its_error(tmp_path, training, kind, words):
    tmp_path = tmp_path / "a blank, a # and 50%41"  # as the path of the temporary folder may have
    tmp_path.mkdir()
    arguments = {"dataset": DATASET, "split": SPLIT, "preset": replace(PRESET, training=training)}
    reports, sender = multiprocessing.Pipe(duplex=False)
    (tmp_path / "arguments").write_bytes(pickle.dumps(arguments))
    processes._work(0, 1, torch.get_num_threads(), tmp_path, sender)
    distributed.destroy_process_group()
    name, error = pickle.loads(reports.recv_bytes())
    assert name == "error" and type(error) is kind
    assert re.search(words, str(error))


def test_a_full_disk_is_reported_as_in_one_process(monkeypatch, tmp_path):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device", "state.pt")

    monkeypatch.setattr(processes, "train", full)
    (tmp_path / "arguments").write_bytes(pickle.dumps({}))
    reports, sender = multiprocessing.Pipe(duplex=False)
    processes._work(0, 1, torch.get_num_threads(), tmp_path, sender)
    distributed.destroy_process_group()
    _, error = pickle.loads(reports.recv_bytes())
    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (errno.ENOSPC, "state.pt")


class Killed:
    """A process that was killed."""

    exitcode = -signal.SIGKILL

    def join(self):
        pass


def test_a_process_that_is_killed_while_it_reports_is_named():
    reports, sender = multiprocessing.Pipe(duplex=False)
    os.write(sender.fileno(), struct.pack("!i", 1000) + b"half of it")
    sender.close()
    with pytest.raises(MgsurfError, match=r"process 1 of 1 .* SIGKILL"):
        processes._follow([processes._Worker(Killed(), reports)], None)


@pytest.mark.parametrize("number", [0, -1])
def test_less_than_one_process_is_refused(number):
    with pytest.raises(InputError, match=f"--processes {number}: must be 1 or more"):
        trained(number)


def test_more_processes_than_there_is_to_divide_are_refused():
    with pytest.raises(InputError, match=r"--processes 9: .* 8 slabs.* at most 8"):
        trained(9)
    labelled = replace(PRESET, network=replace(NETWORK, targets=("work_function",)))
    with pytest.raises(InputError, match=r"--processes 3: .* 2 slabs.* at most 2"):
        # of five slabs, 20 to 24, three have no label
        train_in_processes(3, DATASET, replace(SPLIT, val=tuple(range(19, 24))), labelled)


def test_losses_that_need_one_process_are_refused():
    with pytest.raises(InputError, match="pcgrad"):
        check_processes(2, with_params(find_preset("best"), {"training.balance.name": "pcgrad"}))


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_processes(2, PRESET)
    with pytest.raises(InputError, match=r"--processes 3: .*GPU.* at most 2"):
        check_processes(3, PRESET)


def test_the_parts_of_a_batch_are_disjoint_and_complete(monkeypatch):
    for size, length in ((1, 7), (2, 7), (3, 2), (4, 4)):
        monkeypatch.setattr(process_group._SELF, "size", size)
        rows = []
        for rank in range(size):
            monkeypatch.setattr(process_group._SELF, "rank", rank)
            rows += range(length)[process_group.share_of(length)]
        assert rows == list(range(length))
