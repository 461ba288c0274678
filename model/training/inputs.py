"""The one place where training tells slabs and crystals from compositions: packing, network, image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from model.compositions.batch import CompositionBatch, WithFeatures
from model.compositions.composition import PlainComposition
from model.compositions.image import property_cells
from model.graphs.batch import PackedGraphs
from model.graphs.bulk_graph import BulkGraph
from model.network.composition_network import CompositionConfig, CompositionNetwork
from model.network.network import NetworkConfig, SurfaceNetwork
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.data.model_input import ModelInput
    from model.network.heads import HeadsConfig

    Config = NetworkConfig | CompositionConfig
    Network = SurfaceNetwork | CompositionNetwork
    Inputs = Sequence[ModelInput]
    Packed = PackedGraphs | CompositionBatch


def is_composition(config: HeadsConfig) -> bool:
    """Whether a network of these settings sees compositions."""
    return isinstance(config, CompositionConfig)


def check_kind(config: HeadsConfig, inputs: Inputs, where: str) -> None:
    """Refuse inputs of a kind that a network does not see, naming another preset."""
    wanted = is_composition(config)
    if any(isinstance(one, PlainComposition) != wanted for one in inputs):
        raise InputError(
            f"{where} are of structures, but the preset is one of compositions: choose --preset best"
            if wanted
            else f"{where} are of compositions, but the preset is one of structures: choose --preset mcvn"
        )
    if getattr(config, "edges", "") == "angles":
        if any(not isinstance(one, BulkGraph) for one in inputs):
            raise InputError(
                f"{where} are of slabs, but the preset is one of bulk crystals: choose --preset best"
            )
        if any(one.line is None for one in inputs if isinstance(one, BulkGraph)):
            raise InputError("setting network.edges angles: needs the setting graph.angles true as well")


def pack(config: HeadsConfig, inputs: Inputs, device: torch.device | str = "cpu") -> Packed:
    """Put inputs (at least one) of a network with these settings side by side on a device."""
    kind: Any = CompositionBatch if is_composition(config) else PackedGraphs
    packed: Packed = kind.of(inputs, device)
    return packed


def shared_inputs(config: HeadsConfig, inputs: Any) -> Any:
    """Return inputs that network and trees share what they compute of: features of compositions."""
    return WithFeatures(inputs) if is_composition(config) else inputs


def make_network(config: Config, elements: torch.Tensor) -> Network:
    """Make the network of these settings with random weights; elements: [Z + 1, F]."""
    if isinstance(config, CompositionConfig):
        return CompositionNetwork(config, elements)
    return SurfaceNetwork(config, elements)


def learn_inputs(network: Network, training: Packed) -> None:
    """Let a network of compositions learn its scales and its image from those of the training set."""
    if isinstance(network, CompositionNetwork):
        assert isinstance(training, CompositionBatch)
        network.learn_inputs(training, image_cells(network.config, training))


def image_cells(config: CompositionConfig, training: CompositionBatch) -> torch.Tensor:
    """Return the cell of each property in the image of a network: [P]."""
    layout = "expert" if config.image == "none" else config.image
    return torch.from_numpy(property_cells(training.features.cpu().numpy(), layout))


def config_of(values: dict[str, Any]) -> Config:
    """Read the settings of a network of either kind from a file.

    Raises KeyError, TypeError or ValueError if they are damaged.
    """
    # networks of `best` once took descriptors (`model.baselines.descriptors`) beside the pooled nodes
    if values.pop("descriptors", "none") != "none":
        raise ValueError("its network takes descriptors, as none does in this version")
    kind = values.pop("input", "graph")
    if kind not in ("graph", "composition"):
        raise ValueError(f"its network sees inputs {str(kind)[:40]!r}, which this version does not know")
    classes = tuple(tuple(str(name) for name in names) for names in values.get("classes", ()))
    if classes and len(classes) != len(values["targets"]):
        raise ValueError("its classes are not those of its targets")
    values = {**values, "targets": tuple(values["targets"]), "classes": classes}
    if kind == "graph":
        return NetworkConfig(**values)
    return CompositionConfig(**{**values, "extras": tuple(str(name) for name in values["extras"])})
