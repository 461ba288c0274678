"""Stores by their URI.

======================================= ==================================================
URI                                     store
======================================= ==================================================
``sqlite:///results.sqlite``            SQLite file in the current folder
``sqlite:////data/results.sqlite``      SQLite file by its absolute path
``results.sqlite``, ``results.db``      the same, for short
``mongodb://host/name``,                MongoDB; without a name the database is ``mgsurf``
``mongodb+srv://host/name``
``folder:///data/records``              one JSON file for each record, for jobs on compute nodes
``folder://records``                    the same, in the current folder
``memory://name``                       in memory, shared by the process, for tests
======================================= ==================================================
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.backends.collection import LAYOUTS
from stores.errors import InputError
from stores.paths import expand_user
from stores.secrets import masked, remember_address, userinfo

if TYPE_CHECKING:
    from jobflow import JobStore

    from stores.surfaces import SurfaceStore

DEFAULT_FILE = "mgsurf.sqlite"
FORMS = (
    "sqlite:///FILE, FILE.sqlite, FILE.db, mongodb://HOST/DATABASE, mongodb+srv://HOST/DATABASE, "
    "folder://FOLDER, memory://NAME"
)
_SUFFIXES = (".sqlite", ".sqlite3", ".db")


@dataclass(frozen=True)
class Place:
    """A URI understood: its kind (sqlite, mongodb, folder, memory) and the address of the store."""

    kind: str
    target: str


def parse_uri(uri: str) -> Place:
    """Understand a store's URI; `InputError` if it has none of the known forms."""
    scheme, separator, rest = uri.partition("://")
    remember_address(uri)
    if not separator and uri.lower().endswith(_SUFFIXES):
        return Place("sqlite", _file(uri))
    if separator and scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return Place("sqlite", _file(rest[1:]))
    if separator and scheme in ("mongodb", "mongodb+srv") and rest:
        _check_userinfo(uri)
        return Place("mongodb", uri)
    if separator and scheme == "folder" and rest.strip("/"):
        return Place("folder", str(expand_user(rest, "the store").absolute()))
    if separator and scheme == "memory":
        return Place("memory", rest)
    raise InputError(f"The store {masked(uri)!r} has no known form; give one of {FORMS}.")


def _file(name: str) -> str:
    path = expand_user(name, "the store").absolute()
    try:
        path.resolve()
    except (RuntimeError, OSError):
        raise InputError(
            f"The store {path} is a symbolic link that leads to itself; name the file itself."
        ) from None
    return str(path)


def _check_userinfo(uri: str) -> None:
    """Refuse a user or password without percent-encoding: parts of it would be taken for hosts, and shown."""
    user, password = userinfo(uri)
    if re.search(r"[/?#\[\]@:\s]|%(?![0-9A-Fa-f]{2})", f"{user}{password}"):
        raise InputError(
            f"The store {masked(uri)!r} has a user or password with one of : / ? # [ ] @ % or a blank; write "
            "them as %3A %2F %3F %23 %5B %5D %40 %25 %20 (an @ among the options, too)."
        )


def default_store_uri() -> str:
    """Return the store of commands that name none: MGSURF_STORE, the settings file's, ./mgsurf.sqlite."""
    from stores.settings_file import read_settings_file

    return os.environ.get("MGSURF_STORE") or read_settings_file().get("store") or f"sqlite:///{DEFAULT_FILE}"


def resolve_store_uri(explicit: str | None = None, campaign: str | None = None) -> str:
    """Return a command's store: `explicit`, else the campaign's, else MGSURF_STORE, else the default.

    A relative path is made absolute from the present folder, for jobs run in folders of their own.
    """
    uri = explicit or campaign or default_store_uri()
    place = parse_uri(uri)
    forms = {"sqlite": f"sqlite:///{place.target}", "folder": f"folder://{place.target}"}
    return forms.get(place.kind, uri)


def _other_stores(absent: Path) -> str:
    """Return what to do where a store is missing: the option that names one near by, if there is one."""
    folder = absent.parent
    near = sorted(path for pattern in ("*.sqlite", "*/*.sqlite") for path in folder.glob(pattern))
    if not near:
        return "run a campaign first or name another with --store"
    names = [str(path.relative_to(folder) if folder == Path.cwd() else path) for path in near]
    more = f" ({len(names) - 1} more near by: {', '.join(names[1:4])})" if names[1:] else ""
    return f"add --store {shlex.quote(names[0])}{more}"


