"""Fine-tuning: a network begins with the weights of a trained one, and some of them may be held.

The heads of targets that both networks have are kept (unless they are reinitialised) and carried over to
the new scale of the labels, so that a network that is not trained any further predicts what it did before,
in the targets' units. Heads of other targets begin as in a training from scratch.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from model.network.network import head_key
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from model.graphs.graph import GraphSettings
    from model.network.network import NetworkConfig, SurfaceNetwork
    from model.training.checkpoint import Scaler, TrainedModel

FREEZE: dict[str, tuple[str, ...]] = {
    "none": (),
    "embedding": ("embed",),
    "convolutions": ("embed", "convolutions"),
}
"""Parts of a `SurfaceNetwork` that are held, by the name of the choice, which names the last of them."""


@dataclass(frozen=True, eq=False)
class Start:
    """Where a training begins."""

    model: TrainedModel  # whose weights are taken
    # a key of `FREEZE`: these weights, and the running statistics of their norms, stay as they are
    freeze: str = "none"
    reset_heads: bool = False  # reinitialise the output heads of all targets

    def __post_init__(self) -> None:
        """Refuse an unknown choice."""
        if self.freeze not in FREEZE:
            raise InputError(f"--freeze {self.freeze}: unknown; choose {', '.join(FREEZE)}")

    def about(self) -> dict[str, Any]:
        """Distinguish it from other starts: plain values, the weights as a hash."""
        return {
            "model": weights_key([self.model]),
            "freeze": self.freeze,
            "reset_heads": self.reset_heads,
            "elements": list(self.model.training_elements),
        }


def weights_key(models: Iterable[TrainedModel]) -> str:
    """Hash the weights and scales of models."""
    digest = hashlib.sha256()
    for model in models:
        digest.update(repr((model.targets, asdict(model.scaler))).encode())
        for name, value in sorted(model.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def check_start(
    start: Start, config: NetworkConfig, elements: torch.Tensor, graph_settings: GraphSettings
) -> None:
    """Refuse a pre-trained model that does not fit the network, element features or graphs to be trained.

    Raises
    ------
    InputError
        Naming what differs: parts of the network, element features, or graphs.
    """
    advice = "train with the preset and settings of that model, or without --from"
    theirs, ours = asdict(start.model.network.config), asdict(config)
    free = {"targets", "classes", "dropout"}  # none decides the shape of a kept weight
    if differing := _differences(theirs, ours, free):
        raise InputError(f"--from: that model's network has other settings ({differing}): {advice}")
    # weights fit whatever the slabs' thickness; the new model is trained and used with its own
    same_network = {"fold", "min_thickness"}
    if differing := _differences(asdict(start.model.graph_settings), asdict(graph_settings), same_network):
        raise InputError(f"--from: that model was trained on other graphs ({differing}): {advice}")
    table = start.model.network.elements
    if table.shape != elements.shape or not torch.equal(table.cpu(), elements.float().cpu()):
        raise InputError(f"--from: that model describes the elements by other features: {advice}")


def load_pretrained_weights(network: SurfaceNetwork, scaler: Scaler, start: Start) -> None:
    """Copy the weights of `start` into a new network that `check_start` let pass, and hold the frozen ones.

    `scaler` is of its labels: kept heads predict the same as before in the targets' units.
    """
    source = start.model.network
    heads = {} if start.reset_heads else {name: i for i, name in enumerate(start.model.targets)}
    own, theirs = network.config.class_names(), start.model.class_names
    heads = {name: i for name, i in heads.items() if own.get(name) == theirs.get(name)}
    kept = tuple(f"heads.{head_key(name)}." for name in network.config.targets if name in heads)
    weights = {
        name: value
        for name, value in source.state_dict().items()
        if not name.startswith("heads.") or name.startswith(kept)
    }
    network.load_state_dict(weights, strict=False)
    for new, name in enumerate(network.config.targets):
        if name in heads:
            old = heads[name]
            _rescale(
                network.heads[head_key(name)][-1],  # type: ignore[index]  # a Sequential
                (start.model.scaler.mean[old], start.model.scaler.std[old]),
                (scaler.mean[new], scaler.std[new]),
            )
    for part in FREEZE[start.freeze]:
        network.get_submodule(part).requires_grad_(False)


def train_mode(network: nn.Module) -> None:
    """Put a network into training mode, all but its frozen parts, whose norms would move."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(value.requires_grad for value in parameters):
            module.eval()


def new_elements(start: Start, elements: Iterable[str]) -> tuple[str, ...]:
    """Return the elements that the pre-trained model has never seen, in alphabetical order."""
    return tuple(sorted(set(elements) - set(start.model.training_elements)))


@torch.no_grad()
def _rescale(layer: nn.Linear, old: tuple[float, float], new: tuple[float, float]) -> None:
    """Let the last layer of a head give the same values when standardised by another mean and deviation."""
    (old_mean, old_std), (mean, std) = old, new
    layer.weight.mul_(old_std / std)
    layer.bias.mul_(old_std / std).add_((old_mean - mean) / std)


def _differences(theirs: dict[str, Any], ours: dict[str, Any], free: set[str]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {theirs.get(name)} instead of {ours.get(name)}"
        for name in sorted(theirs.keys() | ours.keys())
        if name not in free and theirs.get(name) != ours.get(name)
    )
