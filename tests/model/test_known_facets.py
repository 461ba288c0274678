"""Computed slabs of a compound correct the predictions for the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model.evaluation.known_facets import correct_by_computed
from model.evaluation.prediction import SlabPrediction

PLACES = ["(100) Mg", "(100) Ag", "(110)"]


def predictions(shared=0.8, **changes):
    one = SlabPrediction(
        "x", "MgAg", "", "", False, 9, {"surface_energy": 0.05, "work_function": 4.0},
        {"surface_energy": 0.01, "work_function": 0.2}, 0.5, (),
        shared={"surface_energy": 0.01 * shared, "work_function": 0.2 * shared},
    )  # fmt: skip
    return [replace(one, name=place, **changes) for place in PLACES]


def test_one_known_facet_shifts_and_narrows_the_others():
    """By the correlation 0.8^2 for equal standard deviations: 0.64 of the error, variance 1 - 0.64^2."""
    computed = [("(110)", {"surface_energy": 0.03, "work_function": None})]
    found, used = correct_by_computed(predictions(), PLACES, computed)
    assert used == 1
    assert found[0].values["surface_energy"] == pytest.approx(0.05 - 0.64 * 0.02)
    assert found[0].sigmas["surface_energy"] == pytest.approx(0.01 * (1 - 0.64**2) ** 0.5)
    assert found[0].shared["surface_energy"] < 0.008
    assert found[0].values["work_function"] == 4.0 and found[0].sigmas["work_function"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "case", ["nothing shared", "trained", "another facet", "two of one name", "older model"]
)
def test_what_corrects_nothing(case):
    before, places, computed = predictions(), PLACES, [("(110)", {"surface_energy": 0.03})]
    if case == "trained":
        before = predictions(trained=True)
    elif case == "older model":
        before = [replace(one, shared={}) for one in before]
    elif case == "another facet":
        computed = [("(111)", {"surface_energy": 0.03})]
    elif case == "two of one name":
        computed = [*computed, ("(110)", {"surface_energy": 0.04})]
    else:
        before = predictions(shared=0.0)
    found, _ = correct_by_computed(before, places, computed)
    for old, new in zip(before, found, strict=True):
        assert new.values == pytest.approx(old.values) and new.sigmas == pytest.approx(old.sigmas)


@pytest.mark.parametrize("name", ["work_function", "surface_energy@other"])
def test_slabs_without_a_value_that_counts_are_not_counted(name):
    """They would be reported as behind a correction that there is none of."""
    computed = [("(110)", {"surface_energy": None, name: 0.03})]
    before = [replace(one, shared={"surface_energy": 0.008}) for one in predictions()]
    assert correct_by_computed(before, PLACES, computed) == (before, 0)
