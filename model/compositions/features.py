"""406 features of a composition: seven statistics of 58 element properties over its elements.

With fractions f_i and values x_i of a property of the elements present:

    mean            m = Σ f_i x_i
    variance        Σ f_i (x_i − m)²
    minimum, maximum and range of the x_i, whatever their fractions
    geometric mean  exp(Σ f_i ln(x_i + s)) − s
    harmonic mean   1 / Σ (f_i / (x_i + s)) − s

The shift s is 0 for a property that is positive for all elements. A property that is zero or negative for
some (numbers of valence electrons, electron affinity, logarithms) has no geometric and harmonic mean; it is
shifted so that its lowest value in the table is one unit.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from model.compositions.element_properties import element_properties

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.compositions.composition import PlainComposition

STATISTICS = ("mean", "variance", "minimum", "maximum", "range", "geometric mean", "harmonic mean")
"""Of each property over the elements of a composition."""

_CHUNK = 8192  # compositions at a time, for memory


@cache
def feature_names() -> tuple[str, ...]:
    """Return the names of the 406 features: all properties by the first statistic, then by the second, ..."""
    names = element_properties().names
    return tuple(f"{name}: {statistic}" for statistic in STATISTICS for name in names)


@cache
def shifts() -> NDArray[np.float64]:
    """Return the shift s of each property in its geometric and harmonic means: [58]."""
    lowest = element_properties().values[1:].min(axis=0)
    return np.asarray(np.where(lowest > 0, 0.0, 1.0 - lowest))


def composition_features(compositions: Sequence[PlainComposition]) -> NDArray[np.float32]:
    """Compute the features of compositions.

    Parameters
    ----------
    compositions
        Of elements with atomic numbers 1 to 100; extra columns are not read.

    Returns
    -------
    float32
        [n, 406] in the units of the properties (variances: squared), in the order of `feature_names`.
    """
    width = len(feature_names())
    features = np.empty((len(compositions), width), dtype=np.float32)
    for start in range(0, len(compositions), _CHUNK):
        features[start : start + _CHUNK] = _statistics(compositions[start : start + _CHUNK])
    return features


def _statistics(compositions: Sequence[PlainComposition]) -> NDArray[np.float64]:
    """Features of a chunk: [n, 406]."""
    table = element_properties().values
    numbers = np.concatenate([c.numbers for c in compositions])
    weights = np.concatenate([c.fractions for c in compositions])[:, None]
    counts = np.array([len(c.numbers) for c in compositions])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    shift = shifts()
    logarithms, reciprocals = _shifted()

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.add.reduceat(weights * values, starts, axis=0))

    values = table[numbers]  # [elements of all compositions, 58]
    mean = summed(values)
    variance = summed((values - np.repeat(mean, counts, axis=0)) ** 2)
    low, high = (reduce.reduceat(values, starts, axis=0) for reduce in (np.minimum, np.maximum))
    geometric = np.exp(summed(logarithms[numbers])) - shift
    harmonic = 1.0 / summed(reciprocals[numbers]) - shift
    return np.hstack([mean, variance, low, high, high - low, geometric, harmonic])


@cache
def _shifted() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms and reciprocals of the shifted properties by atomic number: [101, 58] each."""
    shifted = element_properties().values + shifts()
    return np.log(shifted), 1.0 / shifted


@cache
def fraction_names() -> tuple[str, ...]:
    """Return the symbols of the elements 1 to 100, the columns of `element_fractions`."""
    return element_properties().symbols[1:]


def element_fractions(compositions: Sequence[PlainComposition]) -> NDArray[np.float32]:
    """Return the fractions of the elements 1 to 100 in each composition: [n, 100]."""
    fractions = np.zeros((len(compositions), len(fraction_names())), dtype=np.float32)
    rows = np.repeat(np.arange(len(compositions)), [len(c.numbers) for c in compositions])
    if len(compositions):
        columns = np.concatenate([c.numbers for c in compositions]) - 1
        fractions[rows, columns] = np.concatenate([c.fractions for c in compositions])
    return fractions
