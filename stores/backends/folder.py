"""Collections as folders of JSON files, one document each: a store that needs nothing but a file system.

Compute nodes share no database and often no network, only a file system whose locks may not work (NFS,
Lustre). Therefore a document is written under another name and then renamed, which is atomic on all of them:
a reader sees the old document or the new one, and of two writers the last one stands.

Where a failure must not replace a result, documents of a lower rank have files of their own,
``NAME.json~RANK``: no two ranks share a file, and readers take the best that is there. So it does not matter
which of two writers looked first.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from stores.backends.checksums import DamagedTextError, seal, unseal
from stores.backends.collection import (
    LAYOUTS,
    SCHEMA_VERSION,
    Collection,
    CollectionLayout,
    Combine,
    Criteria,
    check_version,
)
from stores.backends.filters import Projection, Properties, checked, predicate, sort_key, sort_order
from stores.backends.values import dumps, loads
from stores.errors import InputError, StoreError, StoreLostError
from stores.files import locked, write_file
from stores.ranks import HIGHEST, RANKED, rank_of

META = "mgsurf_layout.json"  # file that holds the version of the layout of all collections in a folder

_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


class Folder:
    """The folder of a store, made with the first record, and noticed to be gone while it is in use.

    One that holds no store is refused if it `must_exist`.
    """

    def __init__(self, root: Path, *, must_exist: bool = False) -> None:
        self.root = root
        if root.exists() and not root.is_dir():
            raise InputError(f"The store folder {root} is a file; name a folder.")
        with folder_errors(root):
            try:
                found = _read(root / META)
            except DamagedTextError:
                raise StoreError(
                    f"The store folder {root} is damaged ({META}). Restore a backup with mgsurf store "
                    f"restore FILE."
                ) from None
            known = found is not None or any((root / name).is_dir() for name in LAYOUTS)
        if must_exist and not known:
            raise InputError(
                f"There is no store at {root}; run a campaign first or name another with --store."
            )
        check_version((found or {}).get("version"), f"The store folder {root}")
        self._seen = self._look()

    def _look(self) -> tuple[tuple[int, ...], tuple[int, ...] | None] | None:
        """Return what identifies the folder, and the file of its layout: None in stores older than that."""
        with suppress(FileNotFoundError, NotADirectoryError):
            folder, layout = self.root.stat(), None
            with suppress(FileNotFoundError):
                stat = (self.root / META).stat()
                layout = stat.st_dev, stat.st_ino, stat.st_mtime_ns  # numbers of deleted files are used again
            return (folder.st_dev, folder.st_ino), layout
        return None

    def check(self) -> None:
        """Raise a `StoreLostError` if the folder that was opened was deleted, emptied or replaced."""
        found, seen = self._look(), self._seen
        if seen is None or found == seen:
            self._seen = found
            return
        # another process may lay out a folder that had no layout when it was seen here
        same = found is not None and (found[0] == seen[0] if seen[1] is None else found[1] == seen[1])
        if not same:
            what = "was deleted" if found is None else "was emptied or replaced"
            raise StoreLostError(
                f"The store folder {self.root} {what} while mgsurf had it open; nothing more is written to "
                f"it, and it is not created again. Put the folder back (mgsurf store restore FILE for a "
                f"backup), then run the same command again."
            )
        self._seen = found

    def lay_out(self) -> None:
        """Make the folder before the first record: who only reads makes nothing."""
        self.check()
        if self._seen is None or not (self.root / META).exists():
            self.root.mkdir(parents=True, exist_ok=True)
            _write_new(self.root / META, {"version": SCHEMA_VERSION})
            self._seen = self._look()


@contextmanager
def folder_errors(root: Path) -> Iterator[None]:
    """Turn errors of the file system into one line."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "free some space and start the job again",
            errno.EDQUOT: "the quota is used up: free some space and start the job again",
        }.get(error.errno or 0, "check its path and permissions")
        raise StoreError(f"The store folder {root} failed: {error.strerror or error}; {advice}.") from error


def _read(path: Path) -> dict[str, Any] | None:
    """Return the document in a file, None if there is no file; a damaged one is a `DamagedTextError`."""
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return unseal(text)[0]


def _write(path: Path, document: dict[str, Any]) -> None:
    write_file(path, seal(dumps(document)))


def _write_new(path: Path, document: dict[str, Any]) -> bool:
    """Write a file as a whole unless there is one; False if there is."""
    new = path.with_name(f".{uuid.uuid4().hex}.new")
    try:
        _write(new, document)
        os.link(new, path)  # unlike a rename it fails where there is a file, on NFS as well
    except FileExistsError:
        return False
    finally:
        new.unlink(missing_ok=True)
    return True


def _of_rank(place: Path, rank: int) -> Path:
    """Return the file of a document of a rank; the highest has the plain name, as has all without ranks."""
    return place if rank == HIGHEST else place.with_name(f"{place.name}~{rank}")


