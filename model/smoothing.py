"""Label distribution smoothing: rare labels count more (Yang et al., ICML 2021, arXiv:2102.09554)."""

from __future__ import annotations

import torch

BINS = 50
"""Of the histogram, between the smallest and the largest label."""
KERNEL = 2.0
"""Standard deviation of the smoothing kernel in bins."""
LARGEST = 5.0
"""No label counts more than this many times the average one, so that a single outlier cannot rule."""


def label_weights(labels: torch.Tensor) -> torch.Tensor:
    """Weight each label by one over the square root of the smoothed density of labels around it.

    Parameters
    ----------
    labels
        [n], NaN where there is none.

    Returns
    -------
    torch.Tensor
        [n] float32, mean one over the labels there are and zero where there is none.
    """
    known = ~labels.isnan()
    weights = torch.zeros(len(labels))
    values = labels[known].double()
    if not len(values):
        return weights
    low, span = values.min(), (values.max() - values.min()).clamp(min=1e-12)
    index = ((values - low) / span * BINS).long().clamp(max=BINS - 1)
    counts = torch.bincount(index, minlength=BINS).double()
    distance = torch.arange(BINS)[:, None] - torch.arange(BINS)
    smoothing = torch.exp(-0.5 * (distance / KERNEL) ** 2).double()
    # divided by its own sum, so that the ends of the range do not look rare
    density = (smoothing @ counts) / smoothing.sum(1)
    weight = density[index].rsqrt()
    weight = (weight / weight.mean()).clamp(max=LARGEST)
    weights[known] = (weight / weight.mean()).float()
    return weights
