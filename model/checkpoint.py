"""Trained models in files: configuration as JSON, numbers as tensors, no pickled code."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import torch

from model.code_version import version_of
from model.graph import GraphSettings
from model.network import NetworkConfig, SurfaceNetwork
from model.run_folder import read_tensors, write_tensors
from model.scaling import Scaler
from model.trained import TrainedModel
from stores.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "mgsurf model 1"
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


def load_model(path: Path) -> TrainedModel:
    """Read a trained model.

    Raises
    ------
    InputError
        If the file is missing, cut off, foreign, of a later format, or its parts do not fit together.
    """
    content = read_tensors(path)
    if content.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a model of this version of mgsurf (format {content.get('format')!r}, "
            f"expected {FORMAT!r}): name a model that mgsurf train wrote"
        )
    try:
        about = json.loads(content["about"])
        config = NetworkConfig(**_without_descriptors(_tuples(about["network"], "targets")))
        weights = content["weights"]
        network = SurfaceNetwork(config, torch.zeros_like(weights["elements"]))
        network.load_state_dict(weights)
        return TrainedModel(
            network=network.eval(),
            scaler=Scaler(**_tuples(about["scaler"], "mean", "std")),
            graph_settings=GraphSettings(**_known(about["graph"])),
            training=about["training"],
            training_hash=about["training_hash"],
            training_elements=tuple(about["training_elements"]),
            history=tuple(about["history"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError, InputError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(f"{path} does not fit together ({reason}): train it again") from error


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
    return values