class FolderCollection(Collection):
    """A collection whose documents are the files of a folder; nothing is indexed.

    Finding a document by its key reads one file; every other query reads them all.
    """

    def __init__(self, place: Folder, name: str, layout: CollectionLayout) -> None:
        super().__init__(f"folder://{place.root}", name, layout)
        self.place = place
        self.folder = place.root / name

    def _place(self, key: Sequence[Any]) -> Path:
        """Return the file of a document by its key (see `Collection._key_of`)."""
        # equal keys must find the same file, and keys that differ in case alone never one file
        if len(key) == 1 and isinstance(key[0], str) and _PLAIN_NAME.fullmatch(key[0]):
            return self.folder / f"{key[0]}.json"
        digest = hashlib.sha256(repr(list(key)).encode()).hexdigest()
        return self.folder / f"={digest}.json"

    @contextmanager
    def _usable(self) -> Iterator[None]:
        with folder_errors(self.place.root):
            self.place.check()
            yield

    def _read(self, place: Path) -> dict[str, Any] | None:
        """Return the best document of a name; of two of one rank the one that was written as such."""
        best = _read(place)
        if self.name not in RANKED or (best is not None and rank_of(best) == HIGHEST):
            return best
        for rank in range(HIGHEST - 1, -1, -1):
            if best is not None and rank_of(best) > rank:
                break
            lower = _read(_of_rank(place, rank))
            if lower is not None:
                return lower
        return best

    def _stored(self, place: Path) -> dict[str, Any] | None:
        """Return the document that a new one would replace, None also for a damaged one."""
        try:
            return self._read(place)
        except DamagedTextError:
            return None

    def _write_unless_better(self, place: Path, document: dict[str, Any]) -> bool:
        """Write a document into the file of its rank unless a better one is there; False if one is."""
        rank = rank_of(document)
        stored = self._stored(place)
        if stored is not None and rank_of(stored) > rank:
            return False
        _write(_of_rank(place, rank), document)
        # another process may have written a better one since: then this one was written for nothing
        return rank_of(self._stored(place) or document) == rank

    def _remove_lower(self, place: Path) -> None:
        for rank in range(HIGHEST) if self.name in RANKED else ():
            _of_rank(place, rank).unlink(missing_ok=True)

    def _files(self, criteria: dict[str, Any]) -> Iterable[Path]:
        """List the places of the documents among which the answers are."""
        wanted = [criteria.get(field) for field in self.key]
        if all(isinstance(value, str) for value in wanted):
            return [self._place(wanted)]
        among = wanted[0].get("$in") if len(wanted) == 1 and isinstance(wanted[0], dict) else None
        if isinstance(among, list) and all(isinstance(value, str) for value in among):
            return sorted({self._place([value]) for value in among})
        found = self.folder.glob("[!.]*.json*")
        return sorted({path.with_name(path.name.partition(".json")[0] + ".json") for path in found})

    def _found(self, criteria: dict[str, Any] | None) -> Iterator[tuple[Path, dict[str, Any]]]:
        wanted = checked(criteria)
        test = predicate(wanted)
        with self._usable():
            for path in self._files(wanted):
                try:
                    document = self._read(path)
                except DamagedTextError as error:
                    self._report(path.stem, error)
                    continue
                if document is not None and test(document):
                    yield path, document

    def query(
        self,
        criteria: Criteria = None,
        properties: Properties = None,
        sort: dict[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents that match a MongoDB filter."""
        projection, order = Projection(properties), sort_order(sort)
        documents: Iterable[dict[str, Any]] = (document for _, document in self._found(criteria))
        for field, up in reversed(order):
            documents = sorted(documents, key=lambda d: sort_key(d, field, up), reverse=not up)
        yield from self._whole(islice(documents, skip, skip + limit if limit else None), projection)

    def count(self, criteria: Criteria = None) -> int:
        """Count the documents that match a filter."""
        return sum(1 for _ in self._found(criteria))

    def upsert(
        self,
        documents: dict[str, Any] | Iterable[dict[str, Any]],
        keep: Sequence[str] = (),
        *,
        ranked: bool = False,
    ) -> int:
        """Write documents in place of those with the same key; return how many were written."""
        # through JSON, so that times and numpy's numbers are stored as every other store has them
        batch = [loads(dumps(doc)) for doc in ([documents] if isinstance(documents, dict) else documents)]
        places = {self._place(self._key_of(document, self.key)): document for document in batch}
        with self._usable():
            for path, document in list(places.items()):
                stored = self._stored(path)
                if stored is not None and self._stays(stored, document, path.stem, keep):
                    del places[path]
            if places:
                self._lay_out()
            if ranked:
                return sum(self._write_unless_better(path, document) for path, document in places.items())
            for path, document in places.items():
                _write(path, document)
                self._remove_lower(path)
            self.place.check()
        return len(places)

    def insert(self, document: dict[str, Any]) -> bool:
        """Write a document unless its key is taken."""
        new = loads(dumps(document))
        place = self._place(self._key_of(new, self.key))
        with self._usable():
            self._lay_out()
            return _write_new(place, new)

    def merge(self, documents: Iterable[dict[str, Any]], combine: Combine, keep: Sequence[str] = ()) -> int:
        """Combine stored and new documents while no other process does, where the file system has locks."""
        new = list(documents)
        with self._usable():
            if new:
                self._lay_out()
                with locked(self.folder / ".merge.lock"):
                    return super().merge(new, combine, keep)
        return 0

    def _lay_out(self) -> None:
        self.place.lay_out()
        self.folder.mkdir(exist_ok=True)

    def remove(self, criteria: dict[str, Any]) -> int:
        """Remove the documents that match a filter; return how many."""
        paths = [path for path, _ in self._found(criteria)]
        with self._usable():
            for path in paths:
                self._remove_lower(path)
                path.unlink(missing_ok=True)
        return len(paths)

    def close(self) -> None:
        """Do nothing: no file stays open."""
