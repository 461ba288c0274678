"""Registration of trained models: from a folder of `mgsurf train` to the registry, and back."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from model.training.checked_json import read_json
from model.training.ensemble import file_names, load_ensemble, manifest_of
from model.training.runs import read_run
from stores.errors import InputError
from stores.learning.model_card import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.training.ensemble import Ensemble
    from stores.learning.model_card import ModelCard
    from stores.learning.registry import ModelRegistry

_OF_THE_SPLIT = ("split", "seed", "folds", "fold")


def facts_of_run(folder: Path, judged_by: Sequence[Path] = ()) -> ModelFacts:
    """Return the facts of a trained model for its card.

    Parameters
    ----------
    folder
        Of the run whose model is registered.
    judged_by
        Folders of runs with the same settings and data but other splits: their errors go on the card too.

    Raises
    ------
    InputError
        If a folder holds no finished run, or one of other settings or data.
    """
    run = _finished(folder)
    runs = [run]
    for other in judged_by:
        judge = _finished(other)
        if (judge["data"], _alike(judge)) != (run["data"], _alike(run)):
            raise InputError(
                f"{other}: was trained with other settings or data than {folder} ({judge['label']}, not "
                f"{run['label']}); its errors are not those of this model"
            )
        if judge["split_name"] in [one["split_name"] for one in runs]:
            raise InputError(
                f"{other}: a run by the split {judge['split_name']} is named already; leave it out"
            )
        runs.append(judge)
    return ModelFacts(
        label=run["label"],
        snapshot=run.get("snapshot"),
        data=run["data"],
        targets=tuple(run["targets"]),
        elements=tuple(run["elements"]),
        members=run["settings"]["members"],
        config=run["settings"],
        noun=run.get("noun", "slab"),
        sizes=run["sizes"],
        metrics={one["split_name"]: one["metrics"] for one in runs},
        classes={one["split_name"]: one["classes"] for one in runs if "classes" in one},
        trainings=run.get("trainings", ()),
        seconds=run["seconds"],
        code_version=run.get("code", ""),
        libraries=run.get("versions", {}),
    )


def weight_files(folder: Path) -> dict[str, bytes]:
    """Return the files of the ensemble in a folder, after loading it; InputError if none or damaged."""
    load_ensemble(folder)
    manifest = manifest_of(folder)
    assert manifest is not None  # it was loaded
    names = [manifest.name, *file_names(read_json(manifest))]
    return {name: (manifest.parent / name).read_bytes() for name in names}


def load_version(registry: ModelRegistry, version: int) -> Ensemble:
    """Load a registered model; every file is checked against the hash on its card.

    Raises
    ------
    InputError
        If there is no such version, or it is of another version of mgsurf.
    DamagedWeightsError
        If its weights are not whole.
    """
    with TemporaryDirectory(prefix="mgsurf-model-") as folder:
        card = registry.extract(version, Path(folder))
        return _read(Path(folder), card)


def load_champion(registry: ModelRegistry) -> tuple[Ensemble, ModelCard, list[str]]:
    """Load the model in use, or the last champion before it whose weights are whole.

    The last result has a line for each one that had to be passed over.

    Raises
    ------
    InputError
        If no model was ever promoted, or it is of another version of mgsurf.
    DamagedWeightsError
        If no champion, present or past, has whole weights.
    """
    with TemporaryDirectory(prefix="mgsurf-model-") as folder:
        card, notes = registry.extract_champion(Path(folder))
        return _read(Path(folder), card), card, notes


def _read(folder: Path, card: ModelCard) -> Ensemble:
    """Read a model's files from a temporary folder; messages name the model instead of it."""
    try:
        return load_ensemble(folder)
    except InputError as error:
        raise InputError(str(error).replace(f"{folder}{os.sep}", f"{card.name}: ")) from error


def _finished(folder: Path) -> dict[str, Any]:
    run = read_run(folder)
    if run is None:
        raise InputError(f"{folder}: holds no finished training (no run.json); name a folder of mgsurf train")
    return run


def _alike(run: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run["settings"].items() if name not in _OF_THE_SPLIT}
