"""Rows of an ablation for a potential that was not trained on the labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.evaluation.metrics import labels
from model.foundation.features import feature_names
from model.training import ablation, ablation_rows
from model.training.runs import RunSettings, make_split
from model.training.zero_shot import TARGET, surface_energies, zero_shot_runs
from stores.errors import InputError
from tests.model.small_dataset import small_dataset

OFFSET, SLOPE = 0.01, 1.25


def known_up_to_a_line():
    """Return slabs whose labels are 1.25 times what the potential gives, and 0.01 eV/A^2."""
    dataset = small_dataset(n_partners=4)
    true = labels(dataset, TARGET)
    entries = []
    for entry, value in zip(dataset, true, strict=True):
        numbers = np.zeros(len(feature_names()), dtype=np.float32)
        numbers[feature_names().index("surface energy")] = (value - OFFSET) / SLOPE
        entries.append(replace(entry, graph=replace(entry.graph, potential=numbers)))
    return replace(dataset, entries=tuple(entries))


def test_a_line_is_fitted_to_the_training_set_and_the_potential_is_judged_without_it_too():
    dataset = known_up_to_a_line()
    runs = [RunSettings(preset, seed=seed) for seed in (0, 1) for preset in ("best", "best-foundation")]
    found = zero_shot_runs(lambda settings, targets: dataset, runs)
    rows = {row["preset"]: row for row in ablation.table(found)}
    assert list(rows) == ["sevennet-0", "sevennet-0, line"] and {row["runs"] for row in rows.values()} == {2}
    assert rows["sevennet-0, line"]["targets"][TARGET]["mae"]["mean"] < 1e-6
    assert list(rows["sevennet-0"]["targets"]) == [TARGET]
    first = found[0]
    known = [i for i, entry in enumerate(dataset) if entry.targets[TARGET] is not None]
    part = dataset.subset(known)
    errors = np.abs(labels(part, TARGET) - surface_energies(part))
    assert errors.min() < first["metrics"][TARGET]["test"]["mae"] < errors.max()
    assert first["metrics"][TARGET]["facet_order"]["kendall_tau"] == pytest.approx(1.0)
    assert len(ablation_rows.flat_rows(found)) == 4


def test_it_is_judged_on_the_sets_of_the_trainings():
    dataset = known_up_to_a_line()
    entries = [
        replace(entry, targets={TARGET: None, "work_function": 4.0}) if i % 3 == 0 else entry
        for i, entry in enumerate(dataset)
    ]
    dataset = replace(dataset, entries=tuple(entries))
    split = make_split(dataset, RunSettings("best"))
    found = zero_shot_runs(lambda *_: dataset, [RunSettings("best")])[0]
    assert found["sizes"] == {part: len(split.part(part)) for part in ("train", "val", "test")}
    counted = sum(dataset[i].targets[TARGET] is not None for i in split.test)
    assert 0 < counted < len(split.test) and found["metrics"][TARGET]["test"]["n"] == counted


def test_slabs_without_surface_energies_are_refused():
    dataset = known_up_to_a_line()
    bare = [replace(entry, targets={TARGET: None, "work_function": 4.0}) for entry in dataset]
    with pytest.raises(InputError, match="--zero-shot"):
        zero_shot_runs(lambda *_: replace(dataset, entries=tuple(bare)), [RunSettings("best")])
