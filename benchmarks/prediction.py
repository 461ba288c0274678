"""Prediction, from pymatgen slabs to numbers with uncertainty and warnings: slabs a second.

Networks are untrained, which costs the same; trees and Gaussian process of `best` are grown on random labels
of 1,756 slabs. Wall time tells something on an idle machine only; CPU time of this process and of those
it starts is printed beside it.

    .venv/bin/python -m benchmarks.prediction slabs.json.gz [--members 5] [--workers 2] [--slabs 1200]
    .venv/bin/python -m benchmarks.prediction slabs.json.gz --model model/    # a trained one
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.graphs import own_slabs, shared_slabs
from model.baselines.blend import DescriptorModels, TargetModels
from model.baselines.descriptors import descriptor_names
from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import GaussianProcess
from model.evaluation.calibration import Calibration
from model.evaluation.chunks import MANY
from model.evaluation.familiarity import TrainingMap
from model.evaluation.prediction import Candidate, predict_slabs
from model.graphs.element_features import FEATURES
from model.graphs.slab_frame import PlainSlab
from model.network.network import SurfaceNetwork
from model.training.checkpoint import Scaler, TrainedModel
from model.training.ensemble import Ensemble
from model.training.ensemble_files import load_ensemble
from model.training.presets import Preset, find_preset


def untrained(name: str, members: int) -> Ensemble:
    preset = find_preset(name)
    table = torch.from_numpy(FEATURES[preset.features]().table)
    elements = tuple(FEATURES[preset.features]().names)
    n = len(preset.network.targets)
    trained = tuple(
        TrainedModel(
            SurfaceNetwork(preset.network, table).eval(), Scaler((0.0,) * n, (1.0,) * n), preset.graph,
            {}, "", elements, (),
        )
        for _ in range(members)
    )  # fmt: skip
    points = torch.randn(1756, preset.network.hidden)
    training_map = TrainingMap.of(points, points[:500], range(len(points)))
    calibration = {target: Calibration(1.0, 1.0, 1.0, 1.0, 500) for target in preset.network.targets}
    return Ensemble(
        trained,
        calibration,
        training_map,
        elements,
        {"slab": descriptor_models(preset)} if preset.trees else {},
    )


def descriptor_models(preset: Preset) -> DescriptorModels:
    """Grow trees and process on random labels of random descriptors, as many as the Mg set has."""
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(1756, len(descriptor_names()))).astype(np.float32)
    models = {}
    for name in preset.network.targets:
        targets = rng.normal(size=1756)
        forest = Forest.fit(descriptors, targets, preset.trees, seed=0)
        assert forest is not None
        process = GaussianProcess.fit(descriptors, targets, seed=0)[0]
        models[name] = TargetModels(forest, process, (1 / 3, 1 / 3, 1 / 3))
    return DescriptorModels(models)


def cpu_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="slabs.json.gz; else slabs cut here")
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slabs", type=int, default=1200)
    parser.add_argument("--model", type=Path, help="a trained model instead of the untrained ones")
    options = parser.parse_args()
    slabs = shared_slabs(options.data) if options.data else own_slabs()
    slabs = (slabs * (options.slabs // len(slabs) + 1))[: options.slabs]
    for name in ("sem-cgcnn", "best") if options.model is None else (str(options.model),):
        ensemble = untrained(name, options.members) if options.model is None else load_ensemble(options.model)
        first = [Candidate(str(i), PlainSlab.from_structure(s), "") for i, s in enumerate(slabs[:MANY])]
        predict_slabs(ensemble, first)  # reading compiled code is nobody's time
        for workers in sorted({1, options.workers}):
            wall, cpu = time.perf_counter(), cpu_seconds()
            found, _ = predict_slabs(
                ensemble,
                (Candidate(str(i), PlainSlab.from_structure(s), "") for i, s in enumerate(slabs)),
                workers=workers,
            )
            wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
            print(
                f"{name}, {len(ensemble.members)} member(s), {workers} worker(s): "
                f"{len(found) / wall:.0f} slabs/s, "
                f"CPU {1000 * cpu / len(found):.1f} ms a slab",
                flush=True,
            )


if __name__ == "__main__":
    main()
