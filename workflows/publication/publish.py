"""From a snapshot to a folder with a citable data set.

Equal contents of the store give equal files, byte for byte: nothing bears a time but the snapshot's, and
entries are in the order of their ids. The folder appears when it is complete.
"""

from __future__ import annotations

import gc
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, StoreError, install_command
from stores.files import replacing_folder
from stores.learning.snapshots import find_snapshot
from workflows.publication import manifest
from workflows.publication.citation import citation_file, licence_file
from workflows.publication.contents import Contents
from workflows.publication.croissant import croissant
from workflows.publication.datasheet import Audited, Facts, datasheet, description_of, title_of
from workflows.publication.files import ManyFiles, write_csv, write_rows
from workflows.publication.left_out import write_left_out
from workflows.publication.model import write_model
from workflows.publication.ro_crate import ro_crate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stores.learning.snapshots import Snapshot
    from stores.surfaces import SurfaceStore
    from workflows.publication.model import PublishedModel
    from workflows.publication.terms import Terms

_FAULT_COLUMNS = ("record_id", "formula", "target", "verdict", "reason")


@dataclass(frozen=True)
class Published:
    """What was published: the snapshot's id, numbers of entries and of values left out, files, bytes."""

    snapshot: str
    title: str
    entries: int
    left_out: int
    changed: int
    faults: int
    files: int
    size: int


def check_target(folder: Path) -> None:
    """Raise an InputError unless a data set can be written there: nothing, or an empty folder."""
    if not folder.absolute().parent.is_dir():
        raise InputError(f"{folder}: no folder {folder.absolute().parent}; make it first")
    if folder.exists() and folder.samefile("."):
        raise InputError(f"{folder}: is the current folder, which would be replaced; name a new one in it")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: is no folder; choose another path")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            f"{folder}: is not empty, and a published data set is never replaced; choose a new folder"
        )


def check_installed() -> None:
    """Raise an InputError if pyarrow is missing."""
    try:
        import pyarrow.parquet  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        raise InputError(
            f"a data set has Parquet files, which need pyarrow; run: {install_command('parquet')}"
        ) from None


def publish(
    store: SurfaceStore,
    name: str,
    folder: Path,
    terms: Terms,
    *,
    model: PublishedModel | None = None,
    audited: Audited | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Published:
    """Write a snapshot as a data set.

    Parameters
    ----------
    store
        Holds the snapshot; it is only read.
    name
        Id of the snapshot, or its beginning.
    folder
        To make; may be there if it is empty.
    terms
        Title, creators, licence.
    model
        Published with the data.
    audited
        What an audit of the snapshot's labels found; None if none was made.
    tick
        Called with the number of entries written, and how many there are.

    Raises
    ------
    InputError
        If there is no such snapshot, it is empty, `folder` is not empty, or pyarrow is missing.
    StoreError
        If data of the snapshot are damaged, or the folder cannot be written; nothing is left of it then.
    """
    check_target(folder)
    check_installed()
    snapshot = find_snapshot(store, name)
    if not snapshot.records:
        raise InputError(f"The snapshot {snapshot.id} in {store.uri} is empty; publish another.")
    try:
        with replacing_folder(folder) as new:
            new.mkdir()
            return _write(store, snapshot, new, terms, model, audited, tick)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(
            f"{folder} could not be written ({reason}); nothing is left of it. Free space or choose "
            f"another place."
        ) from error


def _write(
    store: SurfaceStore,
    snapshot: Snapshot,
    new: Path,
    terms: Terms,
    model: PublishedModel | None,
    audited: Audited | None,
    tick: Callable[[int, int], None] | None,
) -> Published:
    date = snapshot.created_at[:10]
    contents = Contents(store, snapshot)
    files = ManyFiles(new, contents)
    done = 0
    with _plain_memory(), files.opened(terms.url or f"mgsurf:{snapshot.id}") as add:
        for entries in contents.entries():
            add(entries)
            done += len(entries)
            if tick is not None:
                tick(done, snapshot.n_records)
    summary = contents.summary
    filled = [column for column in contents.columns if column.name in summary.filled]
    write_csv(new, [column.name for column in filled if column.kind not in ("texts", "numbers")])
    left_out = write_left_out(store, snapshot, summary.incomplete, new / "left_out.csv")
    if summary.faults:
        write_rows(new / manifest.FAULTS, _FAULT_COLUMNS, summary.faults)
    if model is not None:
        write_model(model, new / manifest.MODEL_FOLDER, snapshot.id)
    title = terms.title or title_of(contents)
    description = description_of(contents)
    facts = Facts(contents, terms, title, description, left_out, audited, model)
    _text(new / manifest.LICENCE, licence_file(terms, title, date))
    _text(new / manifest.CITATION, citation_file(terms, title, description, date))
    _json(new / manifest.CROISSANT, croissant(new, terms, title, description, date, filled))
    _text(new / manifest.DATASHEET, datasheet(facts, manifest.present(new)))
    named = {"snapshot": snapshot.id, "snapshot created at": snapshot.created_at}
    _json(new / manifest.RO_CRATE, ro_crate(new, terms, title, description, date, named))
    manifest.write_checksums(new, files.sha256)
    everything = [path for path in new.rglob("*") if path.is_file()]
    return Published(
        snapshot=snapshot.id,
        title=title,
        entries=snapshot.n_records,
        left_out=sum(left_out.values()),
        changed=summary.states["changed"] + summary.states["removed"],
        faults=len(summary.faults),
        files=len(everything),
        size=sum(path.stat().st_size for path in everything),
    )


@contextmanager
def _plain_memory() -> Iterator[None]:
    """Let Python not search for reference cycles: entries have none, and a quarter of the time goes there."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _json(path: Path, content: Any) -> None:
    _text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
