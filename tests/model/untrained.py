"""Ensembles that were never trained, for tests of what is done with predictions: quick to make."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from model.evaluation.calibration import Calibration
from model.evaluation.familiarity import TrainingMap
from model.graphs.element_features import cgcnn_features
from model.graphs.graph import GraphSettings
from model.network.network import NetworkConfig, SurfaceNetwork
from model.training.checkpoint import Scaler, TrainedModel
from model.training.ensemble import Ensemble

if TYPE_CHECKING:
    from pathlib import Path

TINY = NetworkConfig(targets=("surface_energy", "work_function"), embedding=8, convolutions=1, hidden=8)


def untrained(
    members: int = 2,
    seed: int = 0,
    targets: tuple[str, ...] = TINY.targets,
    elements: tuple[str, ...] = ("Ag", "Mg"),
    calibration: Calibration | None = None,
    pooling: str = TINY.pooling,
) -> Ensemble:
    """Return an ensemble whose predictions lie about usual values and differ from slab to slab."""
    table = torch.from_numpy(cgcnn_features().table)
    scaler = Scaler((0.05, 3.8)[: len(targets)], (0.2, 5.0)[: len(targets)])
    made = []
    for k in range(members):
        torch.manual_seed(seed + 100 * k)
        network = SurfaceNetwork(replace(TINY, targets=targets, pooling=pooling), table).eval()
        made.append(
            TrainedModel(network, scaler, GraphSettings(fold=True, min_thickness=20.0), {}, "", elements, ())
        )
    points = torch.randn(60, TINY.hidden, generator=torch.Generator().manual_seed(seed))
    tells = calibration or Calibration(1.0, 1e-4, 1e-6, 1.0, 100)
    return Ensemble(
        tuple(made),
        dict.fromkeys(targets, tells),
        TrainingMap.of(points[:40], points[40:], range(40)),
        elements,
    )


def without_checksums(folder: Path, **changes: object) -> None:
    """Turn a manifest into one of an older version, whose checksums do not stand in the way of `changes`."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    kept = {name: value for name, value in manifest.items() if name not in ("checksum", "sha256")}
    path.write_text(json.dumps(kept | changes, indent=2) + "\n")
