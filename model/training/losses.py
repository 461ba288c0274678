"""Balancing of the losses of several targets, one small class each, and weights of rare labels.

A balancer gets the losses of the targets that have labels in the batch, does the backward pass and leaves the
gradient in the parameters. A target without labels in a batch is skipped: neither its weight nor anything
that is divided by its gradient is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from model.network.process_group import mean
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class BalanceConfig:
    """Which balancer, and its settings."""

    name: str = "equal"  # a key of `BALANCERS`
    weights: tuple[float, ...] = ()  # of "fixed", one per target in the order of the network's
    # alpha, learning_rate: of "gradnorm"
    alpha: float = 1.5
    learning_rate: float = 0.025


class Shared(Protocol):
    """What a balancer needs of the network."""

    @property
    def last_shared(self) -> nn.Parameter:
        """Weight of the last layer that all targets share."""

    def shared_parameters(self) -> list[nn.Parameter]:
        """All parameters that every target depends on."""


class Balancer(nn.Module):
    """Weighted sum of losses with the weights in `weights` [T]; the base of all balancers."""

    weights: torch.Tensor

    def __init__(self, n_targets: int, config: BalanceConfig) -> None:
        super().__init__()
        self.register_buffer("weights", torch.ones(n_targets))

    def backward(self, losses: dict[int, torch.Tensor], network: Shared) -> None:
        """Leave the gradient of the balanced loss in the parameters; losses by index of target."""
        total = torch.stack([self.weights[i] * loss for i, loss in losses.items()]).sum()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped

    def current_weights(self) -> list[float]:
        """Weight of each target now, for the history."""
        return [float(value) for value in self.weights]


class Equal(Balancer):
    """Sum of all losses, eq. (6) of Shi et al. with every weight one."""


class Fixed(Balancer):
    """Weights chosen by the user, scaled to sum to the number of targets."""

    def __init__(self, n_targets: int, config: BalanceConfig) -> None:
        super().__init__(n_targets, config)
        if len(config.weights) != n_targets or min(config.weights, default=0) <= 0:
            raise InputError(
                f"loss weights {config.weights} do not fit: give one positive number for each of "
                f"the {n_targets} targets"
            )
        weights = torch.tensor(config.weights)
        self.weights = weights * n_targets / weights.sum()


class GradNorm(Balancer):
    """Weights that let all targets train at one rate (Chen et al., ICML 2018; eq. (7) of Shi et al.).

    With G_i = w_i |grad_W L_i| at the last shared layer W, G the mean of G_i, and r_i = (L_i / L_i(0)) / mean
    of the same, the weights follow the gradient of sum_i |G_i - G r_i^alpha|, its second term held constant:

        d/dw_i = |grad_W L_i| sign(G_i - G r_i^alpha)

    by Adam, and are then kept positive and scaled to sum to the number of targets. grad_W L_i needs a
    backward pass through the head and one layer only. L_i(0) is the first loss of target i in training.
    In a batch where only some targets have labels, only these take part, and their sum stays what it was.
    """

    smallest = 0.01  # weight

    def __init__(self, n_targets: int, config: BalanceConfig) -> None:
        super().__init__(n_targets, config)
        self.alpha, self.learning_rate = config.alpha, config.learning_rate
        self.first: torch.Tensor
        self.moments: torch.Tensor
        self.register_buffer("first", torch.full((n_targets,), torch.nan))  # L_i(0)
        self.register_buffer("moments", torch.zeros(3, n_targets))  # Adam's two, and its number of steps

    def backward(self, losses: dict[int, torch.Tensor], network: Shared) -> None:
        """Weighted sum with the weights before this step, then move the weights."""
        if len(self.weights) > 1:
            gradients = shared_gradients(losses, network)
        super().backward(losses, network)
        if len(self.weights) > 1 and gradients:
            self._move(losses, gradients)

    @torch.no_grad()
    def _move(self, losses: dict[int, torch.Tensor], gradients: dict[int, torch.Tensor]) -> None:
        index = torch.tensor(list(losses), device=self.weights.device)
        loss = torch.stack([loss.detach() for loss in losses.values()])
        self.first[index] = torch.where(self.first[index].isnan(), loss, self.first[index])
        if len(losses) < 2:
            return  # nothing to balance against
        norm = torch.stack([gradients[i].norm() for i in losses])  # |grad_W L_i|
        slope = self.weight_gradient(self.weights[index], norm, loss / self.first[index])
        total = self.weights[index].sum()
        weights = (self.weights[index] - self._adam(index, slope)).clamp(min=self.smallest)
        self.weights[index] = weights * total / weights.sum()

    def weight_gradient(
        self, weights: torch.Tensor, norm: torch.Tensor, progress: torch.Tensor
    ) -> torch.Tensor:
        """Gradient of eq. (7) with respect to the weights, from w_i, |grad_W L_i| and L_i / L_i(0)."""
        weighted = weights * norm  # G_i
        goal = weighted.mean() * (progress / progress.mean()) ** self.alpha
        return norm * torch.sign(weighted - goal)

    def _adam(self, index: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Step of Adam (Kingma and Ba 2015) for the targets that took part."""
        first = self.moments[0, index].lerp(slope, 0.1)
        second = self.moments[1, index].lerp(slope.square(), 0.001)
        steps = self.moments[2, index] + 1
        self.moments[:, index] = torch.stack([first, second, steps])
        unbiased = (second / (1 - 0.999**steps)).sqrt() + 1e-12
        return self.learning_rate * first / (1 - 0.9**steps) / unbiased


