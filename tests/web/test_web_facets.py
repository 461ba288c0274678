from __future__ import annotations

import json
import re
import shutil

import pytest

from stores.connections import open_store
from workflows.cli.app import app


def query(capsys, *arguments):
    assert app([*map(str, arguments)], standalone_mode=False, prog_name="mgsurf") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("", []),
        ("?chemsys=Mg-Ag&sort=-surface_energy", ["--chemsys", "Mg-Ag", "--sort", "-surface_energy"]),
        ("?miller=110&verdict=accepted", ["--miller", "110", "--verdict", "accepted"]),
        ("?element=Ag&min-work-function=4", ["--element", "Ag", "--min-work-function", "4"]),
        ("?max_surface_energy=0.7&unit=J/m2", ["--max-surface-energy", "0.7", "--unit", "J/m2"]),
        (
            '?filter={"n_atoms":{"$lt":6}}&formula=Mg',
            ["--filter", '{"n_atoms":{"$lt":6}}', "--formula", "Mg"],
        ),
        ('?filter={"formula":{"$regex":"^MgA"}}', ["--filter", '{"formula":{"$regex":"^MgA"}}']),
        ("?sort=work_function", ["--sort", "work_function"]),
    ],
)
def test_rows_are_those_of_the_command(client, filled, capsys, address, options):
    shown = client.get(f"/facets.json{address}").json()
    rows = query(capsys, "query", "--store", filled, "--json", *options)
    assert shown["rows"] == rows
    assert shown["total"] == len(rows)


def test_the_table_shows_the_stored_numbers(client):
    text = client.get("/facets?formula=MgAg&sort=surface_energy").text
    rows = re.findall(r"<tr>\n<td><a href=\"/compounds/MgAg\">.*?</tr>", text, re.DOTALL)
    assert len(rows) == 5
    for number in ("0.0364", "0.583", "0.0591", "0.947", "3.378", "(100)"):  # both ends, both units
        assert number in rows[0]
    assert "vacuum not flat" in rows[2 + 1] or "vacuum not flat" in text


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("?sort=colour", "cannot be sorted by"),
        ("?chemsi=Mg", "did you mean"),
        ("?min_work_function=four", "no finite number"),
        ("?min_work_function=nan", "no finite number"),
        ("?filter={", "not valid JSON"),
        ('?filter={"$where":"1"}', "$where"),
        ("?verdict=fine", "not known"),
        ("?page=0", "whole number"),
        ("?page=99999999999999999999", "whole number"),
        ("?miller=11", "--miller"),
        ("?formula=MgAg&formula=Mg", "give it once"),
        ("?unit=erg", "choose"),
    ],
)
def test_what_cannot_be_read_is_a_page_with_one_line(client, address, words):
    for path in ("/facets", "/facets.json"):
        answer = client.get(f"{path}{address}")
        assert answer.status_code == 400
        text = answer.json()["error"] if path.endswith("json") else answer.text
        assert words in text.replace("&#39;", "'").replace("&#34;", '"')
        assert "Traceback" not in text


def test_a_hostile_pattern_holds_no_thread(client_of, records, tmp_path, monkeypatch):
    surface = records.quickstart_surfaces()[0].model_copy(update={"campaign": "a" * 40})
    with open_store(f"sqlite:///{tmp_path}/s.sqlite") as store:
        store.add(surface)
    client = client_of(tmp_path / "s.sqlite")
    monkeypatch.setattr("stores.backends.regex_search.REGEX_SECONDS", 0.05)
    slow = '{"campaign":{"$regex":"^(.|.)*!"}}'
    for criteria in (slow, '{"$or":[{"campaign":{"$not":{"$regex":"^((.)*)*!"}}}]}'):
        answer = client.get("/facets.json", params={"filter": criteria})
        assert answer.status_code == 400 and "takes more than" in answer.json()["error"]
    fine = client.get("/facets.json", params={"filter": '{"formula":{"$regex":"^Mg(Ag)?$"}}'})
    assert fine.json()["total"] == 1


def test_a_page_beyond_the_last_names_their_number(client):
    answer = client.get("/facets.json?page=7")
    assert answer.json()["rows"] == []
    assert "1 page" in answer.json()["remark"]


def test_nothing_found_names_what_the_store_holds(client):
    assert "8 surfaces" in client.get("/facets.json?formula=MgCu2").json()["remark"]


def test_a_damaged_record_has_a_page_that_names_its_field(client_of, filled, tmp_path):
    path = tmp_path / "s.sqlite"
    shutil.copy(filled, path)
    with open_store(f"sqlite:///{path}") as store:
        sound = next(store.query())
        lacking = {name: value for name, value in sound.items() if name != "method_fingerprint"}
        bare = {**sound, "id": "bare", "chemical_potentials": None}
        store.collection("surfaces").upsert([{**lacking, "id": "lacking"}, bare])
    client = client_of(path)
    answer = client.get("/facets/lacking.json")
    assert answer.status_code == 422
    assert "method_fingerprint is missing" in answer.json()["error"]
    assert client.get("/facets/lacking").status_code == 422
    for page in ("/", "/facets", "/failures", "/compounds/MgAg", "/facets/bare"):
        assert client.get(page).status_code == 200
