"""Backups of stores of files: made while they are in use, checked, and restored.

A file that is merely copied may lack what is still in the write-ahead log, and one that is copied over a
store meets the log of a killed process; neither can happen here.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from stores.backends.checksums import DamagedTextError, check_heavy, unseal
from stores.backends.filters_sql import quote
from stores.backends.folder import META, Folder
from stores.backends.guard import Guard, Occupancy, beside, set_aside
from stores.backends.sqlite_errors import damaged_file, sqlite_name
from stores.backends.sqlite_file import SIDE_FILES, Database, is_store
from stores.connections import Place, parse_uri
from stores.errors import InputError, StoreError, one_line


def backup(uri: str, target: Path, *, replace: bool = False) -> int:
    """Copy a store to a file (a folder store: to a folder), check it, and return its number of documents.

    Raises
    ------
    InputError
        If there is no such store, its kind has its own tools, or the target exists and is not to be replaced.
    StoreError
        If the store is damaged or cannot be read, or another process uses the target.
    """
    place = _place(uri, "mongodump")
    source = Path(place.target).resolve()
    if not source.exists():
        raise InputError(f"There is no store at {source}; name another.")
    if target.exists() and target.samefile(source):
        raise InputError(f"The backup would replace the store {source} itself; name another file.")
    if target.exists() and not replace:
        raise InputError(f"{target} exists already; name another file, or replace it with --force.")
    if target.exists() and not (_holds_documents_only(target) if source.is_dir() else is_store(target)):
        raise InputError(f"{target} is no backup of such a store and is not replaced; name another file.")
    with _beside(target) as new, _unused(target, skip=source.is_dir() or not target.exists()):
        count = _copy_folder(source, new) if source.is_dir() else _copy_file(source, new, in_use=True)
        old = _put_aside(target)
        new.rename(target)
        for path in old:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return count


def restore(source: Path, uri: str) -> tuple[int, Path | None]:
    """Put a backup in the place of a store; the old one, with its log, stays under a dated name.

    Returns
    -------
    int
        Number of documents in the store.
    Path | None
        Where the old store is now.

    Raises
    ------
    InputError
        If the source is no sound store, or of another kind than the store.
    StoreError
        If another process has the store open; nothing was changed.
    """
    place = _place(uri, "mongorestore")
    target = Path(place.target).resolve()
    if not source.exists():
        raise InputError(f"There is no backup at {source}; name another file.")
    if target.exists() and target.samefile(source):
        raise InputError(f"{source} is the store itself; name a backup of it.")
    if source.is_dir() != (place.kind == "folder") or (
        target.exists() and not (target.is_dir() if source.is_dir() else target.is_file())
    ):
        raise InputError(f"The backup {source} is of another kind than the store {target}; name another.")
    if not source.is_dir() and not is_store(source):
        raise InputError(f"{source} is not a store of mgsurf; name a file that mgsurf store backup wrote.")
    with _beside(target) as new, _unused(target, skip=source.is_dir()):
        count = _copy_folder(source, new) if source.is_dir() else _copy_file(source, new, in_use=False)
        old = _put_aside(target)
        new.rename(target)
    return count, old[0] if old else None


def _place(uri: str, tool: str) -> Place:
    place = parse_uri(uri)
    if place.kind == "mongodb":
        raise InputError(f"The store is a MongoDB database; use MongoDB's own tool: {tool} --uri URI.")
    if place.kind == "memory":
        raise InputError("The store is in memory; give sqlite:///FILE or folder://FOLDER.")
    return place


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give a new name beside the target, of which nothing is left after an error."""
    new = target.with_name(f".{target.name}.{uuid.uuid4().hex}.new")
    try:
        if not target.parent.is_dir():
            raise InputError(f"The folder {target.parent} does not exist; make it first.")
        yield new
    except OSError as error:
        raise StoreError(
            f"{target} cannot be written ({error.strerror or error}); check disk and permissions."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        for path in (new, *(beside(new, suffix) for suffix in SIDE_FILES)):
            path.unlink(missing_ok=True) if not path.is_dir() else None


@contextmanager
def _unused(target: Path, *, skip: bool) -> Iterator[None]:
    """Hold a file's place so that no other process opens it; refuse one that is open."""
    if skip:
        yield
        return
    guard = Guard(target)
    try:
        occupancy = guard.open(read_only=False)
        if occupancy in (Occupancy.SHARED, Occupancy.BESIDE_OTHERS):
            raise StoreError(
                f"The store {target} is open in another process; nothing was changed. End that process "
                f"(fuser {target} names it), then run the command again."
            )
        yield
        guard.settle(occupancy)
    finally:
        guard.close()


def _put_aside(target: Path) -> list[Path]:
    """Rename a store and what belongs to it to dated names that still belong together."""
    old = set_aside(target, target.suffix)  # a name that is a store's as well
    moved = [old] if old else []
    for suffix in SIDE_FILES:
        path = beside(target, suffix)
        if path.exists():
            moved.append(path.rename(beside(old, suffix)) if old else set_aside(path) or path)
    return moved


def _copy_file(source: Path, new: Path, *, in_use: bool) -> int:
    database = Database(source, only_reads=True)
    in_use = in_use or beside(source, "-wal").exists()
    try:
        with database.errors():
            address = f"{source.as_uri()}?mode=ro&immutable=1"  # leaves no files beside a backup
            found = database.connection() if in_use else sqlite3.connect(address, uri=True)
            with closing(sqlite3.connect(new)) as copy, _room(new.parent):
                found.backup(copy)  # at once: in steps it would start again after each write of others
            if not in_use:
                found.close()
            with closing(sqlite3.connect(new)) as copy:
                problem = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
                count = 0 if problem != "ok" else _check_documents(copy, source)
    finally:
        database.close()
    if problem != "ok":
        raise StoreError(f"{damaged_file(source, one_line(problem))}; nothing was changed.")
    with new.open("rb") as file:
        os.fsync(file.fileno())
    return count


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if sqlite_name(error) not in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
            raise
        raise StoreError(
            f"There is no room for the copy in {folder} (disk or quota full); nothing was changed. Free some "
            f"space, then run the same command again."
        ) from error


def _check_documents(copy: sqlite3.Connection, source: Path) -> int:
    count = 0
    for (name,) in copy.execute("SELECT name FROM mgsurf_collections").fetchall():
        sql = (
            f"SELECT t._row, CAST(t._doc AS BLOB), CAST(h.body AS BLOB) FROM {quote(name)} t "
            f"LEFT JOIN {quote(name + '.heavy')} h ON h._row = t._row"
        )
        for number, light, heavy in copy.execute(sql):
            count += 1
            _checked(light, heavy, source, f"row {number} of {name}")
    return count


def _copy_folder(source: Path, new: Path) -> int:
    """Copy the files of a folder store until none changed during the copy."""
    Folder(source, must_exist=True)
    copied: dict[Path, tuple[int, int]] = {}
    for _ in range(100):
        with suppress(FileNotFoundError):  # a document was removed between two looks
            found = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in _files(source)}
            if found == copied:
                break
            for path in copied.keys() - found.keys():
                (new / path.relative_to(source)).unlink()
                del copied[path]
            for path in [path for path in found if copied.get(path) != found[path]]:
                there = new / path.relative_to(source)
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, there)
                copied[path] = found[path]
    else:
        raise StoreError(f"The store folder {source} is written all the time; end its jobs, then try again.")
    for path in _files(new):
        _checked(path.read_bytes(), None, source, str(path.relative_to(new)))
    return sum(path.name != META for path in copied)


def _files(folder: Path) -> list[Path]:
    """List the files of a folder store, and no others that lie among them."""
    return sorted(path for pattern in (META, "*/[!.]*.json*") for path in folder.glob(pattern))


def _holds_documents_only(folder: Path) -> bool:
    """Return whether a folder is a store and holds nothing else, which would be lost with it."""
    found = {path for path in folder.rglob("*") if not path.is_dir()}
    return (folder / META).exists() and found == set(_files(folder))


def _checked(text: bytes, heavy: bytes | None, source: Path, what: str) -> None:
    try:
        check_heavy(heavy, unseal(text)[1])
    except DamagedTextError as error:
        raise StoreError(
            f"The store {source} holds a damaged document ({what}: {error}); nothing was changed. Use "
            f"another backup, or remove that record."
        ) from None
