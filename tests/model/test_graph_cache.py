from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from model.graphs.cache import GraphCache, default_cache_file, graph_key, pack, unpack
from model.graphs.graph import GraphSettings, SlabGraph, build_graph
from model.graphs.slab_frame import PlainSlab
from tests.model.crystals import slabs_of

PAPER = GraphSettings()
GRAPHS = {
    graph_key(PlainSlab.from_structure(s.structure), PAPER): build_graph(s.structure, PAPER)
    for s in slabs_of("MgAg")
}


def equal(one: SlabGraph, other: SlabGraph) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(SlabGraph))


def write_one(path: Path, number: int) -> int:
    cache = GraphCache(path)
    graph = next(iter(GRAPHS.values()))
    for i in range(20):
        cache.put({f"{number}-{i}": graph})
    return len(cache.get([f"{number}-{i}" for i in range(20)]))


def test_graphs_come_back_as_they_were(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path / "deep" / "graphs.sqlite")
    assert cache.get(GRAPHS) == {}
    assert not cache.path.exists()  # looking makes nothing
    cache.put(GRAPHS)
    cache.put(GRAPHS)
    found = GraphCache(cache.path).get([*GRAPHS, "another"])
    assert found.keys() == GRAPHS.keys()
    assert all(equal(found[key], graph) for key, graph in GRAPHS.items())


def test_key_depends_on_slab_and_settings() -> None:
    slabs = [PlainSlab.from_structure(s.structure) for s in slabs_of("MgAg")]
    settings = [PAPER, GraphSettings(whole_shells=True), GraphSettings(cutoff=11.0), GraphSettings(fold=True)]
    keys = {graph_key(slab, setting) for slab in slabs for setting in settings}
    assert len(keys) == len(slabs) * len(settings)
    again = PlainSlab.from_dict(slabs_of("MgAg")[0].structure.as_dict(verbosity=0))
    assert graph_key(again, PAPER) == graph_key(slabs[0], PAPER)


@pytest.mark.parametrize(
    "content", [b"", b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_broken_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "graphs.sqlite"
    path.write_bytes(content)
    cache = GraphCache(path)
    assert cache.get(GRAPHS) == {}
    cache.put(GRAPHS)
    assert cache.get(GRAPHS).keys() == GRAPHS.keys()


def test_a_file_damaged_in_the_middle_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "graphs.sqlite"
    cache = GraphCache(path)
    cache.put(GRAPHS)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    text = bytearray(path.read_bytes())
    text[len(text) // 3 : 2 * len(text) // 3] = b"\xa5" * (len(text) // 3)
    path.write_bytes(text)
    assert all(equal(graph, GRAPHS[key]) for key, graph in cache.get(GRAPHS).items())
    cache.put(GRAPHS)
    assert cache.get(GRAPHS).keys() <= GRAPHS.keys()


def test_a_damaged_graph_counts_as_missing(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path / "graphs.sqlite")
    cache.put(GRAPHS)
    key = next(iter(GRAPHS))
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE graphs SET graph = substr(graph, 1, 200) WHERE key = ?", (key,))
    assert cache.get(GRAPHS).keys() == GRAPHS.keys() - {key}


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "graphs.sqlite"
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        assert list(pool.map(write_one, [path] * 3, range(3))) == [20] * 3
    assert len(GraphCache(path).get([f"{n}-{i}" for n in range(3) for i in range(20)])) == 60


def test_a_folder_that_cannot_be_made_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = GraphCache(tmp_path / "file" / "graphs.sqlite")
    cache.put(GRAPHS)
    assert cache.get(GRAPHS) == {}


def test_bytes_hold_the_whole_graph() -> None:
    for graph in GRAPHS.values():
        text = pack(graph)
        assert equal(unpack(text), graph)
        for wrong in (text[:-1], text + b"x", b"", b"{}\n"):
            with pytest.raises((ValueError, KeyError, TypeError)):
                unpack(wrong)


def test_place_of_the_cache_can_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGSURF_CACHE", str(tmp_path))
    assert default_cache_file() == tmp_path / "graphs.sqlite"
