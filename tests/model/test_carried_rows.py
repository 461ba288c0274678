"""Labelled slabs that trees and process carry from one model to those fine-tuned from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.baselines.blend import DescriptorModels
from model.baselines.carried_rows import MOST_ROWS, LabelledRows
from model.baselines.descriptors import describe_slabs
from model.evaluation.metrics import labels
from model.graphs.graph import GraphSettings
from stores.errors import InputError
from tests.model.small_dataset import small_dataset

NAME = "surface_energy"


@pytest.fixture(scope="module")
def parts():
    """Training slabs of six systems, validation slabs of the others, and more slabs of these."""
    dataset = small_dataset(GraphSettings(min_thickness=20.0, fold=True))
    systems = sorted({entry.chemsys for entry in dataset})
    strange = [i for i, entry in enumerate(dataset) if entry.chemsys in systems[6:]]
    known = [i for i, entry in enumerate(dataset) if entry.chemsys not in systems[6:]]
    return dataset.subset(known), dataset.subset(strange[::2]), dataset.subset(strange[1::2])


def fit(train, val, carried=None):
    networks = {NAME: np.zeros(len(val))}
    return DescriptorModels.fit(train, val, networks, 10, 0, np.arange(len(val)) % 5, carried=carried)[0]


@pytest.fixture(scope="module")
def source(parts):
    return fit(parts[2], parts[1])


def error(models, val):
    """MAE of the mean of trees and process."""
    x = describe_slabs([entry.graph for entry in val])
    predicted = (models.targets[NAME].forest.predict(x)[0] + models.targets[NAME].process.predict(x)) / 2
    return float(np.nanmean(np.abs(predicted - labels(val, NAME))))


def test_rows_of_other_elements_help_and_are_handed_on(parts, source):
    train, val, _ = parts
    plain, tuned = fit(train, val), fit(train, val, source.rows)
    assert error(tuned, val) < 0.9 * error(plain, val)
    assert len(tuned.targets[NAME].process.points) > len(plain.targets[NAME].process.points)
    assert len(tuned.rows.descriptors) == len(train) + len(source.rows.descriptors)
    again = DescriptorModels.from_state(tuned.state())
    assert np.array_equal(again.rows.of_quantity(NAME), tuned.rows.of_quantity(NAME), equal_nan=True)


def test_rows_that_mislead_are_left_out(parts, source):
    train, val, _ = parts
    wrong = {NAME: 0.5 - source.rows.labels[NAME]}
    tuned = fit(train, val, LabelledRows(source.rows.descriptors, source.rows.compounds, wrong))
    plain = fit(train, val)
    assert len(tuned.targets[NAME].process.points) == len(plain.targets[NAME].process.points)
    assert error(tuned, val) == pytest.approx(error(plain, val))


def test_rows_of_another_quantity_are_not_used(parts, source):
    train, val, _ = parts
    other = LabelledRows(
        source.rows.descriptors, source.rows.compounds, {"cleavage_energy": source.rows.labels[NAME]}
    )
    assert np.isnan(other.of_quantity(NAME)).all()
    models, plain = fit(train, val, other), fit(train, val)
    assert len(models.targets[NAME].process.points) == len(plain.targets[NAME].process.points)
    same = LabelledRows(other.descriptors, other.compounds, {f"{NAME}@there": source.rows.labels[NAME]})
    assert np.isfinite(same.of_quantity(f"{NAME}@here")).sum() == np.isfinite(source.rows.labels[NAME]).sum()


def rows(n, first):
    return LabelledRows(
        np.full((n, 2), first, dtype=np.float32), np.arange(n, dtype=np.int64), {NAME: np.full(n, first)}
    )


def test_own_rows_are_kept_before_carried_ones():
    kept = rows(MOST_ROWS - 100, 1.0).kept(rows(300, 2.0), 0)
    counts = dict(zip(*np.unique(kept.labels[NAME], return_counts=True), strict=True))
    assert counts == {1.0: MOST_ROWS - 100, 2.0: 100}
    # no compound of one is taken for one of the other
    assert not set(kept.compounds[kept.labels[NAME] == 1]) & set(kept.compounds[kept.labels[NAME] == 2])


def test_damaged_rows_are_refused(source):
    state = source.state()
    for damage in (
        {"labels": {NAME: 3}},
        {"compounds": state["rows"]["compounds"][:-1]},
        {"descriptors": None},
    ):
        with pytest.raises(InputError, match="training rows"):
            DescriptorModels.from_state(state | {"rows": state["rows"] | damage})


def test_labels_of_a_rehearsal_are_not_handed_on(parts, source):
    train, val, _ = parts
    rehearsed = replace(train, rehearsed=frozenset({NAME}))
    assert fit(rehearsed, val).rows is None
    tuned = fit(rehearsed, val, source.rows)
    assert len(tuned.rows.descriptors) == len(source.rows.descriptors)  # those of DFT are
    assert DescriptorModels.from_state(fit(rehearsed, val).state()).rows is None
