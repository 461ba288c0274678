"""Stores and trained models that commands open."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workflows.cli.console import print_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.training.ensemble import Ensemble
    from stores.surfaces import SurfaceStore

MODEL_FOLDER = Path("mgsurf_model")
"""Where `mgsurf train` writes a model and others look for it, unless an option names another."""


def existing_store(uri: str | None, campaign_store: str | None = None) -> SurfaceStore:
    """Open the store of ``--store``, else the campaign's; an InputError if none is there."""
    from stores.connections import open_store, resolve_store_uri

    return open_store(resolve_store_uri(uri, campaign_store), must_exist=True)


@contextmanager
def store_to_write(uri: str | None) -> Iterator[SurfaceStore]:
    """Open an existing store for writing: a typo in its name gives an error, not an empty store."""
    from stores.connections import open_store, resolve_store_uri

    existing_store(uri).close()
    with open_store(resolve_store_uri(uri)) as store:
        yield store


def results_store(uri: str) -> SurfaceStore:
    """Open the store that results go to; for an SQLite file its folder is made."""
    from stores.connections import open_store, parse_uri
    from workflows.jobs.calculate import make_directory

    place = parse_uri(uri)
    if place.kind == "sqlite":
        make_directory(Path(place.target).parent)
    return open_store(uri)


def chosen_ensemble(model: str | Path | None, store: str | None = None) -> tuple[Ensemble, str]:
    """Load a trained model, and return it with its name: the folder's path, or v1, v2, ...

    Parameters
    ----------
    model
        ``champion``, ``latest``, ``v3``, or a folder (``./v3`` if it has such a name); else MGSURF_MODEL,
        else ./mgsurf_model.
    store
        Whose registry; as every ``--store``.

    Raises
    ------
    InputError
        If there is no such model.
    StoreError
        If its weights are damaged; of a damaged champion, the one before it is loaded, with a note on stderr.
    """
    from model.training.ensemble import load_ensemble
    from stores.learning.model_card import is_version, or_the_folder

    name = str(model or os.environ.get("MGSURF_MODEL") or MODEL_FOLDER)
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
        print_note(note)
    return ensemble, card.name
