"""A Gaussian process on the descriptors of slabs, which learns how far each descriptor carries.

Trees jump where the process is smooth, and it goes on beyond the training slabs where trees are flat. The
kernel is Matern's with smoothness 3/2, with a length of its own for every descriptor (C. E. Rasmussen and
C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press 2006: eqs. 2.25, 4.17, 5.8, 5.9). Kept
as plain arrays, so that a file of it holds no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve, lapack

from stores.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEWEST_LABELS = 10
"""Labels below which there is no process for a target."""

STAGES = (0, 5, 10, 15, 20)
"""Steps after which the lengths are kept: the validation slabs choose among these processes, as they choose
the epoch of a network. Step 0, all lengths equal, carries farthest to unseen elements."""

LENGTH = 15.0
"""All lengths before the first step, in standard deviations of a descriptor."""

NOISE = 0.03
"""Variance of the noise before the first step, in units of the labels' variance."""

LEAST_NOISE = 1e-3
"""Keeps the covariance of identical slabs invertible, in the same units."""

STEP = 0.1
"""Of Adam, in the logarithms of lengths, noise and amplitude."""

BOUND = 4.0
"""Standardised descriptors are cut here: an element unlike all others must not be far from everything."""

MOST_FOR_LENGTHS = 2000
"""Training slabs, drawn at random, that the lengths are learned from: time grows with their third power."""

