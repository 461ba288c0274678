"""Trained networks and their files: configuration as JSON, numbers as tensors, no pickled code."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from model.foundation.potential import WEIGHTS
from model.graphs.graph import GraphSettings
from model.training.inputs import config_of, make_network, pack
from model.training.tensor_files import read_tensors, write_tensors
from stores import cgcnn_elements
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Dataset
    from model.training.inputs import Inputs, Network, Packed


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of each target on the training set, in the target's unit."""

    # mean, std: T numbers in the order of the network's targets
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, values: torch.Tensor, names: Sequence[str], classes: Collection[str] = ()) -> Self:
        """Take mean and deviation of the labels `values` [n, T] float64, NaN where there is no label.

        Labels of `classes` are places in a list and stay as they are.

        Raises
        ------
        InputError
            If a target has no label in the training set.
        """
        known = ~values.isnan()
        counts = known.sum(0)
        for name, count in zip(names, counts.tolist(), strict=True):
            if count == 0:
                raise InputError(
                    f"target {name!r} has no label in the training set: leave it out or add data"
                )
        filled = torch.where(known, values, 0.0)
        mean = filled.sum(0) / counts
        std = (torch.where(known, filled - mean, 0.0).square().sum(0) / counts).sqrt()
        std = torch.where(std > 0, std, 1.0)  # one label, or all equal: any scale will do
        for t, name in enumerate(names):
            if name in classes:
                mean[t], std[t] = 0.0, 1.0
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def scale(self, values: torch.Tensor) -> torch.Tensor:
        """Turn targets [n, T] in their units into standardised ones (float32)."""
        mean, std = self._tensors(values)
        return ((values.double() - mean) / std).float()

    def unscale(self, values: torch.Tensor) -> torch.Tensor:
        """Turn standardised values [n, T] into ones with units (float64)."""
        mean, std = self._tensors(values)
        return values.double() * std + mean

    def _tensors(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            torch.tensor(self.mean, dtype=torch.float64, device=like.device),
            torch.tensor(self.std, dtype=torch.float64, device=like.device),
        )


def target_matrix(dataset: Dataset, names: Sequence[str]) -> torch.Tensor:
    """Labels of a data set: [n, T] float64, NaN where there is none."""
    rows = [[entry.targets.get(name) for name in names] for entry in dataset]
    values = [[float("nan") if value is None else value for value in row] for row in rows]
    return torch.tensor(values, dtype=torch.float64).reshape(len(rows), len(names))


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained network with all that a prediction needs, and its provenance."""

    # with the weights that were best on validation, in evaluation mode, on the processor
    network: Network
    scaler: Scaler  # of the targets, from the training set
    graph_settings: GraphSettings  # that graphs must be built with
    training: dict[str, Any]  # settings of the training, split and its seed
    training_hash: str  # of the training set: graphs and labels
    training_elements: tuple[str, ...]  # symbols that occur in the training set
    history: tuple[dict[str, Any], ...]  # one line per epoch, see `model.training.train.Epoch`

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return self.network.config.targets

    @property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """What the training labels of each target are of, see `training_kinds`: slab, bulk, composition."""
        stated = self.training.get("kinds", {})
        return {name: tuple(stated.get(name, ("slab",))) for name in self.targets}

    @property
    def units(self) -> dict[str, str]:
        """Units of targets other than surface energy and work function, where known."""
        return dict(self.training.get("units", {}))

    def predict(self, graphs: Inputs) -> dict[str, NDArray[np.float64]]:
        """Predict the quantities, [n] by target, from compositions, or graphs built with `graph_settings`."""
        if not graphs:
            standardised = torch.zeros(0, list(self.network.config.columns().values())[-1].stop)
        else:
            device = next(self.network.parameters()).device
            standardised = predict_packed(self.network, pack(self.network.config, graphs, device))
        return self.quantities(standardised.cpu())

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the numeric columns of compositions, in their order; none for structures."""
        return tuple(getattr(self.network.config, "extras", ()))

    @property
    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Names of the classes of those targets that are no quantities."""
        return self.network.config.class_names()

    def quantities(self, output: torch.Tensor) -> dict[str, NDArray[np.float64]]:
        """Return the values [n] of the targets that are quantities from the network's output [n, W]."""
        classes, found = self.class_names, {}
        for t, (name, place) in enumerate(self.network.config.columns().items()):
            if name not in classes:
                values = output[:, place.start].double() * self.scaler.std[t] + self.scaler.mean[t]
                found[name] = values.numpy()
        return found

    def probabilities(self, output: torch.Tensor) -> dict[str, NDArray[np.float64]]:
        """Return the probability of each class [n, K], by target, from the network's output [n, W]."""
        columns = self.network.config.columns()
        return {name: output[:, columns[name]].double().softmax(dim=1).numpy() for name in self.class_names}


