"""Expected improvement of the best values known: of one target, or of the Pareto front of two.

Everything here is to be made large; `Objective` turns what is to be made small around.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import ndtr

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MARGIN = 0.1
"""The reference point lies this share of the front's extent below its worst values, as BoTorch's
`infer_reference_point` puts it, so that the ends of the front count as well."""

_ROWS_AT_ONCE = 20_000
_NO_WIDTH = 1e-100  # stands for a standard deviation of zero: no overflow, even squared


@dataclass(frozen=True)
class Objective:
    """One or two targets of the pool, to be maximised or minimised."""

    columns: tuple[int, ...]  # numbers of the targets among those of the pool
    signs: tuple[float, ...]  # 1.0 for what is to grow, -1.0 for what is to shrink

    @classmethod
    def of(cls, targets: Sequence[str], maximise: Sequence[str] = (), minimise: Sequence[str] = ()) -> Self:
        """Make the objective of one or two of the pool's `targets`.

        Raises
        ------
        InputError
            If there is none or more than two, one is named twice, or is no target.
        """
        names = [*maximise, *minimise]
        for name in names:
            if name not in targets:
                raise InputError(f"the model does not predict {name!r}; it predicts {', '.join(targets)}")
        if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
            raise InputError(
                "an objective is one target or two different ones, such as --maximise work_function "
                f"--minimise surface_energy; found {', '.join(names) or 'none'}"
            )
        signs = [1.0] * len(maximise) + [-1.0] * len(minimise)
        return cls(tuple(targets.index(name) for name in names), tuple(signs))

    def upward(self, values: Array) -> Array:
        """Return the objective's targets [n, 1 or 2] so that more is better, of values [n, T]."""
        return np.asarray(values[:, list(self.columns)] * np.array(self.signs))

    def sigma(self, sigma: Array) -> Array:
        """Return the standard deviations of the objective's targets."""
        return np.asarray(sigma[:, list(self.columns)])

    def reference(self, points: Array) -> Array:
        """Return the point from which improvement counts, just below the front of points [m, 1 or 2]."""
        front = front_of(points, np.full(points.shape[1], -np.inf))
        worst, extent = front.min(axis=0), np.ptp(front, axis=0)
        if points.shape[1] == 1:
            return np.asarray(worst)
        # a front of one point, or a flat one, borrows the extent of all points
        extent = np.where(extent > 0, extent, np.ptp(points, axis=0))
        return np.asarray(worst - MARGIN * np.where(extent > 0, extent, np.abs(worst)))


def front_of(points: Array, reference: Array) -> Array:
    """Return the points [k, 1 or 2] beyond the reference that no other beats in every target.

    Sorted by the first target upwards; of equal points one stays.
    """
    beyond = points[(points > reference).all(axis=1)]
    if not len(beyond):
        return beyond
    order = np.lexsort((-beyond[:, -1], -beyond[:, 0]))
    kept, best = [], -np.inf
    for i in order:  # from the largest first target on, each must raise the last
        if beyond[i, -1] > best:
            kept.append(i)
            best = beyond[i, -1]
        if points.shape[1] == 1:
            break
    return np.asarray(beyond[kept[::-1]])


def hypervolume(front: Array, reference: Array) -> float:
    """Return the length or area between a front (see `front_of`) and the reference point [1 or 2]."""
    if not len(front):
        return 0.0
    if front.shape[1] == 1:
        return float(front[-1, 0] - reference[0])
    widths = np.diff(front[:, 0], prepend=reference[0])
    return float(widths @ (front[:, 1] - reference[1]))


def expected_improvement(mean: Array, sigma: Array, front: Array, reference: Array) -> Array:
    r"""Return by how much each candidate is expected to enlarge the front's hypervolume, exactly.

    For one target this is the expected improvement E[max(Y - best, 0)] (Mockus 1975; Jones, Schonlau and
    Welch, J. Glob. Optim. 13, 455, 1998, eq. 15). For two targets with independent normal distributions let
    f(x) be the height of the front at x (non-increasing; the reference beyond the last point). A point
    (y1, y2) adds the area :math:`\int_{r_1}^{y_1} \max(0, y_2 - f(x))\,dx`, whose expectation is

    .. math:: \int_{r_1}^\infty P(Y_1 > x)\, E[\max(0, Y_2 - f(x))]\,dx
              = \sum_s [\psi_1(a_s) - \psi_1(b_s)]\, \psi_2(f_s),

    a sum over the steps :math:`a_s < x < b_s` of the front with :math:`\psi_i(a) = E[\max(0, Y_i - a)] =
    (\mu_i - a) \Phi(z) + \sigma_i \varphi(z)` and :math:`z = (\mu_i - a)/\sigma_i`. It equals the closed form
    of Emmerich, Deutz and Klinkenberg (IEEE CEC 2011, p. 2147) and of Yang, Emmerich, Deutz and Baeck (J.
    Glob. Optim. 75, 3, 2019).

    Parameters
    ----------
    mean, sigma
        [n, 1 or 2].
    front, reference
        See `front_of`.

    Returns
    -------
    array
        [n], in the targets' unit or the product of their units.
    """
    if mean.shape[1] == 1:
        best = front[-1, 0] if len(front) else reference[0]
        return _excess(mean[:, 0], sigma[:, 0], np.array([best]))[:, 0]
    starts, heights = _steps(front, reference)
    found = np.empty(len(mean))
    for i in range(0, len(mean), _ROWS_AT_ONCE):
        rows = slice(i, i + _ROWS_AT_ONCE)
        along = _excess(mean[rows, 0], sigma[rows, 0], starts)
        along[:, :-1] -= along[:, 1:].copy()
        found[rows] = (along * _excess(mean[rows, 1], sigma[rows, 1], heights)).sum(axis=1)
    return np.maximum(found, 0.0)


def improvement_chance(mean: Array, sigma: Array, front: Array, reference: Array) -> Array:
    """Return the probability [n] that a candidate lies beyond the front and the reference point."""
    if mean.shape[1] == 1:
        best = front[-1, 0] if len(front) else reference[0]
        return _beyond(mean[:, 0], sigma[:, 0], np.array([best]))[:, 0]
    starts, heights = _steps(front, reference)
    along = _beyond(mean[:, 0], sigma[:, 0], starts)
    along[:, :-1] -= along[:, 1:].copy()
    return np.asarray((along * _beyond(mean[:, 1], sigma[:, 1], heights)).sum(axis=1))


def _steps(front: Array, reference: Array) -> tuple[Array, Array]:
    """Where each step of the front begins along the first target, and its height in the second."""
    starts = np.concatenate([reference[:1], front[:, 0]])
    heights = np.concatenate([front[:, 1], reference[1:]])
    return starts, heights


def _excess(mean: Array, sigma: Array, level: Array) -> Array:
    """E[max(0, Y - level)], [n, levels]."""
    above = mean[:, None] - level
    width = np.maximum(sigma, _NO_WIDTH)[:, None]
    z = above / width
    return np.asarray(above * ndtr(z) + width * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def _beyond(mean: Array, sigma: Array, level: Array) -> Array:
    """P(Y > level), [n, levels]."""
    return np.asarray(ndtr((mean[:, None] - level) / np.maximum(sigma, _NO_WIDTH)[:, None]))
