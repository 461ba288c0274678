"""Trained models in files: configuration as JSON, numbers as tensors, no pickled code."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import torch

from model.code_version import version_of
from model.graph import GraphSettings
from model.network import NetworkConfig, SurfaceNetwork
from model.scaling import Scaler
from model.tensor_files import read_tensors, write_tensors
from model.trained import TrainedModel
from stores.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "mgsurf model 1"
_MISFITS = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, RuntimeError, InputError)

LIBRARIES = ("mgsurf", "torch", "numpy", "pymatgen")


def save_model(model: TrainedModel, path: Path) -> None:
    """Write a trained model; the file holds all that `load_model` needs.

    The element features are a buffer of the network and travel with its weights.
    """
    about = {
        "network": asdict(model.network.config),
        "graph": asdict(model.graph_settings),
        "scaler": asdict(model.scaler),
        "training": model.training,
        "training_hash": model.training_hash,
        "training_elements": model.training_elements,
        "history": model.history,
        "versions": {name: version_of(name) for name in LIBRARIES},
    }
    write_tensors(path, {"format": FORMAT, "about": json.dumps(about), "weights": model.network.state_dict()})


def load_model(path: Path, sha256: str | None = None) -> TrainedModel:
    """Read a trained model.

    Parameters
    ----------
    path
        The file.
    sha256
        That it must have, see `model.tensor_files.read_tensors`.

    Raises
    ------
    InputError
        If the file is missing, cut off, foreign, of a later format, or its parts do not fit together.
    """
    content = read_tensors(path, sha256=sha256)
    if content.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a model of this version of mgsurf (format {content.get('format')!r}, "
            f"expected {FORMAT!r}): name a model that mgsurf train wrote"
        )
    try:
        about = json.loads(content["about"])
        config = NetworkConfig(**_without_descriptors(_tuples(about["network"], "targets")))
        weights = content["weights"]
        _check_sizes(about["network"], weights)
        if not math.isfinite(sum(float(value.sum()) for value in weights.values())):
            raise ValueError("it has weights that are not finite")
        network = SurfaceNetwork(config, torch.zeros_like(weights["elements"]))
        network.load_state_dict(weights)
        return TrainedModel(
            network=network.eval(),
            scaler=_scaler(about["scaler"], len(config.targets)),
            graph_settings=GraphSettings(**_known(about["graph"])),
            training=about["training"],
            training_hash=about["training_hash"],
            training_elements=tuple(about["training_elements"]),
            history=tuple(about["history"]),
        )
    except _MISFITS as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(f"{path} does not fit together ({reason}): train it again") from error


def _check_sizes(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Refuse sizes that no weight has, before a network of that size is made: it could take any memory.

    Raises
    ------
    ValueError
        Naming the setting.
    """
    largest = max(len(weights), *(size for value in weights.values() for size in value.shape))
    for name, value in config.items():
        if isinstance(value, int) and value > largest:
            raise ValueError(f"its weights are smaller than {name} {value}")


def _scaler(values: dict[str, list[float]], targets: int) -> Scaler:
    mean, std = (tuple(float(value) for value in values[name]) for name in ("mean", "std"))
    if not len(mean) == len(std) == targets or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise ValueError("its scales are damaged")
    return Scaler(mean, std)


def _tuples(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Give fields that JSON turned into lists their type back."""
    return {name: tuple(value) if name in names else value for name, value in values.items()}


def _without_descriptors(config: dict[str, Any]) -> dict[str, Any]:
    """Networks of `best` once took descriptors (`model.descriptors`) beside the pooled nodes."""
    if config.pop("descriptors", "none") != "none":
        raise ValueError("its network takes descriptors, as none does in this version")
    return config


def _known(values: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(GraphSettings)}
    if unknown := set(values) - known:
        raise ValueError(f"graph settings {', '.join(sorted(unknown))} are not known to this version")
    usual = asdict(GraphSettings())
    for name, value in values.items():
        is_flag = isinstance(usual[name], bool)
        if isinstance(value, bool) != is_flag or not isinstance(value, (int, type(usual[name]))):
            raise ValueError(f"graph setting {name} {value!r}")
        if not 0 <= value < math.inf:
            raise ValueError(f"graph setting {name} {value!r}")
    return values
