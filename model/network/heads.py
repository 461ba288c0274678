"""What networks of slabs and of compositions share: shared layers, a head for each target, settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from model.network.process_group import BatchDropout
from stores.errors import InputError


@dataclass(frozen=True)
class HeadsConfig:
    """Targets and the layers before them; the base of the settings of every network."""

    targets: tuple[str, ...]  # names of the T targets, one head each
    element_features: int = 92  # width F of the element description
    # hidden, hidden_layers: width H and number of the shared layers
    hidden: int = 128
    hidden_layers: int = 3
    head_layers: int = 0  # hidden layers of each head, H / 2 wide; 0: each head is one linear map
    dropout: float = 0.0  # share of hidden units left out in training
    # names of the classes of each target, none for a quantity; empty if all targets are quantities
    classes: tuple[tuple[str, ...], ...] = ()

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the classes of those targets that are no quantities."""
        return {name: names for name, names in zip(self.targets, self.classes, strict=False) if names}

    def columns(self) -> dict[str, slice]:
        """Return which of the network's W outputs belong to each target: one, or one for each class."""
        classes = self.class_names()
        found, start = {}, 0
        for name in self.targets:
            width = len(classes.get(name, ())) or 1
            found[name] = slice(start, start + width)
            start += width
        return found

    def plain(self) -> dict[str, Any]:
        """Return all fields for JSON; classes, which older networks have not, only where there are some."""
        values = asdict(self)
        if not any(self.classes):
            del values["classes"]
        return values


class HeadedNetwork(nn.Module):
    """Shared layers and heads after what a network makes of its input.

    A network calls `build_heads` with the width of its pooled input, and defines `pooled`.

    Parameters
    ----------
    config
        Settings of the network.
    elements
        [Z + 1, F] float32, features of each element in the row of its atomic number.
    """

    shared: nn.ModuleList
    heads: nn.ModuleDict

    def __init__(self, config: HeadsConfig, elements: torch.Tensor) -> None:
        super().__init__()
        for name in config.targets:
            if not name.partition("@")[0].isidentifier():  # what follows an @ is the method of the labels
                raise InputError(f"target {name!r} is not a name: use letters, digits and underscores")
        if elements.shape[1] != config.element_features:
            raise InputError(
                f"the element table has {elements.shape[1]} features, "
                f"the network expects {config.element_features}"
            )
        self.edge_dtype = torch.float32
        self.register_buffer("elements", elements.float())  # [Z + 1, F]
        self.elements: torch.Tensor

    def build_heads(self, config: HeadsConfig, width: int) -> None:
        """Make shared layers [width, H], ... and heads."""
        widths = [width] + [config.hidden] * config.hidden_layers
        self.shared = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = BatchDropout(config.dropout)
        widths_of_heads = {name: place.stop - place.start for name, place in config.columns().items()}
        self.heads = nn.ModuleDict({head_key(n): _head(config, w) for n, w in widths_of_heads.items()})
        self._targets = config.targets

    @property
    def last_shared(self) -> nn.Parameter:
        """Weight of the last layer that all targets share: what GradNorm looks at; [H, H]."""
        weight = self.shared[-1].weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters that every target depends on."""
        return [value for name, value in self.named_parameters() if not name.startswith("heads.")]

    def through_shared(self, pooled: torch.Tensor) -> torch.Tensor:
        """Apply the shared layers, eq. (4) of Shi et al.: [B, width] to [B, H]."""
        hidden = pooled
        for layer in self.shared:
            hidden = self.dropout(functional.softplus(layer(hidden)))
        return hidden

    def from_trunk(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the heads to the output [B, H] of the shared layers: [B, W], see `HeadsConfig.columns`."""
        return torch.cat([self.heads[head_key(name)](hidden) for name in self._targets], dim=1)


def head_key(target: str) -> str:
    """Name a target's head among the modules: not like a method of ModuleDict, and without a dot."""
    return "head_" + target.replace(".", "_")


def _head(config: HeadsConfig, width: int) -> nn.Sequential:
    """Task-specific layers: [B, H] to [B, width]."""
    widths = [config.hidden] + [config.hidden // 2] * config.head_layers
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.Softplus()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], width))
