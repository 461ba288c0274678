"""Fields that surfaces are sorted by have indexes; a store of an older version gets those that it lacks."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from stores.backends.collection import LAYOUTS
from stores.connections import open_store
from tests.stores.conftest import make_surface
from workflows.report.surface_filter import SORTABLE
from workflows.web.optimade.entries import BULK, SLAB

NEW = ("formation_energy", "thickness", "area", "n_atoms", "n_layers")


def test_every_order_of_the_pages_has_an_index() -> None:
    assert set(SORTABLE) <= set(LAYOUTS["surfaces"].indexed)
    for kind in (BULK, SLAB):
        assert set(kind.columns.values()) - {"id"} <= set(LAYOUTS[kind.collection].indexed)


def test_an_older_store_gets_them_once_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stores.backends.sqlite_table._MANY", 3)
    new = LAYOUTS["surfaces"]
    path = tmp_path / "old.sqlite"
    with monkeypatch.context() as patched:
        old = replace(new, indexed=tuple(name for name in new.indexed if name not in NEW))
        patched.setitem(LAYOUTS, "surfaces", old)
        with open_store(str(path)) as store:
            store.add([make_surface(i, area=10.0 - i) for i in range(4)])
    with open_store(str(path), must_exist=True) as store:  # reading changes nothing
        assert [one["area"] for one in store.query({}, ["area"], {"area": 1})] == [7.0, 8.0, 9.0, 10.0]
    assert not caplog.messages
    with open_store(str(path)) as store:
        store.add(make_surface(4, area=1.0))
        assert store.count({"area": {"$lt": 8.5}}) == 3
    (line,) = caplog.messages
    assert all(name in line for name in NEW) and str(path) in line and "4 surfaces" in line
    caplog.set_level(logging.WARNING)
    with open_store(str(path)) as store:
        store.add(make_surface(5, area=2.0))
    assert len(caplog.messages) == 1
    with sqlite3.connect(path) as raw:
        plan = raw.execute("EXPLAIN QUERY PLAN SELECT _row FROM surfaces ORDER BY area").fetchall()
    assert "USING INDEX surfaces:area" in str(plan) or "USING COVERING INDEX surfaces:area" in str(plan)
