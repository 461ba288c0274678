"""Single collections of stores of every kind, also such as mgsurf has none of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stores.backends.collection import LAYOUTS, Collection, CollectionLayout
from stores.connections import _mongo_database, parse_uri
from stores.secrets import masked


def open_collection(uri: str, name: str, key: str | Sequence[str] = "id") -> Collection:
    """Open a collection of a store; `key` distinguishes documents of one that mgsurf has none of."""
    place = parse_uri(uri)
    layout = LAYOUTS.get(name, CollectionLayout((key,) if isinstance(key, str) else tuple(key)))
    if place.kind == "sqlite":
        from stores.backends.sqlite import DocumentTable
        from stores.backends.sqlite_file import Database

        database = Database(place.target)
        database.connection()
        return DocumentTable(database, name, **vars(layout))
    if place.kind == "folder":
        from stores.backends.folder import Folder, FolderCollection

        return FolderCollection(Folder(Path(place.target)), name, layout)
    from stores.backends.mongo import MongoCollection

    shared = place.kind == "memory"
    return MongoCollection(_mongo_database(place)[name], layout, masked(uri), shared=shared)
