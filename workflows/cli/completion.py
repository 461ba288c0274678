"""What the shell completes beside options: formulas, chemical systems, models and snapshots of the store.

Values come from the store that the command line or the settings name, if it is an SQLite file: a keystroke
waits for no server. Whatever is wrong, nothing is completed and nothing is printed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from stores.errors import InputError
from stores.paths import expand_user

if TYPE_CHECKING:
    from stores.surfaces import SurfaceStore

MOST = 200
"""Values offered at once."""


def formulas(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the formulas of computed and imported slabs that begin so."""
    return _values(ctx, incomplete, lambda store: _distinct(store, "formula", "surfaces", "labels"))


def chemical_systems(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the chemical systems of computed and imported slabs that begin so, elements in this order."""
    *given, begun = incomplete.split("-")

    def read(store: SurfaceStore) -> Iterator[str]:
        for system in _distinct(store, "chemsys", "surfaces", "labels"):
            others = [element for element in system.split("-") if element not in given]
            if len(others) + len(given) == system.count("-") + 1:
                first = next((element for element in others if element.startswith(begun)), None)
                yield "-".join([*given, first, *(e for e in others if e != first)]) if first else system

    return _values(ctx, incomplete, read)


def registered_models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of registered models that begin so: champion, latest, v1, ..."""
    return _values(ctx, incomplete, _model_names)


def models_and_folders(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return `registered_models`, and the folders whose path begins so."""
    return [*registered_models(ctx, incomplete), *_folders(incomplete)]


def snapshot_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of snapshots that begin so."""
    return _values(ctx, incomplete, lambda store: _distinct(store, "id", "snapshots"))


def _values(ctx: typer.Context, incomplete: str, read: Callable[[SurfaceStore], Iterator[str]]) -> list[str]:
    """Return what a function reads from the store, as far as it begins so."""
    from stores.connections import open_store, parse_uri, resolve_store_uri

    logging.disable()  # a damaged record is no business of a keystroke
    try:
        given = ctx.params.get("store")
        uri = resolve_store_uri((given or [None])[0] if isinstance(given, list | tuple) else given)
        if parse_uri(uri).kind != "sqlite":
            return []
        with open_store(uri, must_exist=True) as store:
            return [value for value in read(store) if value.startswith(incomplete)][:MOST]
    except Exception:  # noqa: BLE001 -- a message would end up on the line that is being typed
        return []
    finally:
        logging.disable(logging.NOTSET)


def _distinct(store: SurfaceStore, field: str, *collections: str) -> Iterator[str]:
    found = {value for name in collections for value in store.distinct(field, collection=name)}
    yield from sorted(value for value in found if isinstance(value, str))


def _model_names(store: SurfaceStore) -> Iterator[str]:
    versions: list[Any] = store.distinct("version", collection="models")
    if versions:
        yield from ("champion", "latest")
    yield from (f"v{version}" for version in reversed(versions))


def _folders(incomplete: str) -> list[str]:
    try:
        start = expand_user(incomplete)
        parent, name = (start, "") if incomplete.endswith("/") else (start.parent, start.name)
        found = sorted(path for path in parent.iterdir() if path.name.startswith(name) and path.is_dir())
    except (OSError, InputError):
        return []
    return [f"{path}/" for path in found if not path.name.startswith(".")][:MOST]
