"""The pre-trained model of a run: its folder, the hash of its weights, and how training uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from model.training.checkpoint import load_model
from model.training.ensemble import load_ensemble
from model.training.transfer import Start, weights_key
from stores.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from model.training.checkpoint import TrainedModel


@dataclass(frozen=True)
class Transfer:
    """What the settings of a run say about a start.

    Attributes
    ----------
    folder
        Of the pre-trained model; not part of what tells runs apart.
    key
        Hash of its weights.
    freeze, reset_heads
        See `Start`.
    """

    folder: Path
    key: str
    freeze: str = "none"
    reset_heads: bool = False

    @classmethod
    def of(cls, folder: Path, freeze: str = "none", *, reset_heads: bool = False) -> Self:
        """Read which weights a folder holds.

        Parameters
        ----------
        folder
            As `mgsurf train` wrote it.
        freeze, reset_heads
            See `Start`.

        Raises
        ------
        InputError
            If there is no whole model, or no such choice.
        """
        models = _models(folder)
        Start(models[0], freeze)  # wrong arguments are reported before any data are read
        return cls(folder, weights_key(models), freeze, reset_heads)

    def starts(self) -> list[Start]:
        """Read one start for each member of the pre-trained model.

        Raises
        ------
        InputError
            If the model is not what it was.
        """
        models = _models(self.folder)
        if weights_key(models) != self.key:
            raise InputError(f"{self.folder}: another model was written there meanwhile; repeat the command")
        return [Start(model, self.freeze, self.reset_heads) for model in models]

    def plain(self) -> dict[str, Any]:
        """Return what tells runs apart."""
        return {"model": self.key, "freeze": self.freeze, "reset_heads": self.reset_heads}

    def label(self) -> str:
        """Name it for people."""
        parts = ["fine-tuned"]
        if self.freeze != "none":
            parts.append(f"{self.freeze} frozen")
        if self.reset_heads:
            parts.append("new heads")
        return ", ".join(parts)


def _models(folder: Path) -> list[TrainedModel]:
    if folder.is_file():
        return [load_model(folder)]
    return list(load_ensemble(folder).members)
