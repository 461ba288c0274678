"""A trained network with all that a prediction needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from model.packing import PackedGraphs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.graph import GraphSettings, SlabGraph
    from model.network import SurfaceNetwork
    from model.scaling import Scaler


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """Network, scaler and provenance.

    Attributes
    ----------
    network
        With the weights that were best on validation, in evaluation mode, on the processor.
    scaler
        Of the targets, from the training set.
    graph_settings
        With which graphs must be built.
    training
        Settings of the training, split and its seed.
    training_hash
        Of the training set: graphs and labels.
    training_elements
        Symbols that occur in the training set.
    history
        One line per epoch, see `model.run_folder.Epoch`.
    """

    network: SurfaceNetwork
    scaler: Scaler
    graph_settings: GraphSettings
    training: dict[str, Any]
    training_hash: str
    training_elements: tuple[str, ...]
    history: tuple[dict[str, Any], ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return self.network.config.targets

    def predict(self, graphs: Sequence[SlabGraph]) -> dict[str, NDArray[np.float64]]:
        """Predict every target of slabs.

        Parameters
        ----------
        graphs
            Built with `graph_settings`.

        Returns
        -------
        dict
            [n] by target, in its unit.
        """
        if not graphs:
            standardised = torch.zeros(0, len(self.targets))
        else:
            standardised = predict_packed(self.network, self._packed(graphs))
        values = self.scaler.unscale(standardised.cpu()).numpy()
        return {name: values[:, i].copy() for i, name in enumerate(self.targets)}

    def embed(self, graphs: Sequence[SlabGraph]) -> NDArray[np.float32]:
        """Output of the last shared layer: [n, H], a place for each slab among those of the training."""
        if not graphs:
            return np.zeros((0, self.network.config.hidden), dtype=np.float32)
        packed = self._packed(graphs)
        self.network.eval()
        with torch.inference_mode():
            return torch.cat([self.network.trunk(batch) for batch in packed.in_order()]).cpu().numpy()

    def _packed(self, graphs: Sequence[SlabGraph]) -> PackedGraphs:
        device = next(self.network.parameters()).device
        return PackedGraphs.of(graphs, device)


def predict_packed(network: SurfaceNetwork, graphs: PackedGraphs) -> torch.Tensor:
    """Standardised predictions [n, T] in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in graphs.in_order()])