MOST_POINTS = 6000
"""Training slabs, drawn at random, that a process holds."""


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """The mean of a process given its training labels, for one target.

    Attributes
    ----------
    centre
        [D], subtracted from descriptors.
    scale
        [D], what they are multiplied with then, before they are cut at `BOUND`.
    lengths
        [D], what they are divided by after that.
    points
        [n, D], training slabs after all this.
    coefficients
        [n], of their kernels, in the target's unit.
    mean
        Of the training labels.
    """

    centre: Array
    scale: Array
    lengths: Array
    points: Array
    coefficients: Array
    mean: float

    @classmethod
    def grow(cls, descriptors: NDArray[np.float32], labels: Array, seed: int) -> tuple[Self, ...]:
        """Learn lengths by maximum likelihood; return the process at each of `STAGES`.

        Parameters
        ----------
        descriptors
            [n, D].
        labels
            [n], NaN where there is none; with fewer than `FEWEST_LABELS` there is no process.
        seed
            Of the slabs that are drawn where there are more than `MOST_FOR_LENGTHS`.
        """
        known = np.flatnonzero(np.isfinite(labels))
        if len(known) < FEWEST_LABELS:
            return ()
        known = np.random.default_rng(seed).permutation(known)[:MOST_POINTS]
        x, y = descriptors[known].astype(np.float64), labels[known]
        centre, width = x.mean(axis=0), x.std(axis=0)
        scale = np.where(width > 1e-6, 1 / np.maximum(width, 1e-6), 0.0)  # what never varies tells nothing
        unit = float(y.std()) or 1.0
        x, y = _bounded(x, centre, scale), (y - y.mean()) / unit
        few = slice(MOST_FOR_LENGTHS)
        found = []
        for log_lengths, noise, amplitude in _learn(x[few], y[few]):
            lengths = np.exp(log_lengths)
            points = x / lengths
            covariance = amplitude * matern(_squares(points, points))[0]
            covariance.flat[:: len(x) + 1] += noise
            solved = cho_solve(cho_factor(covariance, lower=True, overwrite_a=True), y)
            mean = float(labels[known].mean())
            found.append(cls(centre, scale, lengths, points, amplitude * unit * solved, mean))
        return tuple(found)

    def predict(self, descriptors: NDArray[np.float32]) -> Array:
        """Return the mean of the process [n] (Rasmussen and Williams, eq. 2.25).

        Parameters
        ----------
        descriptors
            [n, D].
        """
        x = _bounded(descriptors.astype(np.float64), self.centre, self.scale) / self.lengths
        return np.asarray(matern(_squares(x, self.points))[0] @ self.coefficients + self.mean)

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        return {**{name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}, "mean": self.mean}

    @classmethod
    def from_state(cls, state: dict[str, Any], width: int) -> Self:
        """Read `state`.

        Parameters
        ----------
        state
            What was written.
        width
            D, number of descriptors.

        Raises
        ------
        InputError
            If its parts do not fit together.
        """
        try:
            process = cls(
                **{name: state[name].numpy().astype(np.float64) for name in _ARRAYS},
                mean=float(state["mean"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"its Gaussian process is damaged ({error})") from error
        per_descriptor = (process.centre, process.scale, process.lengths)
        if (
            any(array.shape != (width,) for array in per_descriptor)
            or process.points.shape != (len(process.coefficients), width)
            or process.coefficients.ndim != 1
            or not all(np.isfinite(getattr(process, name)).all() for name in (*_ARRAYS, "mean"))
            or not (process.lengths > 0).all()
        ):
            raise InputError("the parts of its Gaussian process do not fit together")
        return process


_ARRAYS = ("centre", "scale", "lengths", "points", "coefficients")


def matern(squares: Array) -> tuple[Array, Array]:
    """Return Matern's kernel of smoothness 3/2 and its derivative with respect to the squared distance.

    Parameters
    ----------
    squares
        Squared distances in units of the lengths; any shape, which both results have. Rasmussen and Williams,
        eq. 4.17: k = (1 + √3 r) exp(−√3 r), dk/d(r²) = −3/2 exp(−√3 r).
    """
    r = np.sqrt(3 * squares)
    decay = np.exp(-r)
    return (1 + r) * decay, -1.5 * decay


def likelihood(x: Array, y: Array, theta: Array) -> tuple[float, Array]:
    """Return minus the logarithm of the posterior of lengths, noise and amplitude, and its gradient.

    Rasmussen and Williams, eqs. 5.8 and 5.9, up to a constant; an exponential prior on the inverse lengths
    keeps those of idle descriptors from being short.

    Parameters
    ----------
    x
        [n, D], standardised descriptors.
    y
        [n], standardised labels.
    theta
        [D + 2], logarithms of the lengths, of the noise beyond `LEAST_NOISE` and of the amplitude.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the covariance is not positive definite.
    """
    n, log_lengths, extra, amplitude = len(y), theta[:-2], np.exp(theta[-2]), np.exp(theta[-1])
    points = x / np.exp(log_lengths)
    kernel, slope = matern(_squares(points, points))
    covariance = amplitude * kernel
    covariance.flat[:: n + 1] += LEAST_NOISE + extra
    lower, _ = cho_factor(covariance, lower=True, overwrite_a=True)
    inverse, _ = lapack.dpotri(lower, lower=1)
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    solved = inverse @ y
    prior = LENGTH * np.exp(-log_lengths)
    value = 0.5 * y @ solved + np.log(np.diagonal(lower)).sum() + prior.sum()
    inner = 0.5 * (inverse - np.outer(solved, solved))  # derivative by the covariance
    by_square = inner * slope
    by_square *= amplitude
    # sum over pairs of by_square (x_i - x_j)^2, without the pairs
    spread = 2 * (by_square.sum(axis=1) @ points**2 - (points * (by_square @ points)).sum(axis=0))
    gradient = np.concatenate(
        [-2 * spread - prior, [extra * np.trace(inner), amplitude * (inner * kernel).sum()]]
    )
    return float(value), gradient


def _learn(x: Array, y: Array) -> list[tuple[Array, float, float]]:
    """Return logarithms of the lengths [D], noise and amplitude at each of `STAGES`."""
    theta = torch.full((x.shape[1] + 2,), np.log(LENGTH), dtype=torch.float64)
    theta[-2], theta[-1] = np.log(NOISE), 0.0
    adam = torch.optim.Adam([theta], lr=STEP)
    found = []
    for step in range(STAGES[-1] + 1):
        if step in STAGES:
            now = theta.numpy().copy()
            found.append((now[:-2], LEAST_NOISE + float(np.exp(now[-2])), float(np.exp(now[-1]))))
        if step < STAGES[-1]:
            theta.grad = torch.from_numpy(likelihood(x, y, theta.numpy())[1])
            adam.step()
    return found


def _bounded(descriptors: Array, centre: Array, scale: Array) -> Array:
    return np.asarray(np.clip((descriptors - centre) * scale, -BOUND, BOUND))


def _squares(a: Array, b: Array) -> Array:
    """Squared distances [n, m] between rows."""
    squares: Array = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    np.maximum(squares, 0, out=squares)
    return squares
