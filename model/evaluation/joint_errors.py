"""How the errors of slabs of one compound go together, and what a known one implies for the others.

The error of slab i of a compound is modelled as sigma_i [rho^1/2 u + (1 - rho)^1/2 v_i], with u common to
the slabs of the compound and v_i of each slab alone, all normal with variance one: a one-way random effect.
sigma_i rho^1/2 is the slab's *shared* standard deviation. Where the training set has n slabs of the compound,
they determine part of u: with r = rho / (1 - rho) of a compound of which nothing is known, the posterior
variance of u is 1 / (1 + n r) (C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine
Learning, MIT Press 2006, eq. 2.26, with the kernel of the effect alone).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]


def correlation_within(scores: ArrayLike, compounds: Sequence[str]) -> float:
    """Estimate rho from standardised errors: mean product of two of one compound over the mean square.

    Parameters
    ----------
    scores
        [n], errors in units of their standard deviations.
    compounds
        [n], keys. A compound of m slabs, whose pairs are averaged first, has the weight m.

    Returns
    -------
    float
        From 0 to 0.95; 0 if no compound has two slabs.
    """
    z = np.asarray(scores, dtype=float)
    if not len(z):
        return 0.0
    _, place = np.unique(np.asarray(compounds), return_inverse=True)
    count, total, squares = (np.bincount(place, weights) for weights in (None, z, z**2))
    several = count > 1
    if not several.any() or not squares.sum():
        return 0.0
    count, total, squares = count[several], total[several], squares[several]
    products = (total**2 - squares) / (count * (count - 1))
    found = float(products @ count / count.sum()) / float((z**2).mean())
    return min(max(found, 0.0), 0.95)


def correlation_left(correlation: float, known: ArrayLike) -> Array:
    """Return rho between slabs of compounds of which so many slabs [n] are in the training set."""
    ratio = correlation / (1 - correlation) / (1 + np.asarray(known) * correlation / (1 - correlation))
    return np.asarray(ratio / (1 + ratio))


@dataclass(frozen=True)
class KnownFacets:
    """What computed slabs of a compound say about the error that all its slabs share."""

    mean: float  # of u
    variance: float  # of u: 1 if nothing is known

    @classmethod
    def of(cls, error: ArrayLike, sigma: ArrayLike, shared: ArrayLike) -> KnownFacets:
        """Condition u on the errors of slabs (predicted minus computed).

        error, sigma, shared: [k], in the target's unit; an error of NaN does not count, neither does a sigma
        that is not finite.
        """
        e, s, common = (np.asarray(a, dtype=float) for a in (error, sigma, shared))
        used = np.isfinite(e) & np.isfinite(s) & np.isfinite(common) & (common > 0)
        e, common = e[used], common[used]
        rest = np.maximum(s[used] ** 2 - common**2, 1e-12 * s[used] ** 2)
        precision = 1.0 + float((common**2 / rest).sum())
        return cls(float((common * e / rest).sum()) / precision, 1.0 / precision)

    def correct(self, value: float, sigma: float, shared: float) -> tuple[float, float, float]:
        """Return value, standard deviation and shared standard deviation of another slab, corrected."""
        left = shared * self.variance**0.5
        own = max(sigma**2 - shared**2, 0.0)
        return value - shared * self.mean, float((own + left**2) ** 0.5), left
