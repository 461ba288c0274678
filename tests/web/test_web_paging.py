from __future__ import annotations

import shutil

import pytest

from stores.backends.sqlite import DocumentTable
from stores.connections import open_store

NUMBER = 450
PLANES = [[1, 0, 1], [0, 1, 1], [1, 1, 0]]


@pytest.fixture(scope="module")
def many(records, tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "store.sqlite"
    one = records.surface().model_dump(mode="json") | {"potential": None, "relaxed_slab": None}
    made = [
        {
            **one,
            "id": f"{n:04d}",
            "formula": f"Mg{n % 7 + 2}Ag",
            "surface_energy": n / 1000 if n % 9 else None,
            "equivalent_planes": PLANES if n % 3 else [[1, 1, 1]],
        }
        for n in range(NUMBER)
    ]
    with open_store(str(path)) as store:
        store.collection("surfaces").upsert(made)
    return path


@pytest.fixture
def documents_read(monkeypatch):
    """Numbers of documents that were read from the table of surfaces."""
    counts = []
    plain = DocumentTable._documents

    def counted(self, connection, table, numbers, whole):
        counts.append(len(numbers))
        return plain(self, connection, table, numbers, whole)

    monkeypatch.setattr(DocumentTable, "_documents", counted)
    return counts


@pytest.mark.parametrize("order", ["", "&sort=surface_energy", "&sort=-surface_energy", "&sort=formula"])
def test_pages_together_are_the_whole_table(client_of, many, order):
    client = client_of(many)
    listed = [r for n in range(1, 6) for r in client.get(f"/facets.json?page={n}{order}").json()["rows"]]
    assert sorted(r["id"] for r in listed) == [f"{n:04d}" for n in range(NUMBER)]
    values = [r["surface_energy"] for r in listed]
    known = [value for value in values if value is not None]
    if "surface_energy" in order:
        assert known == sorted(known, reverse="-" in order)
        assert values[len(known) :] == [None] * 50


@pytest.mark.parametrize("order", ["", "&sort=surface_energy", "&sort=-surface_energy"])
def test_damaged_records_shift_no_page(client_of, many, tmp_path, order):
    shutil.copy(many, tmp_path / "store.sqlite")
    with open_store(str(tmp_path / "store.sqlite")) as store:
        bad = store.surfaces_collection.by_id(f"{n:04d}" for n in (1, 2, 350, 440))
        store.surfaces_collection.upsert([{**one, "termination_label": 5} for one in bad])
    client = client_of(tmp_path / "store.sqlite")
    pages = [client.get(f"/facets.json?page={n}{order}").json()["rows"] for n in range(1, 6)]
    assert sorted(r["id"] for rows in pages for r in rows) == [
        f"{n:04d}" for n in range(NUMBER) if n not in (1, 2, 350, 440)
    ]


@pytest.mark.parametrize(
    "query", ["page=1", "page=5", "page=5&sort=-surface_energy", "page=4&chemsys=Mg-Ag", "page=1&miller=110"]
)
def test_a_page_reads_no_more_than_its_rows(client_of, many, documents_read, query):
    rows = client_of(many).get(f"/facets.json?{query}").json()["rows"]
    assert len(rows) in (50, 100)
    assert sum(documents_read) == len(rows)
