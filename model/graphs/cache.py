"""Graphs of many slabs and crystals, from a cache on disk where possible: one SQLite file for all processes.

A graph's key is a hash of the slab's atoms and cell, of the settings and of the code that builds graphs, so
that nothing ever has to be declared out of date. A broken file is started again from scratch.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import zlib
from contextlib import closing, suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model.graphs import bulk_graph, graph, slab_frame, thickness
from model.graphs.bulk_graph import BulkGraph, PlainBulk, bulk_graphs, is_bulk
from model.graphs.compiled_graphs import can_compile, compiled_graphs, graph_or_reason
from model.graphs.graph import SlabGraph
from stores.backends.wal import turn_wal_on
from stores.errors import InputError
from stores.paths import cache_folder
from stores.structures import vacuum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from model.graphs.graph import GraphSettings
    from model.graphs.slab_frame import PlainSlab


LOG = logging.getLogger(__name__)

_ARRAYS: dict[str, Any] = {
    "numbers": np.int16,
    "depth": np.float32,
    "offsets": np.int32,
    "neighbours": np.int32,
    "distances": np.float32,
    "cosines": np.float32,
    "multiplicity": np.float32,
    "edge_multiplicity": np.float32,
    "signature": np.float32,
}
_NUMBERS = ("thickness", "area", "identity")
_TABLE = "CREATE TABLE IF NOT EXISTS graphs (key TEXT PRIMARY KEY, graph BLOB NOT NULL) WITHOUT ROWID"


def default_cache_file() -> Path:
    """Return ``graphs.sqlite`` in the folder of caches."""
    return cache_folder() / "graphs.sqlite"


@cache
def code_version(*, bulk: bool = False) -> str:
    """Return a hash of the source text that decides what a graph of a slab, or of a bulk crystal, is."""
    digest = hashlib.sha256()
    for module in (bulk_graph, graph, slab_frame) if bulk else (vacuum, slab_frame, graph, thickness):
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(np.__version__.encode())
    return digest.hexdigest()


def graph_key(slab: PlainSlab, settings: GraphSettings) -> str:
    """Return the key of the graph of a slab or crystal: a hash of all that it is made of."""
    bulk = isinstance(slab, PlainBulk)
    digest = hashlib.sha256(code_version(bulk=bulk).encode())
    if bulk:
        settings = replace(settings, min_thickness=0.0)  # without meaning
    digest.update(orjson.dumps(asdict(settings), option=orjson.OPT_SORT_KEYS))
    digest.update(np.ascontiguousarray(slab.numbers, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(slab.lattice, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(slab.fractional, dtype="<f8").tobytes())
    return digest.hexdigest()


class GraphCache:
    """Graphs by their key.

    Whatever is wrong with the file, at worst every graph is built again: a damaged file is removed, a file
    that cannot be written is left alone, with a warning in the log.

    Parameters
    ----------
    path
        The file; made, with its folder, when the first graph is put in.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_cache_file()

    def get(self, keys: Iterable[str]) -> dict[str, SlabGraph]:
        """Return those graphs that are there."""
        if not self.path.exists():
            return {}
        found: dict[str, SlabGraph] = {}
        try:
            with closing(self._connect()) as connection:
                for key in dict.fromkeys(keys):
                    row = connection.execute("SELECT graph FROM graphs WHERE key = ?", (key,)).fetchone()
                    with suppress(ValueError, KeyError, TypeError):
                        if row is not None:
                            found[key] = unpack(row[0])
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
        return found

    def put(self, graphs: Mapping[str, SlabGraph]) -> None:
        """Write graphs; a graph under the same key is replaced."""
        if not graphs:
            return
        rows = [(key, pack(graph)) for key, graph in graphs.items()]
        for _ in range(2):  # the second time with a new file
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(self._connect()) as connection, connection:
                    connection.execute(_TABLE)
                    connection.executemany("INSERT OR REPLACE INTO graphs VALUES (?, ?)", rows)
                return
            except (sqlite3.Error, OSError) as error:
                if not self._failed(error):
                    return

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60)
        try:
            turn_wal_on(connection)
            # losing the last graphs in a power cut does no harm
            connection.execute("PRAGMA synchronous=OFF")
            if self.path.stat().st_size > 0:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _failed(self, error: Exception) -> bool:
        """Remove a damaged file; return whether it is worth trying again."""
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if "no such table" in str(error):
            return False  # another process is just making it
        missing = "no such column" in str(error)
        if not damaged and not missing:
            LOG.warning("The graph cache %s cannot be used (%s); graphs are built again.", self.path, error)
            return False
        LOG.info("The graph cache %s is damaged (%s) and started again.", self.path, error)
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        return True


