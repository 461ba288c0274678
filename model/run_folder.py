"""The folder of one training: its state after each epoch and its history.

state.pt        everything needed to go on; replaced in one step, so that a kill never leaves half of it
history.jsonl   one line per epoch
events.*        the same as TensorBoard scalars, if tensorboard is installed
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import torch

from stores.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.dataset import Dataset
    from model.training import Epoch


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


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to a file in one step: the old file stays until the new one is whole.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            part.unlink()
        raise StoreError(
            f"{path} could not be written ({error}): free space or name another place"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _check_archive(path: Path) -> None:
    """Refuse an archive whose entries claim more bytes than the file has: torch stores them uncompressed.

    Raises
    ------
    OSError, zipfile.BadZipFile, ValueError
        If there is no archive, or it expands.
    """
    with ZipFile(path) as archive:
        claimed = sum(entry.file_size for entry in archive.infolist())
    if claimed > path.stat().st_size:
        raise ValueError(f"it expands to {claimed / 2**20:.3g} MiB, as no file of torch does")


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `write_tensors` wrote; never runs code from the file.

    Raises
    ------
    InputError
        If the file does not exist, is cut off or is something else.
    """
    try:
        _check_archive(path)
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: name a checkpoint that mgsurf train wrote") from error
    except Exception as error:  # torch raises a dozen kinds, by the place of the damage
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(
            f"{path} is not a whole mgsurf checkpoint ({reason}): it may be cut off, copy or train it again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not an mgsurf checkpoint: name a file that mgsurf train wrote")
    return content
