"""Output heads of a fine-tuning that begin fitted to the training labels, on what the source's heads give.

Another quantity may fall where this one rises, and the same one of another data set may be in other units or
scaled; a head carried over as it is would then begin worse than the mean of the labels. So a head of a
quantity is scaled and shifted by least squares. Where classes follow a quantity, a quantity classes, or
classes other ones, the hidden layers of the head are kept, and its last layer becomes a linear map of what
the source's head gives, by logistic regression or least squares: it begins with what the source knows of the
new target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from model.network.heads import head_key
from model.training.checkpoint import predict_packed
from model.training.transfer import source_head

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.training.inputs import Network, Packed
    from model.training.transfer import Start

    Array = NDArray[np.float64]

RIDGE = 1.0
"""Of the regressions: weight of a squared coefficient beside the loss of one label.

Outputs are standardised quantities or logits, of about one if the source has learned anything. Those of a
source that has not hardly differ between structures; without a ridge the slopes would then be so steep that
the first steps of the training leave the fit at once.
"""


@torch.no_grad()
def fit_heads(network: Network, start: Start, graphs: Packed, targets: torch.Tensor) -> None:
    """Fit the heads of targets that the source lacks to the training labels.

    Parameters
    ----------
    network
        With the weights of the source, see `model.training.transfer.load_pretrained_weights`.
    start
        The source.
    graphs, targets
        Training set and its labels [n, T], standardised or places of classes, NaN where there is no label.
    """
    classes, output = network.config.class_names(), predict_packed(network, graphs).cpu()  # [n, W]
    targets = targets.cpu()  # the network may be on a GPU; fits are made here
    theirs = start.model.class_names
    for t, (name, place) in enumerate(network.config.columns().items()):
        names = classes.get(name, ())
        old = source_head(start, name, names)
        source = None if old is None else start.model.targets[old]
        alike = source is None or theirs.get(source, ()) == names
        if alike and name == source:
            continue
        known = ~targets[:, t].isnan()
        layer = network.heads[head_key(name)][-1]  # type: ignore[index]  # a Sequential
        if alike and not names:
            _scale_and_shift(layer, output[known, place.start].double(), targets[known, t].double())
            continue
        base = layer if alike else start.model.network.heads[head_key(str(source))][-1]  # type: ignore[index]  # a Sequential
        given = output[:, place] if alike else _through(network, name, base, graphs)
        x, y = given[known].double().numpy(), targets[known, t].double().numpy()
        slopes, shift = logistic_map(x, y, len(names)) if names else least_squares_map(x, y)
        weight, bias = (value.detach().double().cpu() for value in (base.weight, base.bias))
        layer.weight.copy_(torch.from_numpy(slopes) @ weight)
        layer.bias.copy_(torch.from_numpy(slopes) @ bias + torch.from_numpy(shift))


def _scale_and_shift(layer: nn.Linear, x: torch.Tensor, y: torch.Tensor) -> None:
    """Scale and shift a layer whose outputs are x [n] towards y [n] by least squares."""
    spread = float(x.var(correction=0))
    slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 0 else 0.0
    layer.weight.mul_(slope)
    layer.bias.mul_(slope).add_(float(y.mean() - slope * x.mean()))


def _through(network: Network, target: str, last: nn.Linear, graphs: Packed) -> torch.Tensor:
    """Return what another last layer makes of the hidden layers of a target's head: [n, K]."""
    hidden = network.eval().heads[head_key(target)][:-1]  # type: ignore[index]  # a Sequential
    parts = [hidden(network.trunk(batch)).cpu() for batch in graphs.in_order()]  # type: ignore[arg-type]  # of its kind
    return nn.functional.linear(torch.cat(parts), last.weight.cpu(), last.bias.cpu())


def least_squares_map(x: Array, y: Array) -> tuple[Array, Array]:
    """Return slopes [1, D] and shift [1] of the ridge regression of y [n] on x [n, D]."""
    mean = x.mean(axis=0)
    z = x - mean
    slopes = np.linalg.solve(z.T @ z + RIDGE * np.eye(z.shape[1]), z.T @ (y - y.mean()))
    return slopes[None], np.array([y.mean() - slopes @ mean])


def logistic_map(x: Array, places: Array, classes: int) -> tuple[Array, Array]:
    """Return slopes [K, D] and shifts [K] of the multinomial logistic regression of classes on x [n, D].

    places: [n] among K classes, of which some may have no label.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    mean = x.mean(axis=0)
    inputs = np.column_stack([x - mean, np.ones(len(x))])  # [n, D + 1]
    true = np.eye(classes)[places.astype(int)]  # [n, K]

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(classes, -1)
        logs = log_softmax(inputs @ weights.T, axis=1)
        gradient = (np.exp(logs) - true).T @ inputs + RIDGE * weights
        return float(-(true * logs).sum() + RIDGE * (weights**2).sum() / 2), gradient.ravel()

    found = minimize(loss, np.zeros(classes * inputs.shape[1]), jac=True, method="L-BFGS-B")
    weights = found.x.reshape(classes, -1)
    slopes = weights[:, :-1]
    return slopes, weights[:, -1] - slopes @ mean
