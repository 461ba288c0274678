"""Predictions for a compound of which some slabs are computed: their errors correct the others.

What the model misses of the computed slabs it misses in part of all slabs of the compound. The predictive
distribution of the others is conditioned on these errors (`model.evaluation.joint_errors`); no part of the
model is trained again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model.evaluation.joint_errors import KnownFacets

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from model.evaluation.prediction import SlabPrediction


def correct_by_computed(
    predictions: Sequence[SlabPrediction],
    places: Sequence[Hashable],
    computed: Sequence[tuple[Hashable, Mapping[str, float | None]]],
) -> tuple[list[SlabPrediction], int]:
    """Correct the predictions for slabs of one compound.

    Parameters
    ----------
    predictions
        Of slabs of the compound, computed or not.
    places
        Plane and termination of each; two of one place cannot be distinguished and correct nothing.
    computed
        Place and computed values by target of slabs, None where a value is missing.

    Returns
    -------
    corrected, used
        Predictions in the same order, and the number of computed slabs behind the correction. As they were
        where the model does not state how alike its errors are, or was trained on slabs of the compound:
        it knows these then, and its errors there say nothing about others.
    """
    count = Counter([place for place, _ in computed])
    values = {place: labels for place, labels in computed if count[place] == 1}
    times = Counter(places)
    known = [
        (one, values[place])
        for one, place in zip(predictions, places, strict=True)
        if place in values
        and times[place] == 1
        and any(values[place].get(name) is not None for name in one.shared)
    ]
    if not known or any(one.trained for one in predictions):
        return list(predictions), 0
    of_target = {
        name: KnownFacets.of(
            [one.values[name] - _number(labels.get(name)) for one, labels in known],
            [one.sigmas[name] for one, _ in known],
            [one.shared[name] for one, _ in known],
        )
        for name in known[0][0].shared
    }
    return [_corrected(one, of_target) for one in predictions], len(known)


def _corrected(one: SlabPrediction, of_target: Mapping[str, KnownFacets]) -> SlabPrediction:
    values, sigmas, shared = dict(one.values), dict(one.sigmas), dict(one.shared)
    for name, known in of_target.items():
        if np.isfinite(sigmas[name]):
            values[name], sigmas[name], shared[name] = known.correct(values[name], sigmas[name], shared[name])
    return replace(one, values=values, sigmas=sigmas, shared=shared)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
