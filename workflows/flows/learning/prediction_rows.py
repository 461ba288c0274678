"""Predictions as plain values: nested for JSON, one row of columns for CSV and Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.plain import finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.evaluation.prediction import SlabPrediction

_NUMBERS = {"": "value", "_sigma": "sigma", "_low": "low", "_high": "high"}
"""Endings of the columns of a target that is a quantity, and the keys of its values."""


def plain_prediction(one: SlabPrediction, targets: Sequence[str]) -> dict[str, Any]:
    """Return a prediction for JSON: by target its value, standard deviation and 90 % interval.

    And the part of the standard deviation that slabs of the compound share, where the model knows it.
    """
    numbers: dict[str, Any] = {}
    for target in targets:
        if target in one.classes:
            shares = one.classes[target]
            numbers[target] = {"class": next(iter(shares)), "probabilities": shares}
            continue
        low, high = one.interval(target)
        values = {"value": one.values[target], "sigma": one.sigmas[target], "low": low, "high": high}
        if target in one.shared:
            values["shared"] = one.shared[target]
        numbers[target] = {name: finite(value) for name, value in values.items()}
    of_structure = {"plane": one.plane, "termination": one.termination, "n_atoms": one.n_atoms}
    return {
        "name": one.name,
        "formula": one.formula,
        **(of_structure if one.n_atoms else {}),
        **numbers,
        "distance": finite(one.distance),
        **({"lattice_is_guess": one.lattice_is_guess} if one.n_atoms else {}),
        "warnings": list(one.warnings),
    }


def flat_prediction(one: SlabPrediction, targets: Sequence[str]) -> dict[str, Any]:
    """Return the columns of a prediction, those of `prediction_columns` among them."""
    row = plain_prediction(one, targets)
    for target in targets:
        values = row.pop(target)
        if target in one.classes:
            row[target] = values["class"]
            row |= {f"{target}_p_{name}": share for name, share in values["probabilities"].items()}
        else:
            row |= {f"{target}{ending}": values[key] for ending, key in _NUMBERS.items()}
    return row | {"warnings": "; ".join(one.warnings)}


def prediction_columns(
    targets: Sequence[str], classes: Mapping[str, Sequence[str]], *, of_structures: bool
) -> list[str]:
    """Return the names of the columns, in order; `classes` by target that is no quantity."""
    words = ["name", "formula", *(("plane", "termination", "n_atoms") if of_structures else ())]
    numbers = [f"{target}{end}" for target in targets for end in (("",) if target in classes else _NUMBERS)]
    shares = [f"{target}_p_{name}" for target, names in classes.items() for name in sorted(names)]
    guess = ["lattice_is_guess"] if of_structures else []
    return [*words, *numbers, *shares, "distance", *guess, "warnings"]
