"""Losses of the targets of a batch, over the labels that there are, and the weight of each label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from model.network.process_group import total
from model.training.losses import class_weights, label_weights
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.training.presets import TrainingConfig

    Columns = Sequence[tuple[slice, bool]]
    """Of each target the columns of the network's output, and whether they are the logits of classes."""


def label_importance(values: torch.Tensor, config: TrainingConfig, is_class: Sequence[bool]) -> torch.Tensor:
    """Weight of each label [n, T], zero where there is none."""
    weights = (~values.isnan()).float()
    for t, column in enumerate(values.unbind(1)):
        if is_class[t] and config.class_balance:
            weights[:, t] = class_weights(column, config.class_balance)
        elif config.smoothing:
            weights[:, t] = label_weights(column)
    return weights


def masked_losses(
    output: torch.Tensor,
    target: torch.Tensor,
    importance: torch.Tensor,
    config: TrainingConfig,
    columns: Columns = (),
) -> tuple[dict[int, torch.Tensor], list[int]]:
    """Loss of each target that has labels in the batch, over those labels, and numbers of labels.

    output: [B, W], of quantities standardised, of classes logits, whose loss is the cross-entropy or focal
    loss. target: [B, T], standardised, or places of classes; NaN where there is no label. importance: [B, T],
    weight of each label, zero where there is none. columns: outputs of each target, and whether they are of
    classes; none if all targets are quantities. Losses are scalars by index of target; counts are of every
    target.
    """
    known = importance > 0
    logits = {t: output[:, place] for t, (place, is_class) in enumerate(columns) if is_class}
    if logits:
        output = output[:, [place.start for place, _ in columns]]
        places = {t: torch.where(known[:, t], target[:, t], 0.0).long() for t in logits}
    target = torch.where(known, target, output.detach())  # NaN times zero would be NaN
    if config.loss == "huber":
        each = functional.huber_loss(output, target, reduction="none", delta=config.huber_delta)
        each = each * (2 / config.huber_delta)
    elif config.loss == "mse":
        each = (output - target).square()
    else:
        raise InputError(f"no loss {config.loss!r}: choose mse or huber")
    if logits:
        of_target = list(each.unbind(1))
        for t, part in logits.items():
            entropy = functional.cross_entropy(part, places[t], reduction="none")
            if config.focal:
                # (1 - p)^focal, p being the probability of the true class; where p is 1 in floating point,
                # a power below one has no gradient
                missed = (-torch.expm1(-entropy)).clamp(min=torch.finfo(entropy.dtype).tiny)
                entropy = entropy * missed**config.focal
            of_target[t] = entropy
        each = torch.stack(of_target, dim=1)
    # of the whole batch, also where several processes share it
    sums, labels = total((each * importance).sum(0), known.sum(0).to(each.dtype))  # [T], [T]
    counts = [int(n) for n in labels.tolist()]
    return {t: sums[t] / n for t, n in enumerate(counts) if n}, counts
