"""Graphs of many slabs and crystals, from a cache on disk where possible: one SQLite file for all processes.

A graph's key is a hash of the slab's atoms and cell, of the settings and of the code that builds graphs, so
that nothing ever has to be declared out of date. A broken file is started again from scratch.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model.foundation.attach import attach_features
from model.foundation.energies import EnergyCache
from model.foundation.potential import weights_file
from model.graphs import bond_angles, bulk_graph, graph, slab_frame, thickness
from model.graphs.blob_file import BlobFile
from model.graphs.bond_angles import LineGraph
from model.graphs.bulk_graph import BulkGraph, PlainBulk, bulk_graphs, is_bulk
from model.graphs.compiled_graphs import can_compile, compiled_graphs, graph_or_reason
from model.graphs.graph import SlabGraph
from stores.errors import InputError
from stores.paths import cache_folder
from stores.structures import vacuum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from model.graphs.graph import GraphSettings
    from model.graphs.slab_frame import PlainSlab


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
_OF_LINE: dict[str, Any] = {
    "bond_weights": np.float32,
    "offsets": np.int32,
    "others": np.int32,
    "cosines": np.float32,
    "counts": np.float32,
}


def default_cache_file() -> Path:
    """Return ``graphs.sqlite`` in the folder of caches."""
    return cache_folder() / "graphs.sqlite"


@cache
def code_version(*, bulk: bool = False) -> str:
    """Return a hash of the source text that decides what a graph of a slab, or of a bulk crystal, is."""
    digest = hashlib.sha256()
    for module in (
        (bond_angles, bulk_graph, graph, slab_frame) if bulk else (vacuum, slab_frame, graph, thickness)
    ):
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(np.__version__.encode())
    return digest.hexdigest()


def graph_key(slab: PlainSlab, settings: GraphSettings) -> str:
    """Return the key of the graph of a slab or crystal: a hash of all that it is made of."""
    bulk = isinstance(slab, PlainBulk)
    digest = hashlib.sha256(code_version(bulk=bulk).encode())
    # what has no meaning for slabs, or for crystals
    settings = replace(settings, min_thickness=0.0) if bulk else replace(settings, angles=False)
    # what a potential knows of a slab is kept elsewhere, see `model.foundation.energies`
    digest.update(orjson.dumps(replace(settings, potential="").plain(), option=orjson.OPT_SORT_KEYS))
    digest.update(np.ascontiguousarray(slab.numbers, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(slab.lattice, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(slab.fractional, dtype="<f8").tobytes())
    return digest.hexdigest()


class GraphCache:
    """Graphs by their key, in a `model.graphs.blob_file.BlobFile`.

    Parameters
    ----------
    path
        The file; made, with its folder, when the first graph is put in.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_cache_file()
        self._file = BlobFile(self.path, "graphs", "graph", "graph")

    def get(self, keys: Iterable[str]) -> dict[str, SlabGraph]:
        """Return those graphs that are there."""
        return self._file.read(keys, unpack)

    def put(self, graphs: Mapping[str, SlabGraph]) -> None:
        """Write graphs; a graph under the same key is replaced."""
        self._file.write({key: pack(graph) for key, graph in graphs.items()})


def pack(graph: SlabGraph) -> bytes:
    """Write a graph as bytes: CRC-32 of the rest, a line of JSON, then its arrays, all little-endian."""
    head: dict[str, Any] = {name: getattr(graph, name) for name in _NUMBERS}
    if is_bulk(graph):
        head["bulk"] = True
    parts = []
    for name, (kind, found) in _arrays_of(graph).items():
        values = np.ascontiguousarray(found, dtype=np.dtype(kind).newbyteorder("<"))
        head[name] = len(values)
        parts.append(values.tobytes())
    body = orjson.dumps(head) + b"\n" + b"".join(parts)
    return zlib.crc32(body).to_bytes(4, "little") + body


def _arrays_of(graph: SlabGraph) -> dict[str, tuple[Any, Any]]:
    """Types and values of the arrays of a graph by name; those of its line graph as ``line.offsets``."""
    found = {name: (kind, getattr(graph, name)) for name, kind in _ARRAYS.items()}
    if isinstance(graph, BulkGraph) and graph.line is not None:
        found["angles"] = np.float32, graph.angles
        found |= {f"line.{name}": (kind, getattr(graph.line, name)) for name, kind in _OF_LINE.items()}
    return found


def unpack(text: bytes) -> SlabGraph:
    """Read a graph from `pack`; raises ValueError, KeyError or TypeError if the bytes are no graph."""
    if int.from_bytes(text[:4], "little") != zlib.crc32(memoryview(text)[4:]):
        raise ValueError("the graph is damaged")
    line_end = text.index(b"\n", 4)
    head = orjson.loads(text[4:line_end])
    values: dict[str, Any] = {name: head[name] for name in _NUMBERS}
    kinds, start = dict(_ARRAYS), line_end + 1
    if "angles" in head:
        kinds |= {"angles": np.float32, **{f"line.{name}": kind for name, kind in _OF_LINE.items()}}
    for name, kind in kinds.items():
        little = np.dtype(kind).newbyteorder("<")
        values[name] = np.frombuffer(text, little, head[name], start).astype(kind)
        start += head[name] * little.itemsize
    if "angles" in head:
        values["line"] = LineGraph(**{name: values.pop(f"line.{name}") for name in _OF_LINE})
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

    `cache`: where graphs are searched and kept, with a potential's energies beside them; None builds all.
    `tick` is called with the number of graphs done and how many there are; with a potential, which takes
    most of the time, with the number of slabs that it was called for. `bare`: without identity and
    signature, which a cache would need, by compiled code where there is some.
    """
    if settings.potential:
        weights_file(settings.potential)  # where it is missing, nothing need be built
        plain = build_graphs(slabs, replace(settings, potential=""), cache=cache, bare=bare)
        energies = None if cache is None else EnergyCache(cache.path.with_name("potentials.sqlite"))
        return attach_features(slabs, plain, settings, cache=energies, tick=tick)
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
