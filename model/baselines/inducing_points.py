"""A Gaussian process that sees all of many slabs through a few: inducing points.

An exact process of n slabs takes time of order n^3 and memory n^2. Here the process is known at m inducing
points, the middles of clusters of slabs, and the rest of each slab's variance counts as noise of its own:
FITC (E. Snelson and Z. Ghahramani, NIPS 18, 1257 (2006); J. Quinonero-Candela and C. E. Rasmussen, J. Mach.
Learn. Res. 6, 1939 (2005), section 6), of order n m^2 and m^2. Offsets that slabs of a compound share are
part of that noise, which is thereby of blocks, one for each compound, and still solved exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.linalg.blas import dsyrk

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_ROWS_AT_ONCE = 1024  # slabs whose kernels with the inducing points are held together
_JITTER = 1e-6
"""Added to the kernel of each inducing point with itself, which is 1, so that equal ones do no harm."""


def cluster_middles(points: Array, count: int, seed: int) -> Array:
    """Return the middles [count, D] of so many clusters of points [n, D], found by k-means in batches."""
    from sklearn.cluster import MiniBatchKMeans

    # from drawn slabs in few rounds: chosen beginnings and more rounds take six times as long, for nothing
    clusters = MiniBatchKMeans(count, init="random", n_init=1, batch_size=2048, max_iter=5, random_state=seed)
    return np.asarray(clusters.fit(points).cluster_centers_, dtype=np.float64)


def solve(
    kernel: Callable[[Array, Array], Array],
    inducing: Array,
    points: Array,
    residuals: Array,
    noise: float,
    compounds: NDArray[np.int64] | None = None,
    offset: float = 0.0,
) -> tuple[Array, Array]:
    """Return the coefficients of the inducing points, and the mean offset of each compound.

    Parameters
    ----------
    kernel
        Of points [a, D] and [b, D]: [a, b], one at no distance.
    inducing, points
        [m, D] and [n, D].
    residuals
        [n], labels less the mean of the process, in the target's unit.
    noise, offset
        Variances of the labels' noise and of the offsets, in units of the variance of the process.
    compounds
        [n], numbers from 0 to C - 1 of slabs that share an offset, -1 for a slab with one of its own; None:
        no offsets.

    Returns
    -------
    coefficients, offsets
        [m], of kernels with the inducing points; [C], in the target's unit. Both empty of what is not there.
    """
    m = len(inducing)
    alone = np.full(len(points), -1) if compounds is None else compounds
    count = int(alone.max(initial=-1)) + 1
    prior = kernel(inducing, inducing)
    prior.flat[:: m + 1] += _JITTER
    lower = cholesky(prior, lower=True, overwrite_a=True)
    # w are the inducing values divided by `lower`: normal with variance one before any label
    precision, right = np.eye(m, order="F"), np.zeros(m)  # of the precision the lower triangle counts
    among, weight, weighted = np.zeros((m, count)), np.zeros(count), np.zeros(count)
    for begin in range(0, len(points), _ROWS_AT_ONCE):
        rows = slice(begin, begin + _ROWS_AT_ONCE)
        seen = solve_triangular(lower, kernel(inducing, points[rows]), lower=True, check_finite=False)
        variance = noise + np.maximum(1.0 - (seen**2).sum(axis=0), 0.0)
        own = alone[rows]
        variance[own < 0] += offset
        scaled = seen / variance
        root = (seen / np.sqrt(variance)).T
        precision = dsyrk(1.0, root, beta=1.0, c=precision, trans=1, lower=1, overwrite_c=1)
        right += scaled @ residuals[rows]
        if count:
            shared = np.flatnonzero(own >= 0)
            np.add.at(among.T, own[shared], scaled[:, shared].T)
            weight += np.bincount(own[shared], 1 / variance[shared], count)
            weighted += np.bincount(own[shared], residuals[rows][shared] / variance[shared], count)
    # eliminate the offsets, whose precision is diagonal
    left = weight + (1 / offset if count else 0.0)
    precision -= (among / left) @ among.T
    values = cho_solve(cho_factor(precision, lower=True), right - among @ (weighted / left))
    coefficients = solve_triangular(lower, values, lower=True, trans="T")
    return coefficients, (weighted - among.T @ values) / left
