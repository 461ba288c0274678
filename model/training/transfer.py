"""Fine-tuning: a network begins with the weights of a trained one, and some of them may be held.

The heads of targets that both networks have are kept (unless they are reinitialised) and carried over to
the new scale of the labels, so that a network that is not trained any further predicts what it did before,
in the targets' units. Heads of other targets begin as in a training from scratch, or with the weights of
another target's head (`Adaptation.carry_heads`).
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from model.network.composition_network import CompositionConfig
from model.network.heads import head_key
from model.network.network import SurfaceNetwork
from stores.errors import InputError
from stores.method_names import quantity_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from model.baselines.blend import DescriptorModels
    from model.baselines.carried_rows import LabelledRows
    from model.graphs.graph import GraphSettings
    from model.network.heads import HeadsConfig
    from model.network.network import NetworkConfig
    from model.training.checkpoint import Scaler, TrainedModel
    from model.training.inputs import Network

LAST_CONVOLUTIONS = 2
"""Convolutions, counted from the last, of which some maps learn with "all-but-nodes" and "all-but-edges"."""

_BODY = ("embed.", "bonds.", "convolutions.", "pooling.")
_NODE_MAPS = ("centre", "neighbour", "norm_edges", "norm_sum")
_EDGE_MAPS = ("edge", "norm_edges", "norm_sum")


@dataclass(frozen=True)
class Held:
    """Parameters of a `SurfaceNetwork` that are held."""

    parts: tuple[str, ...] = ()  # beginnings of their names
    free: tuple[str, ...] = ()  # parts of the last convolutions that learn all the same
    last_layer: bool = False  # all but the last layer of each head is held, whatever its name

    def holds(self, name: str, config: NetworkConfig | CompositionConfig) -> bool:
        """Whether the parameter of this name is held."""
        if self.last_layer:
            return not name.startswith("heads.") or int(name.split(".")[2]) < 2 * config.head_layers
        if isinstance(config, CompositionConfig):
            return False  # see `check_start`
        if name.startswith("convolutions.") and self.free:
            _, number, part, *_ = name.split(".")
            if int(number) >= config.convolutions - LAST_CONVOLUTIONS and part in self.free:
                return False
        return name.startswith(self.parts)


FREEZE: dict[str, Held] = {
    "none": Held(),
    "embedding": Held(("embed.",)),
    "convolutions": Held(_BODY[:3]),
    "body": Held(_BODY),
    "all-but-nodes": Held(_BODY[:3], _NODE_MAPS),
    "all-but-edges": Held(_BODY[:3], _EDGE_MAPS),
    "all-but-last": Held(last_layer=True),
}
"""What is held, by the name of the choice: up to a part of the network, or all but some of it."""


@dataclass(frozen=True)
class Adaptation:
    """What a fine-tuning does beside holding weights; by default nothing."""

    # a head that the pre-trained model lacks begins with that of the same quantity, else with its only one,
    # else with random weights, and is fitted to the training labels, see `model.training.fitted_heads`
    carry_heads: bool = False
    reset_shared: bool = False  # reinitialise the shared layers after pooling, too
    # learning rate of each convolution (and of the embedding) as a share of that of the part after it:
    # discriminative rates of Howard and Ruder (ACL 2018, arXiv:1801.06146)
    layer_decay: float = 1.0
    # epochs after which each next part learns, from the heads down to the embedding (gradual unfreezing of
    # the same paper); 0: all at once
    gradual: int = 0

    def plain(self) -> dict[str, Any]:
        """Return what differs from the default."""
        usual = asdict(Adaptation())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    @property
    def by_layer(self) -> bool:
        """Whether parts of the network learn at different rates."""
        return self.layer_decay != 1 or self.gradual > 0

    def rate_share(self, steps_down: int, epoch: int) -> float:
        """Share of the learning rate of parameters so many parts below the heads, in an epoch from 0."""
        if epoch < self.gradual * steps_down:
            return 0.0
        return self.layer_decay**steps_down


@dataclass(frozen=True, eq=False)
class Start:
    """Where a training begins."""

    model: TrainedModel  # whose weights are taken
    # a key of `FREEZE`: these weights, and the running statistics of their norms, stay as they are
    freeze: str = "none"
    reset_heads: bool = False  # reinitialise the output heads of all targets
    adaptation: Adaptation = field(default_factory=Adaptation)
    # trees and process beside the model, by kind of structure
    descriptor_models: Mapping[str, DescriptorModels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an unknown choice."""
        if self.freeze not in FREEZE:
            raise InputError(f"--freeze {self.freeze}: unknown; choose {', '.join(FREEZE)}")

    @property
    def rows(self) -> dict[str, LabelledRows]:
        """Labelled structures that trees and process of the model carry, by kind."""
        return {kind: one.rows for kind, one in self.descriptor_models.items() if one.rows is not None}

    def about(self) -> dict[str, Any]:
        """Distinguish it from other starts: plain values, the weights as a hash."""
        return {
            "model": weights_key([self.model]),
            "freeze": self.freeze,
            "reset_heads": self.reset_heads,
            **self.adaptation.plain(),
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
    start: Start, config: HeadsConfig, elements: torch.Tensor, graph_settings: GraphSettings
) -> None:
    """Refuse a pre-trained model that does not fit the network, element features or graphs to be trained.

    Raises
    ------
    InputError
        Naming what differs: parts of the network, element features, or graphs; and for a network of
        compositions if it is to be adapted part by part.
    """
    if isinstance(config, CompositionConfig) and (start.freeze != "none" or start.adaptation.by_layer):
        raise InputError(
            "--freeze and rates by layer are for networks of slabs and crystals; leave them out here"
        )
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


