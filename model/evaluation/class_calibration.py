"""Probabilities of classes: their blend, and a temperature that makes them hold on the validation set.

A temperature T turns probabilities p into p^(1/T), normalised: above one it takes confidence away. It is the
one number of C. Guo et al., On calibration of modern neural networks (ICML 2017, arXiv:1706.04599), and keeps
the order of the classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEWEST_LABELS = 60  # validation labels below which nothing is chosen by them
LEAST, MOST = 0.5, 5.0  # ends of the temperatures: a few labels, all of them right, would ask for certainty

STEPS = 12  # the share of networks is chosen among so many parts of one
SMALLEST = 1e-6  # probability that counts as none


def log_loss(probabilities: Array, true: Array) -> float:
    """Return the mean negative logarithm of the true classes' probabilities.

    probabilities: [n, K]; true: [n], places of the classes, none NaN.
    """
    given = probabilities[np.arange(len(true)), true.astype(int)]
    return float(-np.log(np.maximum(given, SMALLEST)).mean())


def with_temperature(probabilities: Array, temperature: float) -> Array:
    """Return p^(1/T), normalised: [n, K]."""
    if temperature == 1:
        return probabilities
    logarithms = np.log(np.maximum(probabilities, SMALLEST)) / temperature
    powers = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(probabilities: Array, true: Array) -> float:
    """Return the temperature with the least log loss; 1 with few labels.

    probabilities: [n, K]; true: [n], places of the classes, NaN without a label.
    """
    from scipy.optimize import minimize_scalar

    known = np.isfinite(true)
    if known.sum() < FEWEST_LABELS:
        return 1.0
    some, places = probabilities[known], true[known]
    found = minimize_scalar(
        lambda log_t: log_loss(with_temperature(some, float(np.exp(log_t))), places),
        bounds=(float(np.log(LEAST)), float(np.log(MOST))),
        method="bounded",
    )
    return float(np.exp(found.x))


def fit_share(networks: Array, trees: Array, true: Array, used: NDArray[np.bool_] | None = None) -> float:
    """Return the share of the networks in their blend with trees that has the least log loss.

    networks, trees: probabilities, [n, K]. true: [n], NaN without a label. used: [n], whose labels count;
    None: all. One half with few labels: nothing is chosen by them.
    """
    known = np.isfinite(true)
    if known.sum() < FEWEST_LABELS:
        return 0.5
    if used is not None and (known & used).any():
        known &= used
    shares = np.arange(STEPS + 1) / STEPS
    losses = [log_loss(a * networks[known] + (1 - a) * trees[known], true[known]) for a in shares]
    return float(shares[int(np.argmin(losses))])
