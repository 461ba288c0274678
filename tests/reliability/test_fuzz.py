"""A few mutated inputs of each kind; thousands by ``python -m tests.reliability.fuzz``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

import pytest

from tests.reliability import limits, targets
from tests.reliability.fuzz import fuzz

pytest.importorskip("torch")


def test_mutated_inputs_end_in_one_way_or_another_but_not_in_a_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("MGSURF_CACHE", str(tmp_path / "cache"))
    ran, faults = fuzz(tmp_path, inputs=120, seed=5, workers=1)
    assert ran >= 110
    assert faults == []


def test_what_is_mutated_is_valid_before(tmp_path, monkeypatch):
    monkeypatch.setenv("MGSURF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(targets, "mutated", lambda data, others, random: data)
    monkeypatch.setattr(targets, "mutated_json", lambda document, random: document)
    refused = []
    for target in targets.all_targets(tmp_path):
        for number in range(3):
            folder = tmp_path / f"{target.name}-{number}"
            folder.mkdir()
            monkeypatch.chdir(folder)
            if limits.run_here(target.prepare(folder, Random(number)))[0] == 0:
                break
        else:
            refused.append(target.name)
    assert refused == []


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        (lambda: time.sleep(60), "not finished"),
        (lambda: os.kill(os.getpid(), 9), "signal 9"),
        (lambda: bytearray(1 << 33), "exit status 70"),
        (lambda: 1 / 0, "exit status 70"),
    ],
)
def test_faults_are_found_and_cost_only_their_input(monkeypatch, what, fault):
    def run(arguments):
        if arguments == ["bad"]:
            try:
                what()
            except Exception as error:  # noqa: BLE001 -- as `mgsurf` catches any
                return 70, "", type(error).__name__
        return 0, "", ""

    monkeypatch.setattr(limits, "run_here", run)
    prepare = [lambda folder, word=word: [word] for word in ("good", "bad", "good")]
    found = {outcome.number: outcome.fault for outcome in limits.run_all(prepare, workers=1, seconds=2)}
    assert found[0] == found[2] == ""
    assert fault in found[1]
    assert Path.cwd().exists()
