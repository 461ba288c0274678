"""Scan of the depth down to which atoms belong to the surface: one training of `sem-cgcnn` for each.

Figure S3 of Shi et al., J. Magnesium and Alloys (2024), doi 10.1016/j.jma.2024.12.005.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.evaluation.metrics import mean_and_spread
from model.training.ablation import train_all
from model.training.presets import find_preset
from model.training.runs import RunSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from model.training.ablation import Step
    from model.training.runs import Datasets

PRESET = "sem-cgcnn"
DEPTH = "network.surface_threshold"
DEPTHS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
"""Depths (A); at 0 only the outermost atoms of each side are flagged."""

SECONDS = 2.5e-3
"""Of one core for a training slab and epoch of `sem-cgcnn`: 8 to 12 minutes for 1,756 slabs, 150 epochs."""


@dataclass(frozen=True)
class DepthScan:
    """Trainings that differ by depth and seed alone."""

    depths: tuple[float, ...] = DEPTHS  # A
    seeds: int = 1  # 0 to seeds - 1
    epochs: int | None = None  # instead of the preset's

    def runs(self) -> list[RunSettings]:
        """List the trainings, all depths with the first seed first."""
        return [
            RunSettings(PRESET, seed=seed, epochs=self.epochs, params={DEPTH: depth})
            for seed in range(self.seeds)
            for depth in self.depths
        ]

    def seconds(self, n_labelled: int, n_runs: int) -> float:
        """Estimate the time of one core (s) for so many trainings with 60 % of the labelled slabs."""
        epochs = self.epochs or find_preset(PRESET).training.epochs
        return SECONDS * 0.6 * n_labelled * epochs * n_runs


def folder_name(settings: RunSettings) -> str:
    """Name the folder of a training by its depth, seed and epochs."""
    parts = [f"depth-{settings.params[DEPTH]:g}", f"seed-{settings.seed}"]
    if settings.epochs is not None:
        parts.append(f"epochs-{settings.epochs}")
    return "-".join(parts)


def unfinished(plan: DepthScan, folder: Path) -> list[RunSettings]:
    """Return the trainings of a plan that the folder does not hold finished."""
    return [run for run in plan.runs() if not (folder / folder_name(run) / "run.json").is_file()]


def scan(
    datasets: Datasets, plan: DepthScan, folder: Path, progress: Callable[[Step], None] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run a plan; finished trainings of the folder are read, unfinished ones are resumed.

    Returns and callback as of `model.training.ablation.ablate`.
    """
    return train_all(datasets, plan.runs(), folder, folder_name, progress)


def is_of_scan(run: Mapping[str, Any]) -> bool:
    """Whether the content of a ``run.json`` belongs to a scan of the depth."""
    settings = run["settings"]
    return settings["preset"] == PRESET and set(settings["params"]) == {DEPTH}


def depth_curve(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return test and validation MAE against depth.

    Parameters
    ----------
    runs
        Contents of ``run.json`` of one scan.

    Returns
    -------
    list of dict
        ``target``, ``depth`` (A), ``runs``, ``epochs``, and ``val_mae``, ``val_spread``, ``test_mae``,
        ``test_spread`` in the target's unit: mean and standard deviation over seeds (None for one).
    """
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        for target in run["targets"]:
            groups[target, float(run["settings"]["params"][DEPTH])].append(run)
    points = []
    for (target, depth), members in sorted(groups.items()):
        point: dict[str, Any] = {
            "target": target,
            "depth": depth,
            "runs": len(members),
            "epochs": max(len(run["history"][0]) for run in members),
        }
        for part in ("val", "test"):
            found = mean_and_spread([run["metrics"][target][part]["mae"] for run in members])
            point |= {f"{part}_mae": found["mean"], f"{part}_spread": found["spread"]}
        points.append(point)
    return points
