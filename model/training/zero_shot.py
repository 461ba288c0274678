"""A universal potential's own surface energies as a baseline beside trainings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.splits import PARTS
from model.evaluation.calibration import NORMAL_QUANTILE
from model.evaluation.metrics import Predictions, evaluate, labels, total_loss
from model.foundation.features import feature_names
from model.graphs.graph import SlabGraph
from model.training.presets import find_preset
from model.training.runs import data_key, enough_labels, make_split
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.data.dataset import Dataset
    from model.training.runs import Datasets, RunSettings

PRESET = "best-foundation"  # whose graphs carry the potential's numbers
TARGET = "surface_energy"


def zero_shot_runs(datasets: Datasets, runs: Sequence[RunSettings]) -> list[dict[str, Any]]:
    """Judge the potential on the sets of some trainings, as a training is judged.

    Parameters
    ----------
    datasets
        Returns the labelled slabs.
    runs
        Seeds, folds and shares of the training set; presets are ignored, and each division counts once.

    Returns
    -------
    list of dict
        What `model.training.ablation.table` takes: for each division the surface energy as it is (no label is
        looked at) and after a straight line fitted to the training set.

    Raises
    ------
    InputError
        If the potential is not installed or no slab has a surface energy.
    """
    preset = find_preset(PRESET)
    targets = runs[0].targets or preset.network.targets
    # with the slabs that have other labels only: without them the sets would be others than the trainings'
    whole = datasets(preset.graph, targets)
    dataset = whole.subset([i for i, e in enumerate(whole) if any(v is not None for v in e.targets.values())])
    raw = surface_energies(dataset)
    true = np.where(np.isfinite(raw), labels(dataset, TARGET), np.nan)
    if not np.isfinite(true).any():
        raise InputError("--zero-shot: no slab has a surface energy to compare with; leave it out")
    name = preset.graph.potential
    found = []
    for settings in {(run.seed, run.fold, run.train_fraction): run for run in runs}.values():
        split = make_split(dataset, settings)
        enough_labels(dataset, split, (TARGET,))
        train, val = ([i for i in split.part(part) if np.isfinite(true[i])] for part in ("train", "val"))
        slope, offset = np.polyfit(raw[train], true[train], 1)
        for label, values in ((name, raw), (f"{name}, line", slope * raw + offset)):
            # nine tenths of the validation errors are smaller
            sigma = float(np.quantile(np.abs(values - true)[val], 0.9)) / NORMAL_QUANTILE
            predicted = Predictions(
                {TARGET: values}, {TARGET: np.full(len(dataset), sigma)}, np.zeros(len(dataset))
            )
            metrics = evaluate(dataset, split, predicted)
            found.append(
                {
                    "settings": replace(settings, preset=label, members=1, epochs=None).plain(),
                    "data": data_key(dataset),
                    "sizes": {part: len(split.part(part)) for part in PARTS},
                    "metrics": metrics,
                    "total_loss": total_loss(metrics, {TARGET: float(true[train].std())}),
                    "seconds": 0.0,
                }
            )
    return found


def surface_energies(dataset: Dataset) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the potential's surface energy of each slab (eV/A^2): [n]."""
    column = feature_names().index("surface energy")
    values = [entry.graph.potential if isinstance(entry.graph, SlabGraph) else None for entry in dataset]
    return np.array([np.nan if own is None else own[column] for own in values], dtype=np.float64)