def training_kinds(train_part: Dataset, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what a model keeps about kinds, unless all are slabs, and units, where known, of its labels."""
    kinds = {
        name: sorted({entry.kind for entry in train_part if entry.targets.get(name) is not None})
        for name in names
    }
    units = {name: train_part.units[name] for name in names if name in train_part.units}
    return {
        **({"kinds": kinds} if any(set(found) - {"slab"} for found in kinds.values()) else {}),
        **({"units": units} if units else {}),
    }


def predict_packed(network: Network, graphs: Packed) -> torch.Tensor:
    """Compute the outputs [n, W] in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in graphs.in_order()])


FORMAT = "mgsurf model 1"
_MISFITS = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, RuntimeError, InputError)

LIBRARIES = ("mgsurf", "torch", "numpy", "pymatgen")


def save_model(model: TrainedModel, path: Path) -> None:
    """Write a trained model; the file holds all that `load_model` needs.

    The element features are a buffer of the network and travel with its weights.
    """
    about = {
        "network": model.network.config.plain(),
        "graph": model.graph_settings.plain(),
        "scaler": asdict(model.scaler),
        "training": model.training,
        "training_hash": model.training_hash,
        "training_elements": model.training_elements,
        "history": model.history,
        "versions": {name: version_of(name) for name in LIBRARIES},
    }
    write_tensors(path, {"format": FORMAT, "about": json.dumps(about), "weights": model.network.state_dict()})


def load_model(path: Path, sha256: str | None = None) -> TrainedModel:
    """Read a trained model; `sha256`: see `model.training.tensor_files.read_tensors`.

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
        weights = content["weights"]
        _check_sizes(about["network"], weights)
        config = config_of(about["network"])
        if not math.isfinite(sum(float(value.sum()) for value in weights.values())):
            raise ValueError("it has weights that are not finite")
        network = make_network(config, torch.zeros_like(weights["elements"]))
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
    """Refuse sizes that no weight has, before a network of that size is made: it could take any memory."""
    largest = max(len(weights), *(size for value in weights.values() for size in value.shape))
    for name, value in config.items():
        if isinstance(value, int) and value > largest:
            raise ValueError(f"its weights are smaller than {name} {value}")


def _scaler(values: dict[str, list[float]], targets: int) -> Scaler:
    mean, std = (tuple(float(value) for value in values[name]) for name in ("mean", "std"))
    if not len(mean) == len(std) == targets or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise ValueError("its scales are damaged")
    return Scaler(mean, std)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(GraphSettings)}
    if unknown := set(values) - known:
        raise ValueError(f"graph settings {', '.join(sorted(unknown))} are not known to this version")
    usual = asdict(GraphSettings())
    for name, value in values.items():
        if name == "potential":
            if value not in ("", *WEIGHTS):
                raise ValueError(f"graph setting {name} {value!r} is not known to this version")
            continue
        is_flag = isinstance(usual[name], bool)
        if isinstance(value, bool) != is_flag or not isinstance(value, (int, type(usual[name]))):
            raise ValueError(f"graph setting {name} {value!r}")
        if not 0 <= value < math.inf:
            raise ValueError(f"graph setting {name} {value!r}")
    return values


RUN_LIBRARIES = ("torch", "numpy", "scipy", "pymatgen")
"""Those whose version may change the weights that a training ends with."""


@cache
def written_by(code: object) -> str:
    """Describe the version that wrote something, beside this one where they differ; empty if they do not."""
    if code == (here := code_version()):
        return ""
    return f"written by {f'mgsurf {code}' if code else 'an older mgsurf'}, this is {here}"


@cache
def code_version() -> str:
    """Return the version of mgsurf and a hash of the model's source text, such as ``0.3.0+3fa94c1d``.

    The version alone would not tell two states of a working copy apart.
    """
    digest = hashlib.sha256()
    for file in (*sorted(Path(__file__).parents[1].rglob("*.py")), Path(cgcnn_elements.__file__)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{version_of('mgsurf')}+{digest.hexdigest()[:8]}"


def library_versions() -> dict[str, str]:
    """Return the versions of `RUN_LIBRARIES` and of Python."""
    import platform

    return {"python": platform.python_version(), **{name: version_of(name) for name in RUN_LIBRARIES}}


def version_of(name: str) -> str:
    """Return the version of an installed package, or that it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
