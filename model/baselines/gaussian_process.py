"""A Gaussian process on the descriptors of slabs, which learns how far each descriptor carries.

Trees jump where the process is smooth, and it continues beyond the training slabs where trees are flat. The
kernel is Matern's with smoothness 3/2, with a length of its own for every descriptor (C. E. Rasmussen and
C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press 2006: eqs. 2.25, 4.17, 5.8, 5.9). Slabs
of one compound also share an offset, a random effect that adds tau^2 to the covariance of two of them (for
surface energies it stands for the error of the bulk's energy, which all facets have in common): a compound of
the training set keeps the offset that its slabs show, that of another compound is unknown. Kept as plain
arrays, so that a file of it holds no code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve, cholesky, lapack

from model.baselines.inducing_points import cluster_middles, solve
from stores.errors import InputError, refusing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEWEST_LABELS = 10  # labels below which there is no process for a target

STAGES = (0, 5, 10, 15, 20)
"""Steps after which the lengths are kept: the validation slabs choose among these processes, as they choose
the epoch of a network. Step 0, all lengths equal, carries farthest to unseen elements."""

LENGTH = 15.0  # all lengths before the first step, in standard deviations of a descriptor
NOISE = 0.03  # variance of the noise before the first step, in units of the labels' variance
OFFSET = 0.05  # variance of the compounds' offsets before the first step, in the same units
LEAST_NOISE = 1e-3  # keeps the covariance of identical slabs invertible, in the same units
STEP = 0.1  # of Adam, in the logarithms of lengths, noise, amplitude and the variance of the offsets

BOUND = 4.0
"""Standardised descriptors are cut here: an element unlike all others must not be far from everything."""

LEAST_WIDTH = 1e-3
"""Standard deviation below which a descriptor is taken to be the same for all training slabs, in units of its
mean or of 1 if that is more: so much does the thickness of slabs of one crystal change it."""

MOST_FOR_LENGTHS = 2000
"""Training slabs, drawn at random, that the lengths are learned from: time grows with their third power."""

MOST_POINTS = 6000
"""Training slabs up to which the process is exact: its time grows with their third power, its memory with the
second. Of more it has `INDUCING` inducing points, see `model.baselines.inducing_points`."""

INDUCING = 4000
NO_COMPOUND = -1
"""Number of the compound of a slab that shares no offset with another."""

_ROWS_AT_ONCE = 256  # slabs that are predicted together: memory does not grow with their number


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """A process given its training labels, for one target."""

    centre: Array  # [D], subtracted from descriptors, in their units
    # [D], what they are multiplied with then, before they are cut at `BOUND`; 0 for those that do not vary
    scale: Array
    lengths: Array  # [D], what they are divided by after that, in standard deviations
    points: Array  # [n, D], training slabs after all this, or inducing points
    coefficients: Array  # [n], of their kernels, in the target's unit
    mean: float  # of the training labels, in the target's unit
    # variance, noise: of the process before any label, and of the labels about it, in the target's unit
    # squared; None in files of versions that kept the mean alone
    variance: float | None = None
    noise: float | None = None
    # compounds, offset: [n], number of each training slab's compound, and variance of the offsets, in the
    # target's unit squared; None without offsets, as in files of older versions
    compounds: NDArray[np.int64] | None = None
    offset: float | None = None
    # of a process with inducing points: [C], mean offset of each compound, `compounds` being [C] then; empty
    # without offsets. None: the points are all training slabs
    offset_means: Array | None = None

    @classmethod
    def fit(
        cls,
        descriptors: NDArray[np.float32],
        labels: Array,
        seed: int,
        compounds: NDArray[np.int64] | None = None,
        stages: tuple[int, ...] = STAGES,
    ) -> tuple[Self, ...]:
        """Learn the lengths, see `loss`; return the process at each of the stages, none with few labels.

        Parameters
        ----------
        descriptors
            [n, D].
        labels
            [n], in the target's unit, NaN where there is none.
        seed
            Draws the slabs where there are more than `MOST_FOR_LENGTHS`.
        compounds
            [n], equal for slabs of one compound, `NO_COMPOUND` for a slab alone; None: no offsets.
        stages
            Steps after which the process is kept, ascending.
        """
        known = np.flatnonzero(np.isfinite(labels))
        if len(known) < FEWEST_LABELS:
            return ()
        known = np.random.default_rng(seed % 2**32).permutation(known)
        x, y = descriptors[known].astype(np.float64), labels[known]
        centre, width = x.mean(axis=0), x.std(axis=0)
        varies = width > LEAST_WIDTH * np.maximum(np.abs(centre), 1)
        scale = np.where(varies, 1 / np.where(varies, width, 1), 0.0)
        unit = float(y.std()) or 1.0
        x, y = _bounded(x, centre, scale), (y - y.mean()) / unit
        few = slice(MOST_FOR_LENGTHS)
        numbers = None if compounds is None else compounds[known]
        same = None if numbers is None else _same(numbers[few])
        mean = float(labels[known].mean())
        found = []
        for log_lengths, noise, amplitude, offset in _learn(x[few], y[few], same, stages):
            lengths = np.exp(log_lengths)
            begun = cls(
                centre, scale, lengths, x[:0], np.zeros(0), mean, amplitude * unit**2, noise * unit**2,
                numbers, None if numbers is None else offset * unit**2,
            )  # fmt: skip
            found.append(begun.refitted(descriptors[known], labels[known], numbers))
        return tuple(found)

    def refitted(
        self,
        descriptors: NDArray[np.float32],
        labels: Array,
        compounds: NDArray[np.int64] | None = None,
    ) -> Self:
        """Return the process of the same kernel, noise and mean that knows other slabs instead.

        descriptors [n, D], labels [n], none of them NaN, and compounds [n]: see `fit`.
        """
        points = self._scaled(descriptors)
        numbers = np.full(len(points), NO_COMPOUND) if compounds is None else compounds
        if len(points) > MOST_POINTS:
            return self._through_few(points, labels - self.mean, numbers)
        some = replace(
            self,
            points=points,
            coefficients=np.zeros(len(points)),
            compounds=None if self.compounds is None else numbers,
            offset_means=None,
        )
        solved = cho_solve((some._labels_factor(), True), labels - self.mean)
        return replace(some, coefficients=(self.variance or 1.0) * solved)

    def _through_few(self, points: Array, residuals: Array, numbers: NDArray[np.int64]) -> Self:
        """Return the process that knows slabs, points [n, D], through inducing points."""
        assert (
            self.variance is not None and self.noise is not None
        )  # files of older versions are never fitted again
        known, place = np.zeros(0, dtype=np.int64), None
        if self.offset is not None:
            known, place = np.unique(numbers[numbers != NO_COMPOUND]), np.full(len(points), NO_COMPOUND)
            place[numbers != NO_COMPOUND] = np.searchsorted(known, numbers[numbers != NO_COMPOUND])
        inducing = cluster_middles(points, INDUCING, seed=0)
        coefficients, means = solve(
            lambda a, b: matern(_squares(a, b)),
            inducing,
            points,
            residuals,
            self.noise / self.variance,
            place,
            (self.offset or 0.0) / self.variance,
        )
        own = None if self.offset is None else known
        return replace(self, points=inducing, coefficients=coefficients, compounds=own, offset_means=means)

    def predict(self, descriptors: NDArray[np.float32], compounds: NDArray[np.int64] | None = None) -> Array:
        """Return the mean of the process [n] for descriptors [n, D] (Rasmussen and Williams, eq. 2.25).

        compounds: [n], as in `fit`; None: none of the training set.
        """
        x = self._scaled(descriptors)
        found = np.empty(len(x))
        for begin in range(0, len(x), _ROWS_AT_ONCE):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            found[rows] = matern(_squares(x[rows], self.points)) @ self.coefficients + self.mean
        if compounds is None or not self._offsets:
            return found
        offsets = [self._offsets.get(number, 0.0) for number in compounds.tolist()]
        return np.asarray(found + np.array(offsets))

    @cached_property
    def _offsets(self) -> dict[int, float]:
        """Mean of the offset of each compound of the training set, in the target's unit."""
        if self.compounds is None or self.offset is None or self.variance is None:
            return {}
        if self.offset_means is not None:
            return dict(zip(self.compounds.tolist(), self.offset_means.tolist(), strict=True))
        shared = self.compounds != NO_COMPOUND
        numbers, place = np.unique(self.compounds[shared], return_inverse=True)
        sums = np.bincount(place, self.coefficients[shared], len(numbers))
        return dict(zip(numbers.tolist(), (self.offset / self.variance * sums).tolist(), strict=True))

    def _labels_factor(self) -> Array:
        """Cholesky factor [n, n] of the labels' covariance."""
        assert (
            self.variance is not None and self.noise is not None
        )  # files of older versions are never fitted again
        covariance = self.variance * matern(_squares(self.points, self.points))
        if self.compounds is not None and self.offset is not None:
            covariance += self.offset * _same(self.compounds)
        covariance.flat[:: len(covariance) + 1] += self.noise
        return np.asarray(cholesky(covariance, lower=True, overwrite_a=True))

    def _scaled(self, descriptors: NDArray[np.float32]) -> Array:
        return _bounded(descriptors.astype(np.float64), self.centre, self.scale) / self.lengths

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        arrays = {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}
        if self.compounds is not None:
            arrays["compounds"] = torch.from_numpy(self.compounds)
        if self.offset_means is not None:
            arrays["offset_means"] = torch.from_numpy(self.offset_means)
        return {**arrays, **{name: getattr(self, name) for name in _NUMBERS}}

    @classmethod
    def from_state(cls, state: dict[str, Any], width: int) -> Self:
        """Read `state` of D = `width` descriptors; raises InputError if its parts do not fit together."""
        with refusing("its Gaussian process is damaged"):
            arrays = {name: state[name].double().numpy() for name in _ARRAYS}
            numbers = {name: float(state[name]) for name in _NUMBERS if state.get(name) is not None}
            if "compounds" in state:
                arrays["compounds"] = state["compounds"].long().numpy()
            if "offset_means" in state:
                arrays["offset_means"] = state["offset_means"].double().numpy()
            process = cls(**arrays, **numbers)  # type: ignore[arg-type]  # names tell arrays from numbers
            whole = process._is_whole(width)
        if not whole:
            raise InputError("the parts of its Gaussian process do not fit together")
        return process

    def _is_whole(self, width: int) -> bool:
        """Whether all parts have their shape, and numbers that can be reckoned with."""
        n = self.coefficients.size
        return bool(
            n
            and self.centre.shape == self.scale.shape == self.lengths.shape == (width,)
            and self.points.shape == (n, width)
            and self.coefficients.shape == (n,)
            and all(np.isfinite(getattr(self, name)).all() for name in (*_ARRAYS, "mean"))
            and (self.lengths > 0).all()
            and all(value is None or 0 < value < np.inf for value in (self.variance, self.noise, self.offset))
            and (self.compounds is None) == (self.offset is None)
            and (self.compounds is None or self.compounds.shape == (self._means_shape or (n,)))
            and (self.offset_means is None or bool(np.isfinite(self.offset_means).all()))
            and (self.compounds is not None or self._means_shape in (None, (0,)))
        )

    @property
    def _means_shape(self) -> tuple[int, ...] | None:
        """Shape of the means of the offsets; None of a process of all training slabs."""
        return None if self.offset_means is None else self.offset_means.shape


