"""Pages of a sorted result: whatever finds the rows, together they are the whole of it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from stores.connections import open_store
from stores.surfaces import SurfaceStore

PLANES: list[Any] = [[[1, 1, 0], [1, 0, 1]], [[1, 0, 0]], [], [[[1, 1, 0]]], [1, 1, 0]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SurfaceStore:
    path: Path = tmp_path_factory.mktemp("paging") / "records.sqlite"
    draw = random.Random(1)
    made = [
        {
            "id": f"{number:03d}",
            "formula": draw.choice("abc"),
            "surface_energy": draw.choice([None, 1.0, 2.0, 3.5]),
            "not_indexed": draw.randint(0, 3),
            "equivalent_planes": (planes := draw.choice(PLANES)),
            "shown": str(planes),
        }
        for number in range(300)
    ]
    opened = open_store(str(path))
    opened.collection("surfaces").upsert(made)
    return opened


@pytest.mark.parametrize("sort", [None, {"formula": 1}, {"surface_energy": -1}, {"not_indexed": 1}])
@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"formula": "a", "not_indexed": 1},
        {"equivalent_planes": [1, 1, 0]},
        {"equivalent_planes": {"$in": [[1, 1, 0], [1, 0, 0]]}},
        {"$or": [{"equivalent_planes": [1, 1, 0]}, {"formula": "b"}]},
        {"equivalent_planes": {"$ne": [1, 1, 0]}},
    ],
)
def test_pages_are_parts_of_the_whole(
    store: SurfaceStore, criteria: dict[str, Any], sort: dict[str, int] | None
) -> None:
    whole = [document["id"] for document in store.query(criteria, ["id"], sort)]
    assert store.count(criteria) == len(whole)
    for skip in (0, 7, 299):
        for limit in (0, 5, 200):
            page = [document["id"] for document in store.query(criteria, ["id"], sort, skip, limit)]
            assert page == whole[skip:][: limit or None]


def test_a_plane_is_an_entry_of_the_list_or_the_list_itself(store: SurfaceStore) -> None:
    found = {d["shown"] for d in store.query({"equivalent_planes": [1, 1, 0]}, ["shown"])}
    assert found == {"[[1, 1, 0], [1, 0, 1]]", "[1, 1, 0]"}
