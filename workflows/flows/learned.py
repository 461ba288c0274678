"""What is known of a model without loading it: its version, and the methods of the labels it learned from."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError
from stores.input_files import read_json
from stores.labelled import labelled_slabs
from stores.model_names import is_version, or_the_folder
from stores.registry import ModelRegistry
from stores.snapshots import find_snapshot, list_snapshots
from workflows.flows.suggestion import methods_of_labels, target_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stores.surfaces import SurfaceStore


def version_of(model: str, store: SurfaceStore) -> str:
    """Return the name that is kept with predictions: v3, or for a folder a hash of its files.

    Parameters
    ----------
    model
        ``champion``, ``latest``, ``v3``, or a folder with a trained model (``./v3`` if it has such a name).
    store
        Of the registry.

    Raises
    ------
    InputError
        If there is no such version.
    """
    folder = Path(model)
    if is_version(model) or not folder.is_dir():
        with or_the_folder(model):
            return f"v{ModelRegistry(store).resolve(model)}"
    place = folder if (folder / "manifest.json").is_file() else folder / "model"
    digest = hashlib.sha256()
    for file in sorted(place.glob("*")):
        if file.suffix in (".json", ".pt"):
            digest.update(file.name.encode() + file.read_bytes())
    return f"folder-{digest.hexdigest()[:12]}"


def learned_from(model: str, store: SurfaceStore, targets: Sequence[str], default: str) -> dict[str, str]:
    """Return the method of the labels behind each target of a model.

    Its snapshot says; else the records that its training lists, as they are in the store; else `default`.

    Parameters
    ----------
    model
        See `version_of`.
    store
        Where snapshot and records may be.
    targets
        Of the model.
    default
        Fingerprint taken for targets of which nothing is known.
    """
    folder = Path(model)
    if folder.is_dir() and not is_version(model):
        snapshot, records = _of_folder(folder)
    else:
        registry = ModelRegistry(store)
        snapshot, records = registry.card(registry.resolve(model)).snapshot, set()
    found = {name: name.partition("@")[2] for name in targets if "@" in name}
    if snapshot is not None and any(one.id == snapshot for one in list_snapshots(store)):
        heads = {head.name: head.method for head in find_snapshot(store, snapshot).heads}
        found |= {name: heads[name] for name in targets if name in heads}
    if any(name not in found for name in targets):
        slabs = [s for s in labelled_slabs(store, with_slabs=False) if not records or s.record_id in records]
        found = methods_of_labels(slabs, [name for name in targets if target_of(name) == name]) | found
    return {name: found.get(name, default) for name in targets}


def split_of(model: str, store: SurfaceStore) -> str:
    """Return the split that a model was trained by; empty if it is not known.

    Parameters
    ----------
    model, store
        See `version_of`.
    """
    folder = Path(model)
    if is_version(model) or not folder.is_dir():
        registry = ModelRegistry(store)
        return str(registry.card(registry.resolve(model)).config.get("split", ""))
    try:
        run = read_json(folder / "run.json")
        return str(run["settings"]["split"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _of_folder(folder: Path) -> tuple[str | None, set[str]]:
    """Return the snapshot of a training, if it had one, and the ids of its records, as far as it tells."""
    run, table = folder / "run.json", folder / "predictions.csv"
    try:
        snapshot = read_json(run).get("snapshot") if run.is_file() else None
        if not table.is_file():
            return snapshot, set()
        with table.open(encoding="utf-8", newline="") as file:
            return snapshot, {row["record_id"] for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: what was trained there cannot be read ({error}); train again") from error
