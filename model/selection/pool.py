"""Candidates and computed slabs that a strategy chooses by, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]


NO_COMPOUND = -1
"""Number of the compound of a slab that shares no error with another."""

MOST_COMMON = 0.99
"""Largest part of sigma that slabs of a compound are taken to share: no two are one."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What is known of n candidates."""

    # mean, sigma: [n, T], predictions of T targets and their standard deviations, in the targets' units
    mean: Array
    sigma: Array
    features: Array  # [n, D], places of the slabs; near ones are alike. Distances are Euclidean
    cost: Array  # [n], positive, in any unit
    common: Array  # [n, T], part of sigma that slabs of one compound share, in units of sigma: from 0 to 1
    compounds: NDArray[np.int64]  # [n], equal for slabs of one compound; `NO_COMPOUND`: a slab alone

    @classmethod
    def of(
        cls,
        mean: ArrayLike,
        sigma: ArrayLike,
        features: ArrayLike,
        cost: ArrayLike | None = None,
        shared: ArrayLike | None = None,
        compounds: Sequence[str] | None = None,
    ) -> Pool:
        """Convert arrays; one target may come as [n], a cost of one stands for all.

        Parameters
        ----------
        shared
            [n, T], part of sigma that slabs of one compound share, in its unit, see
            `model.evaluation.joint_errors`; NaN where it is not known. None: nowhere.
        compounds
            [n], keys; None: each slab for itself.

        Raises
        ------
        InputError
            If shapes do not fit, a mean, place or cost is no number, or a cost is not positive.
        """
        m, s, x = (np.asarray(a, dtype=np.float64) for a in (mean, sigma, features))
        m, s, x = (a[:, None] if a.ndim == 1 else a for a in (m, s, x))
        c = np.ones(len(m)) if cost is None else np.asarray(cost, dtype=np.float64)
        if m.shape != s.shape or not len(m) == len(x) == len(c) or c.ndim != 1:
            shapes = ", ".join(str(a.shape) for a in (m, s, x, c))
            raise InputError(f"mean, sigma, features and cost do not fit together: shapes {shapes}")
        if not (np.isfinite(m).all() and np.isfinite(x).all() and np.isfinite(c).all() and (c > 0).all()):
            raise InputError("a candidate has a prediction, place or cost that is no number; leave it out")
        common, numbers = np.zeros_like(m), np.full(len(m), NO_COMPOUND, dtype=np.int64)
        if shared is not None and compounds is not None:
            part = np.nan_to_num(np.asarray(shared, dtype=np.float64).reshape(m.shape))
            common = np.clip(part / np.where(s > 0, s, np.inf), 0.0, MOST_COMMON)
            numbers = np.unique(np.asarray(compounds, dtype=str), return_inverse=True)[1].astype(np.int64)
        return cls(m, s, x, c, common, numbers)

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of m slabs that were computed."""

    values: Array  # [m, T], targets in the order of the pool's; NaN where a slab has none
    features: Array  # [k, D], places of computed slabs: any number of them, not necessarily those of `values`


def pool_of(documents: Sequence[dict[str, Any]], targets: Sequence[str], cost: Sequence[float]) -> Pool:
    """Turn candidates with predictions of all targets into arrays: targets in this order, one cost each."""
    n = len(documents)

    def column(name: str, key: str) -> list[float]:
        values = [document["predictions"][name].get(key) for document in documents]
        return [np.nan if value is None else value for value in values]

    mean, sigma, shared = (
        np.array([column(name, key) for name in targets]).T.reshape(n, len(targets))
        for key in ("value", "sigma", "shared")
    )
    places = np.array([document["place"] for document in documents], dtype=float).reshape(n, -1 if n else 0)
    compounds = [str(document.get("bulk_key", document["id"])) for document in documents]
    return Pool.of(mean, sigma, places, np.asarray(cost, dtype=float), shared, compounds)
