"""Descriptors of a composition for trees and a Gaussian process: features, fractions, numeric columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.compositions.batch import features_of
from model.compositions.features import element_fractions, feature_names, fraction_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.compositions.composition import PlainComposition


def composition_descriptor_names(width: int) -> tuple[str, ...]:
    """Return the names of the descriptors, `width` of them where compositions have numeric columns."""
    names = (*feature_names(), *(f"fraction of {symbol}" for symbol in fraction_names()))
    columns = range(1, max(0, width - len(names)) // 2 + 1)
    return (
        *names,
        *(f"numeric column {k}" for k in columns),
        *(f"numeric column {k} missing" for k in columns),
    )


def describe_compositions(compositions: Sequence[PlainComposition]) -> NDArray[np.float32]:
    """Describe compositions: [n, 506 + 2 M], with M numeric columns.

    A number that is missing is 0, and 1 in the second half of the columns.
    """
    extras = np.stack([one.extras for one in compositions])
    missing = np.isnan(extras)
    parts = (
        features_of(compositions),
        element_fractions(compositions),
        np.where(missing, 0.0, extras),
        missing,
    )
    return np.hstack(parts).astype(np.float32)
