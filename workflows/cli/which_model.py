"""Which model a command means: a folder, or a version in the registry of the store."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stores.learning.model_card import is_version, or_the_folder
from workflows.cli.train import DEFAULT_FOLDER

if TYPE_CHECKING:
    from model.training.ensemble import Ensemble


def chosen_ensemble(model: str | Path | None, store: str | None = None) -> tuple[Ensemble, str]:
    """Load the model that a command was told to use.

    Parameters
    ----------
    model
        ``champion``, ``latest``, ``v3``, or a folder (``./v3`` if it has such a name); else MGSURF_MODEL,
        else ./mgsurf_model.
    store
        Whose registry; as every ``--store``.

    Returns
    -------
    ensemble, name
        The second is the folder's path, or v1, v2, ...

    Raises
    ------
    InputError
        If there is no such model.
    StoreError
        If its weights are damaged. A damaged champion is not: the one before it is loaded, which is said on
        stderr.
    """
    from model.training.ensemble import load_ensemble
    from workflows.cli.query import existing_store

    name = str(model or os.environ.get("MGSURF_MODEL") or DEFAULT_FOLDER)
    if not is_version(name):
        return load_ensemble(Path(name)), name
    from model.promotion.registration import load_champion, load_version
    from stores.learning.registry import ModelRegistry

    with or_the_folder(name), existing_store(store) as opened:
        registry = ModelRegistry(opened)
        if name != "champion":
            version = registry.resolve(name)
            return load_version(registry, version), f"v{version}"
        ensemble, card, notes = load_champion(registry)
    for note in notes:
        print(f"mgsurf: {note}", file=sys.stderr)
    return ensemble, card.name