def pack(graph: SlabGraph) -> bytes:
    """Write a graph as bytes: CRC-32 of the rest, a line of JSON, then its arrays, all little-endian."""
    head: dict[str, Any] = {name: getattr(graph, name) for name in _NUMBERS}
    if is_bulk(graph):
        head["bulk"] = True
    parts = []
    for name, kind in _ARRAYS.items():
        values = np.ascontiguousarray(getattr(graph, name), dtype=np.dtype(kind).newbyteorder("<"))
        head[name] = len(values)
        parts.append(values.tobytes())
    body = orjson.dumps(head) + b"\n" + b"".join(parts)
    return zlib.crc32(body).to_bytes(4, "little") + body


def unpack(text: bytes) -> SlabGraph:
    """Read a graph from `pack`; raises ValueError, KeyError or TypeError if the bytes are no graph."""
    if int.from_bytes(text[:4], "little") != zlib.crc32(memoryview(text)[4:]):
        raise ValueError("the graph is damaged")
    line_end = text.index(b"\n", 4)
    head = orjson.loads(text[4:line_end])
    values: dict[str, Any] = {name: head[name] for name in _NUMBERS}
    start = line_end + 1
    for name, kind in _ARRAYS.items():
        little = np.dtype(kind).newbyteorder("<")
        values[name] = np.frombuffer(text, little, head[name], start).astype(kind)
        start += head[name] * little.itemsize
    return BulkGraph(**values) if head.get("bulk") else SlabGraph(**values)


_BATCH = 200  # graphs built at once and put into the cache: what is built so far survives an interruption


def build_graphs(
    slabs: Sequence[PlainSlab],
    settings: GraphSettings,
    *,
    cache: GraphCache | None = None,
    tick: Callable[[int, int], None] | None = None,
    bare: bool = False,
) -> list[SlabGraph | InputError]:
    """Return a graph for each slab or bulk crystal, or the reason why there is none.

    `cache`: where graphs are searched and kept, None builds all; `tick` is called with the number of graphs
    done and how many there are; `bare`: without identity and signature, which a cache would need, by compiled
    code where there is some.
    """
    compile_them = bare and cache is None and can_compile(settings)
    keys = [graph_key(slab, settings) for slab in slabs] if cache is not None else [""] * len(slabs)
    found = cache.get(keys) if cache is not None else {}
    graphs: list[SlabGraph | InputError] = []
    fresh: dict[str, SlabGraph] = {}

    def add(key: str, graph: SlabGraph | InputError, *, known: bool) -> None:
        nonlocal fresh
        if not known and isinstance(graph, SlabGraph):
            fresh[key] = graph
        graphs.append(graph)
        if cache is not None and (len(fresh) >= _BATCH or len(graphs) == len(slabs)):
            cache.put(fresh)
            fresh = {}
        if tick is not None:
            tick(len(graphs), len(slabs))

    for start in range(0, len(slabs), _BATCH):
        part = list(zip(slabs[start : start + _BATCH], keys[start : start + _BATCH], strict=True))
        crystals = [s for s, key in part if isinstance(s, PlainBulk) and key not in found]
        built = iter(bulk_graphs(crystals, settings))
        compiled = iter(
            compiled_graphs([s for s, _ in part if not isinstance(s, PlainBulk)], settings)
            if compile_them
            else ()
        )
        for slab, key in part:
            if key in found:
                add(key, found[key], known=True)
            elif isinstance(slab, PlainBulk):
                add(key, next(built), known=False)
            elif compile_them:
                add(key, next(compiled), known=False)
            else:
                add(key, graph_or_reason(slab, settings), known=False)
    return graphs
