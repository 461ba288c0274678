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
    from stores.learning.registry import ModelRegistry
    from stores.surfaces import SurfaceStore

PRETRAINED = "pretrained:"  # what --from begins with before the name of a pre-trained model of a registry

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
    from model.training.ensemble_files import load_ensemble
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
    from stores.errors import InputError
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
    wanted = name.removeprefix(PRETRAINED)
    there: list[str] = []
    for registry in _registries(uris):
        found = registry.pretrained()
        if (chosen := found.get(wanted)) is not None:
            print_note(f"starts from {_pretrained_line(chosen, registry)}")
            return registry.unpack(chosen, _unpacked()), network_settings(chosen)
        there += found
    listed = f"found {', '.join(dict.fromkeys(there))}" if there else "none found"
    raise InputError(
        f"{name}: no such model in {', '.join(uris)} or the default store ({listed}); build one with mgsurf "
        "pretrain examples/pretrained.yaml, or name a trained one with mgsurf models add FOLDER --pretrained "
        f"{wanted or 'NAME'}"
    )


def pretrained_for(
    preset: str, targets: Sequence[str], stores: Sequence[str | None]
) -> tuple[Path, dict[str, Any]] | None:
    """Return the pre-trained model that a training of a preset starts from by default; None without one.

    It is the latest in the registries of `registered_start` that the preset was pre-trained with, its network
    unchanged, and that has a head of one of the targets. A line on stderr names it, or states which registry
    could not be read.
    """
    from stores.connections import resolve_store_uri
    from stores.errors import InputError, StoreError
    from stores.method_names import quantity_of

    try:
        for registry in _registries([resolve_store_uri(store) for store in (stores or [None])]):
            for card in reversed(registry.pretrained().values()):
                heads = {quantity_of(target) for target in card.targets}
                settings = network_settings(card)
                if settings.get("preset") == preset and not settings["params"] and heads & set(targets):
                    folder, line = registry.unpack(card, _unpacked()), _pretrained_line(card, registry)
                    print_note(f"{preset} starts from {line}; --from none trains from scratch")
                    return folder, settings
    except (InputError, StoreError) as error:
        print_note(f"no pre-trained model was looked for any further, {preset} begins from scratch: {error}")
    return None


def network_settings(card: ModelCard) -> dict[str, Any]:
    """Return the settings of a pre-trained model that hold for what starts from it: network and graphs."""
    params = card.config.get("params", {})
    kept = {
        name: value for name, value in params.items() if not name.startswith("training.") and name != "trees"
    }
    return {**card.config, "params": kept}


def _registries(uris: Sequence[str]) -> Iterator[ModelRegistry]:
    """Yield the registries of stores that exist, last that of the store without ``--store``."""
    from stores.connections import open_store, resolve_store_uri
    from stores.errors import InputError
    from stores.learning.registry import ModelRegistry

    for uri in dict.fromkeys([*uris, resolve_store_uri(None)]):
        try:
            store = open_store(uri, must_exist=True)
        except InputError:
            continue  # the default store need not exist; that of the labels is missed when they are read
        with store:
            yield ModelRegistry(store)


def _pretrained_line(card: ModelCard, registry: ModelRegistry) -> str:
    return f"{PRETRAINED}{card.pretrained} ({card.name} of {registry.store.uri}): {_contents(card)}"


def _contents(card: ModelCard) -> str:
    labels = [f"{sum(one.labels.values())} labels {one.target}" for one in card.label_sources]
    return ", ".join(labels or card.targets)


def _unpacked() -> Path:
    from stores.paths import cache_folder

    return cache_folder() / "models"
