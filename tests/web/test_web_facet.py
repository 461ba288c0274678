from __future__ import annotations

import html
from urllib.parse import quote

import pytest

from stores.connections import open_store
from stores.learning.candidates import add_candidates
from tests.web.candidates import candidate

HOSTILE = '<script>alert("x")</script>\'"&{{7*7}}'


@pytest.fixture(scope="module")
def first(records):
    return records.quickstart_surfaces()[0]


def test_json_is_the_stored_record(client, filled, first):
    shown = client.get(f"/facets/{first.id}.json").json()
    with open_store(str(filled), must_exist=True) as store:
        assert shown["facet"] == next(store.query({"id": first.id}))
    others = {(tuple(r["miller_index"]), r["termination_label"]) for r in shown["neighbours"]}
    assert others == {((1, 0, 0), "Ag"), ((1, 1, 0), "MgAg"), ((1, 1, 1), "Mg"), ((1, 1, 1), "Ag")}


def test_the_page_shows_numbers_units_and_drawings(client, first):
    text = client.get(f"/facets/{first.id}").text
    for part in ("0.0364", "0.583", "0.0591", "3.378", "eV/Å²", "J/m²", "accepted", "fermi-dirac, 0.1 eV"):
        assert part in text
    assert text.count('<svg class="chart"') == 2
    assert text.count('<svg class="atoms"') == 2
    assert text.count("Φ = 3.378 eV") == 2  # each plateau


def test_a_rejected_value_comes_with_its_reason(client, records):
    text = client.get(f"/facets/{records.quickstart_surfaces()[4].id}").text
    assert "top: slope 0.014 eV/A (limit 0.01)" in text


def test_a_failed_facet_is_a_page_as_well(client, records):
    answer = client.get(f"/facets/{records.quickstart_surfaces()[7].id}")
    assert answer.status_code == 200
    assert "mpirun ended with status 1" in answer.text


def test_calculations_are_listed_and_lost_ones_named(client_of, records, tmp_path, first):
    run = records.calculations()[3]
    ids = {"relax": run.id, "static": "lost-calculation"}
    path = tmp_path / "store.sqlite"
    with open_store(str(path)) as store:
        store.add([first.model_copy(update={"calculation_ids": ids}), run])
    shown = client_of(path).get(f"/facets/{first.id}.json").json()["calculations"]
    found = [(c["role"], c["status"], c["energy"]) for c in shown]
    assert found == [("relax", "ok", -7.0), ("static", None, None)]
    text = client_of(path).get(f"/facets/{first.id}").text
    assert "lost-calculation is not in this store" in text


@pytest.mark.parametrize("found_by", ["id", "place in the crystal"])
def test_a_stored_prediction_stands_beside_the_value(client_of, records, tmp_path, first, found_by):
    path = tmp_path / "store.sqlite"
    with open_store(str(path)) as store:
        store.add([first, records.bulk()])
        add_candidates(store, [candidate(first, first.id if found_by == "id" else "another")])
    shown = client_of(path).get(f"/facets/{first.id}.json").json()["prediction"]
    assert shown["model"] == "v3"
    predicted = shown["predictions"]["surface_energy"]
    assert (predicted["value"], predicted["sigma"]) == (0.0384, 0.002)
    text = client_of(path).get(f"/facets/{first.id}").text
    assert "0.0384" in text
    assert "0.0020" in text  # sigma and the difference


@pytest.mark.parametrize("path", ["/facets/no-such-id", "/facets/no-such-id.json", f"/facets/{'x' * 5000}"])
def test_a_removed_record_is_named(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    text = answer.json()["error"] if path.endswith("json") else answer.text
    assert "holds no facet" in text
    assert "/facets" in text


def test_names_with_markup_are_shown_as_they_are(client_of, records, tmp_path):
    path = tmp_path / "store.sqlite"
    hostile = records.surface(
        formula=HOSTILE, label=HOSTILE, campaign=HOSTILE, id="a/../b?c#d",
        provenance={"source": HOSTILE, "identifiers": [HOSTILE]},
        verdicts=records.Verdicts(
            surface_energy=records.verdict("reconstructed", HOSTILE), work_function=records.verdict()
        ),
    )  # fmt: skip
    with open_store(str(path)) as store:
        store.add(hostile)
    client = client_of(path)
    table = client.get("/facets").text
    link = table.split('<td><a href="/facets/')[1].split('"')[0]
    compound = table.split('<td><a href="/compounds/')[1].split('"')[0]
    for address in (
        "/facets",
        f"/facets/{link}",
        f"/compounds/{compound}",
        f"/facets?campaign={quote(HOSTILE)}",
    ):
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert "<script>alert" not in answer.text
        assert HOSTILE in html.unescape(answer.text)
        as_json = html.unescape(answer.text.split('<a href="')[-1].split('"')[0])
        assert ".json" in as_json
        assert client.get(as_json).status_code == 200


def test_a_damaged_structure_is_one_line(client_of, records, tmp_path, first):
    path = tmp_path / "store.sqlite"
    with open_store(str(path)) as store:
        store.add(first.model_copy(update={"slab": {"sites": []}}))
    answer = client_of(path).get(f"/facets/{first.id}")
    assert answer.status_code == 503
    assert "damaged" in answer.text
