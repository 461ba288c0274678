"""Slab graphs of a few atoms with random wiring, for tests of the network alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from model.data.dataset import Dataset, Entry
from model.graphs.element_features import FEATURES, ElementFeatures
from model.graphs.graph import GraphSettings, SlabGraph
from model.network.network import NetworkConfig
from model.training.presets import Preset, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

N_FEATURES = 7


def tiny_graph(seed: int, *, fixed_degree: int | None = None, multiple: bool = False) -> SlabGraph:
    """3 to 8 nodes, 1 to 6 edges each; with random multiplicities if requested."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 9))
    degrees = np.full(n, fixed_degree) if fixed_degree else rng.integers(1, 7, n)
    e = int(degrees.sum())
    return SlabGraph(
        numbers=rng.choice([12, 30, 47], n).astype(np.int16),
        depth=rng.uniform(0, 9, n).astype(np.float32),
        thickness=18.0,
        area=20.0 + seed % 7,
        offsets=np.concatenate([[0], np.cumsum(degrees)]).astype(np.int32),
        neighbours=rng.integers(0, n, e).astype(np.int32),
        distances=rng.uniform(2.2, 5.0, e).astype(np.float32),
        cosines=rng.uniform(-1, 1, e).astype(np.float32),
        multiplicity=(rng.integers(1, 5, n) if multiple else np.ones(n)).astype(np.float32),
        edge_multiplicity=(rng.integers(1, 4, e) if multiple else np.ones(e)).astype(np.float32),
        identity=f"{seed}",
        signature=np.zeros(1, dtype=np.float32),
    )


def tiny_elements() -> torch.Tensor:
    """[101, 7], random and always the same."""
    return torch.rand(101, N_FEATURES, generator=torch.Generator().manual_seed(5))


def _tiny_features() -> ElementFeatures:
    table = tiny_elements().numpy()
    return ElementFeatures("tiny", tuple("abcdefg"), table, np.ones(table.shape, dtype=bool))


FEATURES["tiny"] = _tiny_features


def tiny_preset(
    training: TrainingConfig, network: NetworkConfig | None = None, features: str = "tiny", trees: int = 0
) -> Preset:
    """Return settings for graphs as `GraphSettings` has them by default."""
    return Preset("tiny", "", GraphSettings(), features, network or tiny_config(), training, trees)


def tiny_config(**changes: object) -> NetworkConfig:
    """Return a small network for two targets."""
    values = {
        "targets": ("surface_energy", "work_function"),
        "element_features": N_FEATURES,
        "embedding": 8,
        "hidden": 12,
        "hidden_layers": 2,
        "convolutions": 2,
        **changes,
    }
    return NetworkConfig(**values)  # type: ignore[arg-type]


def tiny_dataset(n: int = 40, missing: Sequence[int] = ()) -> Dataset:
    """Labels that depend on the atoms near the surface; `missing` lack the work function."""
    entries = []
    for i in range(n):
        graph = tiny_graph(i)
        near = np.exp(-graph.depth)
        value = float((near * graph.numbers).sum() / near.sum())
        targets = {"surface_energy": value / 500, "work_function": None if i in missing else 3 + value / 40}
        entries.append(Entry(str(i), graph, targets, "MgX", "Mg-X", ("Mg", "Zn"), str(i), i))
    return Dataset(tuple(entries), ("surface_energy", "work_function"))