def load_pretrained_weights(network: Network, scaler: Scaler, start: Start) -> None:
    """Copy the weights of `start` into a new network that `check_start` let pass, and hold the frozen ones.

    `scaler` is of its labels: kept heads predict the same as before in the targets' units.
    """
    source = start.model.network
    left_out = ("heads.", "shared.") if start.adaptation.reset_shared else ("heads.",)
    weights = {name: value for name, value in source.state_dict().items() if not name.startswith(left_out)}
    for new, name in enumerate(network.config.targets):
        classes = network.config.class_names().get(name, ())
        old = source_head(start, name, classes)
        if old is None:
            continue
        theirs = start.model.targets[old]
        head, known = network.heads[head_key(name)], source.heads[head_key(theirs)]
        if start.model.class_names.get(theirs, ()) != classes:  # the last layer has another meaning
            head[:-1].load_state_dict(known[:-1].state_dict())  # type: ignore[index]  # Sequentials
            continue
        head.load_state_dict(known.state_dict())
        if quantity_of(name) == quantity_of(theirs):
            _rescale(
                head[-1],  # type: ignore[index]  # a Sequential
                (start.model.scaler.mean[old], start.model.scaler.std[old]),
                (scaler.mean[new], scaler.std[new]),
            )
    network.load_state_dict(weights, strict=False)
    held = FREEZE[start.freeze]
    for name, value in network.named_parameters():
        value.requires_grad_(not held.holds(name, network.config))


def source_head(start: Start, target: str, classes: tuple[str, ...]) -> int | None:
    """Return the number of the pre-trained head that a target begins with; None: random weights.

    Where heads are carried (`Adaptation.carry_heads`) it may be of other classes, or of classes for a
    quantity and the other way round: then its hidden layers count.
    """
    targets = start.model.targets
    if start.reset_heads:
        return None
    if target in targets:
        same = start.model.class_names.get(target, ()) == classes
        return targets.index(target) if same or start.adaptation.carry_heads else None
    if not start.adaptation.carry_heads:
        return None
    alike = [i for i, name in enumerate(targets) if quantity_of(name) == quantity_of(target)]
    return alike[0] if alike else 0 if len(targets) == 1 else None


def steps_below_heads(network: Network) -> dict[nn.Parameter, int]:
    """Count parts from the heads down to each parameter: 0 from pooling on, then a step a convolution."""
    if not isinstance(network, SurfaceNetwork):
        return {}  # see `check_start`
    below = [*network.embed.parameters()]
    if network.bonds is not None:
        below += network.bonds.parameters()
    steps = dict.fromkeys(below, network.config.convolutions + 1)
    for number, convolution in enumerate(network.convolutions):
        steps |= dict.fromkeys(convolution.parameters(), network.config.convolutions - number)
    return steps


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