def open_store(uri: str, *, must_exist: bool = False) -> SurfaceStore:
    """Open the store of records.

    Parameters
    ----------
    uri
        One of the forms above.
    must_exist
        Refuse a file, or a MongoDB database, that is not there (for commands that only read).

    Raises
    ------
    InputError
        If the URI has no known form, or the file is not a store of this or an older mgsurf.
    StoreError
        If the store cannot be reached.
    """
    from stores.surfaces import LOOP_COLLECTIONS, RECORD_COLLECTIONS, SurfaceStore

    place, names = parse_uri(uri), (*RECORD_COLLECTIONS, *LOOP_COLLECTIONS)
    if place.kind == "sqlite":
        from stores.backends.sqlite import DocumentTable
        from stores.backends.sqlite_file import Database

        if must_exist and not Path(place.target).exists():
            raise InputError(f"There is no store at {place.target}; {_other_stores(Path(place.target))}.")
        database = Database(place.target, only_reads=must_exist)
        database.connection()  # a wrong file is refused here, not at the first query
        tables = {name: DocumentTable(database, name, **vars(LAYOUTS[name])) for name in names}
        return SurfaceStore(f"sqlite:///{place.target}", tables, database.write)
    if place.kind == "folder":
        from stores.backends.folder import Folder, FolderCollection

        folder = Folder(Path(place.target), must_exist=must_exist)
        folders = {name: FolderCollection(folder, name, LAYOUTS[name]) for name in names}
        return SurfaceStore(f"folder://{folder.root}", folders)

    from stores.backends.mongo import MongoCollection

    mongo = _mongo_database(place, must_exist=must_exist)
    collections = {
        name: MongoCollection(mongo[name], LAYOUTS[name], masked(uri), shared=place.kind == "memory")
        for name in names
    }
    return SurfaceStore(masked(uri), collections)


def open_job_store(uri: str) -> JobStore:
    """Open jobflow's store of job outputs in the same place as the records, which is no folder.

    Outputs that a job sends to the additional store ``data`` are kept beside them. Errors are those of
    `open_store`.
    """
    from stores.backends.job_store import CheckedJobStore, SQLiteStore

    place = parse_uri(uri)
    if place.kind == "folder":
        raise InputError(
            f"The store {uri} is a folder of records, for jobs on a queue; run with sqlite:///FILE."
        )
    if place.kind == "sqlite":
        # A power cut may cost the last jobs' outputs, not their records: they are written elsewhere.
        stores: list[Any] = [
            SQLiteStore(
                place.target,
                name,
                durable=False,
                heavy=list(LAYOUTS[name].heavy),
                indexed=list(LAYOUTS[name].indexed),
            )
            for name in ("jobs", "job_data")
        ]
    elif place.kind == "memory":
        from stores.backends.memory import SharedMemoryStore

        stores = [SharedMemoryStore(place.target, name) for name in ("jobs", "job_data")]
    else:
        from maggma.stores import MongoStore

        from stores.backends.mongo import SERVER_TIMEOUT, database_name

        _mongo_database(place).client.close()  # one line within seconds if the server is down
        options = {"serverSelectionTimeoutMS": int(SERVER_TIMEOUT * 1000)}
        stores = [
            MongoStore(database_name(uri), name, uri=uri, mongoclient_kwargs=options)
            for name in ("jobs", "job_data")
        ]
    job_store = CheckedJobStore(stores[0], additional_stores={"data": stores[1]})
    job_store.connect()
    return job_store


def _mongo_database(place: Place, *, must_exist: bool = False) -> Any:
    from stores.backends.mongo import check_layout, memory_database, mongo_database

    if place.kind == "memory":  # begins empty in every process, and is there for all that
        database = memory_database(place.target)
        check_layout(database, f"memory://{place.target}")
        return database
    database = mongo_database(place.target)
    try:
        check_layout(database, masked(place.target), must_exist=must_exist)
    except BaseException:
        database.client.close()
        raise
    return database