_ARRAYS = ("centre", "scale", "lengths", "points", "coefficients")
_NUMBERS = ("mean", "variance", "noise", "offset")


def matern(squares: Array) -> Array:
    """Matern's kernel of smoothness 3/2, (1 + √3 r) exp(−√3 r), of r² in units of the lengths; eq. 4.17."""
    r = np.sqrt(3 * squares)
    return np.asarray((1 + r) * np.exp(-r))


def matern_slope(squares: Array) -> Array:
    """Return the derivative of `matern` with respect to r²: −3/2 exp(−√3 r)."""
    return np.asarray(-1.5 * np.exp(-np.sqrt(3 * squares)))


def loss(x: Array, y: Array, theta: Array, same: Array | None = None) -> tuple[float, Array]:
    """Return minus the logarithm of the posterior of lengths and variances, and its gradient.

    The likelihood is Rasmussen and Williams' eqs. 5.8 and 5.9, up to a constant. The prior, with a density
    exp(−`LENGTH` / l) in the logarithm of each length l, keeps those of idle descriptors from being short.

    Parameters
    ----------
    x
        [n, D], standardised descriptors.
    y
        [n], standardised labels.
    theta
        [D + 3], logarithms of the lengths, of the noise beyond `LEAST_NOISE`, of the amplitude and of the
        variance of the compounds' offsets.
    same
        [n, n], one for two slabs of one compound, else zero; None: no offsets.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the covariance is not positive definite.
    """
    n, log_lengths, (extra, amplitude, offset) = len(y), theta[:-3], np.exp(theta[-3:])
    points = x / np.exp(log_lengths)
    squares = _squares(points, points)
    kernel = matern(squares)
    covariance = amplitude * kernel
    if same is not None:
        covariance += offset * same
    covariance.flat[:: n + 1] += LEAST_NOISE + extra
    lower, _ = cho_factor(covariance, lower=True, overwrite_a=True)
    inverse, _ = lapack.dpotri(lower, lower=1)
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    solved = inverse @ y
    prior = LENGTH * np.exp(-log_lengths)
    value = 0.5 * y @ solved + np.log(np.diagonal(lower)).sum() + prior.sum()
    inner = 0.5 * (inverse - np.outer(solved, solved))  # derivative by the covariance
    by_offset = 0.0 if same is None else offset * float(np.vdot(inner, same))
    by_square = inner * matern_slope(squares)
    by_square *= amplitude
    # sum over pairs of by_square (x_i - x_j)^2, without the pairs
    spread = 2 * (by_square.sum(axis=1) @ points**2 - (points * (by_square @ points)).sum(axis=0))
    gradient = np.concatenate(
        [-2 * spread - prior, [extra * np.trace(inner), amplitude * np.vdot(inner, kernel), by_offset]]
    )
    return float(value), gradient