class Uncertainty(Balancer):
    """Weights learned as noise of each target (Kendall et al., CVPR 2018).

    Loss: sum_i exp(-s_i) L_i / 2 + s_i / 2, with s_i = log sigma_i^2 learned by the network's optimiser.
    """

    def __init__(self, n_targets: int, config: BalanceConfig) -> None:
        super().__init__(n_targets, config)
        self.log_variance = nn.Parameter(torch.zeros(n_targets))

    def backward(self, losses: dict[int, torch.Tensor], network: Shared) -> None:
        """Leave the gradient of network and variances."""
        s = self.log_variance
        terms = [0.5 * torch.exp(-s[i]) * loss + 0.5 * s[i] for i, loss in losses.items()]
        torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]  # as above
        self.weights = 0.5 * torch.exp(-s.detach())


class PCGrad(Balancer):
    """Gradients that conflict are projected (Yu et al., NeurIPS 2020).

    Every target's gradient of the shared parameters loses its component along each other target's original
    gradient with which its product is negative, the others taken in a random order; the results are
    summed. Needs one backward pass per target. A gradient of zero conflicts with none.
    """

    def backward(self, losses: dict[int, torch.Tensor], network: Shared) -> None:
        """Heads get their own gradient, shared parameters the sum of the projected ones."""
        shared = [value for value in network.shared_parameters() if value.requires_grad]
        if len(losses) < 2 or not shared:
            super().backward(losses, network)
            return
        gradients = []
        for loss in losses.values():
            for parameter in shared:
                parameter.grad = None
            loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]  # as above
            gradients.append(_flat(shared))
        total, at = project(gradients), 0
        for parameter in shared:
            parameter.grad = total[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()


def project(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum gradients [P] after removing conflicts, algorithm 1 of Yu et al."""
    total = torch.zeros_like(gradients[0])
    for i, own in enumerate(gradients):
        projected = own.clone()
        for j in torch.randperm(len(gradients)).tolist():
            product = projected @ gradients[j]
            if j != i and product < 0:
                projected -= product / gradients[j].square().sum() * gradients[j]
        total += projected
    return total


def _flat(parameters: Sequence[nn.Parameter]) -> torch.Tensor:
    """All gradients in one vector [P], zeros where there is none."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


def shared_gradients(losses: dict[int, torch.Tensor], network: Shared) -> dict[int, torch.Tensor]:
    """Gradient of each loss at the last shared layer, [H, H] each.

    autograd walks only from the loss to that layer: the convolutions are not passed. Several processes
    average theirs, as those of a backward pass. Empty where a fine-tuning holds that layer.
    """
    if not network.last_shared.requires_grad:
        return {}
    own = [torch.autograd.grad(loss, network.last_shared, retain_graph=True)[0] for loss in losses.values()]
    return dict(zip(losses, mean(*own), strict=True))


def pair_cosines(gradients: dict[int, torch.Tensor]) -> dict[tuple[int, int], torch.Tensor]:
    """Cosine of the angle between the gradients of each pair of targets; a gradient of zero is in none."""
    flat = {t: g.flatten() / g.norm() for t, g in gradients.items() if g.norm() > 0}
    found = list(flat)
    return {(b, a): flat[a] @ flat[b] for i, a in enumerate(found) for b in found[:i]}


def cosine_between(gradients: dict[int, torch.Tensor]) -> float | None:
    """Mean cosine of the angles between the targets' gradients; None with fewer than two non-zero ones."""
    pairs = list(pair_cosines(gradients).values())
    return float(torch.stack(pairs).mean()) if pairs else None


BALANCERS: dict[str, type[Balancer]] = {
    "equal": Equal,
    "fixed": Fixed,
    "gradnorm": GradNorm,
    "uncertainty": Uncertainty,
    "pcgrad": PCGrad,
}


def make_balancer(n_targets: int, config: BalanceConfig) -> Balancer:
    """Make the balancer of a configuration; InputError if unknown, or its weights do not fit the targets."""
    if config.name not in BALANCERS:
        raise InputError(f"no loss balancing {config.name!r}: choose {', '.join(BALANCERS)}")
    return BALANCERS[config.name](n_targets, config)


BINS = 50  # of the histogram, between the smallest and the largest label
KERNEL = 2.0  # standard deviation of the smoothing kernel in bins
LARGEST = 5.0
"""No label counts more than this many times the average one, so that a single outlier cannot rule."""


def label_weights(labels: torch.Tensor) -> torch.Tensor:
    """Weight labels by the inverse root of their smoothed density (Yang et al., ICML 2021, arXiv:2102.09554).

    labels: [n], NaN where there is none. Returns [n] float32, mean one over the labels and zero where there
    is none.
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


def class_weights(places: torch.Tensor, power: float) -> torch.Tensor:
    """Weight classes by their number of labels n as n^-power: 1 lets all classes count alike.

    places: [n], of classes, NaN where there is no label. Returns [n] float32, mean one over the labels and
    zero where there is none; no label counts more than `LARGEST` average ones.
    """
    known = ~places.isnan()
    weights = torch.zeros(len(places))
    own = places[known].long()
    weight = own.bincount().double().clamp(min=1).pow(-power)[own]
    weight = (weight / weight.mean()).clamp(max=LARGEST)
    weights[known] = (weight / weight.mean()).float()
    return weights
