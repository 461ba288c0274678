"""Stores and trained models that commands open."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workflows.cli.console import print_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from model.training.ensemble import Ensemble
    from stores.learning.model_card import ModelCard
    from stores.surfaces import SurfaceStore

PRETRAINED = "pretrained:"
"""What --from begins with before the name of a pre-trained model of a registry."""

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


def registered_start(name: str, stores: Sequence[str | None]) -> tuple[Path, dict[str, Any]] | None:
    """Return the folder and the settings of a registered model that a training starts from.

    Parameters
    ----------
    name
        ``pretrained:NAME``, champion, latest or v3; None is returned for any other, which is a folder.
    stores
        Those of the labels: a pre-trained model is looked for in their registries, then in that of the store
        that a command without ``--store`` has.

    Raises
    ------
    InputError
        If there is none.
    StoreError
        If its weights are damaged.
    """
    from stores.connections import resolve_store_uri
    from stores.learning.model_card import is_version, or_the_folder
    from stores.learning.registry import ModelRegistry

    uris = list(dict.fromkeys(resolve_store_uri(store) for store in (stores or [None])))
    if not name.startswith(PRETRAINED):
        if not is_version(name):
            return None
        with or_the_folder(name), existing_store(uris[0]) as opened:
            registry = ModelRegistry(opened)
            card = registry.card(registry.resolve(name))
            return registry.unpack(card, _unpacked()), dict(card.config)
    return _pretrained(name.removeprefix(PRETRAINED), list(dict.fromkeys([*uris, resolve_store_uri(None)])))


def _pretrained(name: str, uris: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    from stores.connections import open_store
    from stores.errors import InputError
    from stores.learning.registry import ModelRegistry

    others: list[str] = []
    for uri in uris:
        try:
            store = open_store(uri, must_exist=True)
        except InputError:
            continue  # the default store need not exist; that of the labels is missed when they are read
        with store:
            registry = ModelRegistry(store)
            found = registry.pretrained()
            if (card := found.get(name)) is not None:
                print_note(f"starts from {PRETRAINED}{name} ({card.name} of {uri}): {_contents(card)}")
                # how it was pre-trained is no setting of what follows
                settings = dict(card.config)
                params = settings.get("params", {})
                settings["params"] = {k: v for k, v in params.items() if not k.startswith("training.")}
                return registry.unpack(card, _unpacked()), settings
            others += found
    there = f"there is {', '.join(dict.fromkeys(others))}" if others else "there is none"
    raise InputError(
        f"{PRETRAINED}{name}: no such model in {', '.join(uris)} ({there}); build one with mgsurf pretrain "
        "examples/pretrained.yaml, or mgsurf models add FOLDER --pretrained NAME"
    )


def _contents(card: ModelCard) -> str:
    labels = [f"{sum(one.labels.values())} labels {one.target}" for one in card.label_sources]
    return ", ".join(labels or card.targets)


def _unpacked() -> Path:
    from stores.paths import cache_folder

    return cache_folder() / "models"
