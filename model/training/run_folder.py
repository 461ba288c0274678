"""The folder of one training: its state after each epoch and its history.

state.pt        everything needed to go on; replaced in one step, so that a kill never leaves half of it
history.jsonl   one line per epoch
events.*        the same as TensorBoard scalars, if tensorboard is installed

Which code and which libraries a model was trained with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.training.checked_json import write_text
from model.training.tensor_files import read_tensors, write_tensors
from stores import cgcnn_elements
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from model.data.dataset import Dataset


@dataclass(frozen=True)
class Epoch:
    """One line of the history.

    Attributes
    ----------
    epoch
        From 1.
    learning_rate
        At its end.
    loss
        Mean training loss of each target (standardised).
    val_mae
        Validation error of each target, in its unit; None where validation has no label.
    score
        What is minimised over epochs: mean over targets of the validation MAE in standard deviations.
    weights
        Of the balancer, by target.
    cosine
        Of the angle between the targets' gradients at the last shared layer, at the first step.
    seconds
        Of this epoch.
    """

    epoch: int
    learning_rate: float
    loss: dict[str, float]
    val_mae: dict[str, float | None]
    score: float
    weights: dict[str, float]
    cosine: float | None
    seconds: float


class RunFolder:
    """State and history of a training; does nothing without a folder.

    Parameters
    ----------
    folder
        Made if it does not exist; None: nothing is kept.
    settings
        Of network, training and data; a state with others is not resumed.
    """

    def __init__(self, folder: Path | None, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.settings = json.dumps(settings, sort_keys=True)
        self._events: Any = None

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the state of an unfinished training, or None.

        Raises
        ------
        InputError
            If the folder holds a training with other settings or data, or its state cannot be read.
        """
        if self.folder is None or not (path := self.folder / "state.pt").exists():
            return None
        state = read_tensors(path, device)
        if state.get("settings") != self.settings:
            raise InputError(
                f"{self.folder} holds a training with other settings or data: "
                "name another folder, or delete this one to start again"
            )
        return state

    def save(self, state: dict[str, Any], line: Epoch) -> None:
        """Keep the state after an epoch and add its line to the history."""
        if self.folder is None:
            return
        write_tensors(self.folder / "state.pt", {**state, "settings": self.settings})
        lines = [json.dumps(entry) + "\n" for entry in state["history"]]
        # written from the state, so that a kill between the two files repeats no line
        write_text(self.folder / "history.jsonl", "".join(lines))
        self._write_events(asdict(line))

    def close(self) -> None:
        """Close the events file."""
        if self._events is not None:
            self._events.close()

    def _write_events(self, line: dict[str, Any]) -> None:
        if self._events is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._events = SummaryWriter(str(self.folder), purge_step=line["epoch"])
        for name, value in line.items():
            scalars = value if isinstance(value, dict) else {"": value}
            for target, number in scalars.items():
                if number is not None and name != "epoch":
                    self._events.add_scalar(f"{name}/{target}".rstrip("/"), number, line["epoch"])
        self._events.flush()


def training_key(part: Dataset, names: Sequence[str]) -> str:
    """Hash of a training set: graphs and labels, in order."""
    digest = hashlib.sha256()
    for entry in part:
        labels = [entry.targets.get(name) for name in names]
        digest.update(f"{entry.record_id} {entry.graph.identity} {labels!r}\n".encode())
        digest.update(entry.graph.distances.tobytes())
    return digest.hexdigest()[:32]


LIBRARIES = ("torch", "numpy", "scipy", "pymatgen")
"""Those whose version may change the weights that a training ends with."""


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
    """Return the versions of `LIBRARIES` and of Python."""
    import platform

    return {"python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}}


def version_of(name: str) -> str:
    """Return the version of an installed package, or that it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