def _learn(
    x: Array, y: Array, same: Array | None = None, stages: tuple[int, ...] = STAGES
) -> list[tuple[Array, float, float, float]]:
    """Return logarithms of the lengths [D], noise, amplitude and variance of the offsets at each stage."""
    theta = torch.full((x.shape[1] + 3,), np.log(LENGTH), dtype=torch.float64)
    theta[-3], theta[-2], theta[-1] = np.log(NOISE), 0.0, np.log(OFFSET)
    adam = torch.optim.Adam([theta], lr=STEP)
    found = []
    for step in range(stages[-1] + 1):
        if step in stages:
            now = theta.numpy().copy()
            noise, amplitude, offset = np.exp(now[-3:]).tolist()
            found.append((now[:-3], LEAST_NOISE + noise, amplitude, offset))
        if step < stages[-1]:
            theta.grad = torch.from_numpy(loss(x, y, theta.numpy(), same)[1])
            adam.step()
    return found


def _same(compounds: NDArray[np.int64]) -> Array:
    """Return [n, n], one where two slabs are of one compound, as each is with itself."""
    found = ((compounds[:, None] == compounds) & (compounds != NO_COMPOUND)).astype(np.float64)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)


def _bounded(descriptors: Array, centre: Array, scale: Array) -> Array:
    return np.asarray(np.clip((descriptors - centre) * scale, -BOUND, BOUND))


def _squares(a: Array, b: Array) -> Array:
    """Squared distances [n, m] between rows."""
    squares: Array = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    np.maximum(squares, 0, out=squares)
    return squares
