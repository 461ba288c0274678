"""The OPTIMADE interface: entries, filters, order, pages and errors, against the records themselves."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from stores.backends.filters import predicate
from stores.backends.sqlite import DocumentTable
from stores.connections import open_store
from tests.web.optimade_store import bulks, make_store, surfaces

pytest.importorskip("optimade.server")
from optimade.filterparser import LarkParser
from optimade.models import EntryInfoResponse, InfoResponse, LinksResponse, StructureResource
from optimade.server.mappers import StructureMapper

from workflows.web.optimade import collection
from workflows.web.optimade.app import _settings
from workflows.web.optimade.entries import BULK, KINDS, PROPERTIES, SLAB, attributes, site_attributes
from workflows.web.optimade.filters import PropertyTransformer, narrow

Get = Callable[..., dict[str, Any]]
TOTAL = 7 + 28


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optimade") / "results.sqlite"
    make_store(path)
    return path


@pytest.fixture(scope="module")
def ask(store_path: Path, client_of: Any) -> Get:
    """Ask for a path below the versioned base URL; the status is checked, the answer is JSON."""
    client = client_of(store_path)

    def get(path: str, status: int = 200, **parameters: Any) -> dict[str, Any]:
        answer = client.get(f"/optimade/v1/{path}", params=parameters)
        assert answer.status_code == status, answer.text[:600]
        assert answer.headers["content-type"] == "application/vnd.api+json"
        return answer.json()

    return get


def ids(answer: dict[str, Any]) -> list[str]:
    return [entry["id"] for entry in answer["data"]]


def all_pages(ask: Get, **parameters: Any) -> list[str]:
    found, count = [], 0
    while True:
        answer = ask("structures", **parameters)
        found += ids(answer)
        count += 1
        following = answer["links"]["next"]
        assert answer["meta"]["more_data_available"] == (following is not None)
        if following is None or count > 100:
            return found
        parameters = {name: values[0] for name, values in parse_qs(urlsplit(following).query).items()}


@cache
def whole_entries() -> dict[str, dict[str, Any]]:
    """Entries by id, made of the records without any store."""
    found = {}
    for kind, records in ((BULK, bulks()), (SLAB, surfaces())):
        for record in records:
            document = json.loads(record.model_dump_json())
            document["created_at"] = record.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            found[record.id] = attributes(kind, document) | site_attributes(kind, document)
    return found


def test_damaged_records_end_no_page_early(store_path: Path, client_of: Any, tmp_path: Path) -> None:
    shutil.copy(store_path, tmp_path / "s.sqlite")
    with open_store(f"sqlite:///{tmp_path}/s.sqlite") as store:
        found = list(store.query(sort={"id": 1}))
        for document in found[:3]:
            store.surfaces_collection.upsert({**document, "bulk_id": 5})
    client = client_of(tmp_path / "s.sqlite")

    def get(path: str, **parameters: Any) -> dict[str, Any]:
        return client.get(f"/optimade/v1/{path}", params=parameters).json()

    for limit in (1, 2, 5, 20):
        served = all_pages(get, page_limit=limit)
        assert set(whole_entries()) - set(served) == {document["id"] for document in found[:3]}
        assert len(served) == TOTAL - 3


def test_info_says_what_is_there(ask: Get) -> None:
    InfoResponse(**ask("info"))
    described = EntryInfoResponse(**ask("info/structures")).data.properties
    served = ask("structures", page_limit=1)["data"][0]["attributes"]
    assert served.keys() | {"id", "type"} == described.keys()
    for own in PROPERTIES:
        assert described[own.key].description and described[own.key].unit == own.unit
    assert described["_mgsurf_surface_energy"].unit == "eV/Ao2"
    assert {name for name, stated in described.items() if stated.sortable} >= {"id", "_mgsurf_work_function"}
    assert not described["elements"].sortable
    links = LinksResponse(**ask("links")).data
    assert [(link.attributes.link_type.value, str(link.attributes.base_url)) for link in links] == [
        ("root", "http://testserver/optimade"),
        ("providers", "https://providers.optimade.org/"),
    ]
    assert ids(ask("links", filter='id STARTS WITH "opt"')) == ["optimade"]


def test_a_slab_is_what_its_record_says(ask: Get) -> None:
    record = next(r for r in surfaces() if r.formula == "MgZn2" and r.termination == 1)
    entry = ask(f"structures/{record.id}")["data"]
    StructureResource(**entry)
    stated = entry["attributes"]
    assert stated["elements"] == ["Mg", "Zn"]
    assert stated["chemical_formula_reduced"] == "Mg3Zn4"  # of the slab, whose termination has one Mg more
    assert stated["chemical_formula_anonymous"] == "A4B3"
    assert stated["elements_ratios"] == pytest.approx([3 / 7, 4 / 7])
    assert stated["nsites"] == len(stated["cartesian_site_positions"]) == 7
    assert stated["dimension_types"] == [1, 1, 0]
    assert stated["_mgsurf_formula"] == "MgZn2"
    assert stated["_mgsurf_miller_index"] == [1, 0, 0]
    assert stated["_mgsurf_surface_energy"] == record.surface_energy
    assert stated["_mgsurf_surface_energy_x_rich"] == 0.05
    assert stated["_mgsurf_rich_element"] == "Mg"
    assert stated["_mgsurf_work_function"] == record.work_function
    assert stated["_mgsurf_geometry"] == "relaxed"
    moved, cut = stated["cartesian_site_positions"][0], stated["_mgsurf_as_cut_positions"][0]
    assert (moved[0], cut[0]) == (0.033, 0.0)
    bulk = entry["relationships"]["structures"]["data"][0]["id"]
    assert bulk == record.bulk_id == stated["_mgsurf_bulk"]
    included = ask(f"structures/{record.id}", include="structures")["included"]
    assert [crystal["id"] for crystal in included] == [bulk]
    assert included[0]["attributes"]["space_group_it_number"] == 194
    as_cut = next(r.id for r in surfaces() if r.formula == "MgZn2" and r.relaxed_slab is None)
    stated = ask(f"structures/{as_cut}")["data"]["attributes"]
    assert (stated["_mgsurf_geometry"], stated["_mgsurf_as_cut_positions"]) == ("as cut", None)
    rejected = ask("structures", filter='_mgsurf_surface_energy_verdict="reconstructed"')["data"]
    assert len(rejected) == 7  # served, with the verdict and its reason
    assert {entry["attributes"]["_mgsurf_surface_energy_reason"] for entry in rejected} == {"moved"}


FILTERS = [
    'elements HAS "Mg"',
    'elements HAS ALL "Mg","Zn" AND nelements=2',
    'elements HAS ANY "Ag","Ni"',
    'elements HAS ONLY "Mg","Zn"',
    'NOT elements HAS "Mg"',
    "elements LENGTH 3",
    "nelements>=2 AND nsites<=6",
    "3 > nelements",
    'chemical_formula_reduced="MgZn2"',
    'chemical_formula_reduced="Mg3Zn4"',
    'chemical_formula_reduced!="AgMg"',
    'chemical_formula_anonymous="A2B"',
    'chemical_formula_descriptive CONTAINS "Cu"',
    'chemical_formula_descriptive STARTS WITH "Mg" AND _mgsurf_kind="bulk"',
    'chemical_formula_descriptive ENDS WITH "12"',
    "nperiodic_dimensions=3",
    "dimension_types HAS 0",
    'structure_features HAS "disorder"',
    "structure_features LENGTH 0",
    "_mgsurf_surface_energy<0.045",
    "_mgsurf_surface_energy IS UNKNOWN",
    "_mgsurf_surface_energy IS KNOWN AND NOT _mgsurf_surface_energy > 0.04",
    '_mgsurf_work_function>3.55 OR _mgsurf_formula="Mg2Ni"',
    "_mgsurf_n_layers=4 AND _mgsurf_area>15",
    "_mgsurf_miller_index HAS 0",
    '_mgsurf_source_ids HAS "mp-101"',
    '_mgsurf_formula="MgAg" OR _mgsurf_formula="MgZn2" OR id="b0-mgag"',
    'id STARTS WITH "s1"',
    'id="s07-mgag"',
    'NOT (elements HAS "Mg" AND _mgsurf_work_function<3.6)',
    'last_modified>"2026-01-01T15:00:00Z"',
    'last_modified="2026-01-01T14:00:00.123456Z"',
    'last_modified<="2026-01-01T16:00:00.123456+02:00"',
    'last_modified IS KNOWN AND type="structures"',
    'structures.id HAS "b1-mgzn2"',
    'structures.id HAS ANY "b1-mgzn2","b5-mg"',
    'species_at_sites HAS "Ag"',
    "nsites=29",
    "space_group_it_number=194",
    "_mgsurf_spacegroup_number=194",
    "chemical_formula_hill IS UNKNOWN AND immutable_id IS UNKNOWN",
    "_exmpl_gap>1 OR nelements=1",
    'chemical_formula_descriptive CONTAINS "(" OR id CONTAINS "."',
    'elements HAS "Mg" AND elements HAS "Xx"',
    'NOT id="b0-mgag" AND NOT _mgsurf_kind="slab"',
]


@cache
def transformer() -> PropertyTransformer:
    return PropertyTransformer(mapper=StructureMapper(_settings("0")))


@pytest.mark.parametrize("text", FILTERS)
def test_filters_find_what_all_entries_tested_one_by_one_give(
    ask: Get, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "MOST_TESTED", 10)  # so that long searches end their pages
    test = predicate(transformer().transform(LarkParser().parse(text)))
    expected = sorted(name for name, entry in whole_entries().items() if test(entry))
    assert all_pages(ask, filter=text, page_limit=7) == expected
    answer = ask("structures", filter=text, page_limit=7)
    assert answer["meta"]["data_returned"] in (len(expected), None)


def test_what_filters_find_is_not_by_chance(ask: Get) -> None:
    def count(text: str) -> int:
        return len(all_pages(ask, filter=text))

    assert count('elements HAS ALL "Mg","Zn" AND nelements=2') == 5  # MgZn2: a bulk and four slabs
    assert count("nperiodic_dimensions=3") == 7
    assert count("nsites=29") == 1  # Mg17Al12
    assert count('chemical_formula_reduced="Mg3Zn4"') == 1
    assert count("_mgsurf_surface_energy IS UNKNOWN") == 7 + 7
    assert count('structures.id HAS "b1-mgzn2"') == 4
    assert count('last_modified="2026-01-01T14:00:00.123456Z"') == 2


@pytest.mark.parametrize("sort", ["", "-id", "_mgsurf_surface_energy", "-_mgsurf_surface_energy,id",
                                  "_mgsurf_formula,-_mgsurf_work_function", "-last_modified"])  # fmt: skip
@pytest.mark.parametrize("text", ["", "nsites<=8"])
def test_pages_hold_every_entry_once_in_order(ask: Get, sort: str, text: str) -> None:
    entries = whole_entries()
    parameters = {"sort": sort} if sort else {}
    if text:
        parameters["filter"] = text
    found = all_pages(ask, page_limit=4, **parameters)
    kept = [n for n, entry in entries.items() if not text or entry["nsites"] <= 8]
    assert sorted(found) == sorted(kept)
    for field in reversed([*filter(None, sort.split(",")), "id"]):
        values = {n: entries[n][field.removeprefix("-")] for n in kept}
        kept.sort(
            key=lambda n, values=values: (values[n] is not None, values[n] or ""), reverse=field[0] == "-"
        )
    assert found == kept
    assert ids(ask("structures", page_limit=4, page_offset=5, **parameters)) == kept[5:9]
    assert ids(ask("structures", page_limit=4, page_number=3, **parameters)) == kept[8:12]
    following = parse_qs(
        urlsplit(ask("structures", page_limit=4, page_offset=5, **parameters)["links"]["next"]).query
    )
    assert "page_offset" not in following and "page_above" in following


def test_a_page_reads_no_more_records_than_it_shows(ask: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    documents = DocumentTable._documents

    def counted(self: Any, connection: Any, table: Any, numbers: list[int], whole: bool) -> Any:
        read.append(len(numbers))
        return documents(self, connection, table, numbers, whole)

    monkeypatch.setattr(DocumentTable, "_documents", counted)
    for parameters in (
        {},
        {"filter": 'elements HAS "Mg"'},
        {"sort": "-_mgsurf_work_function", "page_above": '[3.7,"s"]'},
    ):
        read.clear()
        answer = ask("structures", page_limit=2, response_fields="nsites", **parameters)
        assert len(answer["data"]) == 2
        # three of each kind: two, and one to know whether there is more; of these two are read whole
        assert 0 < sum(read) <= 3 + 3 + 2, parameters


def test_only_the_fields_asked_for_are_sent(ask: Get) -> None:
    stated = ask("structures", response_fields="nsites,_mgsurf_miller_index")["data"]
    assert {tuple(sorted(entry["attributes"])) for entry in stated} == {("_mgsurf_miller_index", "nsites")}
    assert all(entry["attributes"]["nsites"] for entry in stated)
    notes = ask("structures", response_fields="nsites,_exmpl_gap,_mgsurf_gap")["meta"]["warnings"]
    assert any("_mgsurf_gap" in note["detail"] for note in notes)


@pytest.mark.parametrize(
    ("parameters", "status", "words"),
    [
        ({"filter": "nelements="}, 400, "cannot be read"),
        ({"filter": 'elements HAZ "Mg"'}, 400, "at character 10"),
        ({"filter": "crazyfield=2"}, 400, "crazyfield"),
        ({"filter": 'elements:elements_ratios HAS "Mg":>0.3'}, 501, "Correlated"),
        ({"filter": "nsites>nelements"}, 501, "two properties"),
        ({"filter": "dimension_types LENGTH > 2"}, 501, "LENGTH"),
        ({"filter": "structures.id LENGTH 1"}, 501, "LENGTH"),
        ({"filter": "1=1"}, 501, "two values"),
        ({"filter": 'NOT elements HAS ONLY "Mg"'}, 501, "HAS ONLY"),
        ({"filter": 'last_modified>"yesterday"'}, 400, "2026-01-31T12:00:00Z"),
        ({"filter": "nsites=1e400"}, 400, "too large"),
        ({"filter": "_mgsurf_work_function CONTAINS 3"}, 400, "double quotes"),
        ({"filter": f"{'(' * 500}nelements=1{')' * 500}"}, 400, "flatter"),
        ({"filter": " OR ".join(["nelements=1"] * 2000)}, 400, "4000 characters"),
        ({"sort": "elements"}, 400, "_mgsurf_work_function"),
        ({"sort": "mass"}, 400, "mass"),
        ({"response_fields": "mass"}, 400, "mass"),
        ({"response_format": "xml"}, 400, "json"),
        ({"page_limit": 501}, 403, "500"),
        ({"page_limit": -1}, 400, "page_limit"),
        ({"page_limit": 0}, 400, "page_limit"),
        ({"page_offset": 10_001}, 400, "links.next"),
        ({"sort": "_mgsurf_formula", "page_above": "x"}, 400, "links.next"),
        ({"include": "calculations"}, 400, "calculations"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_wrong_requests_say_what_is_wrong(
    ask: Get, parameters: dict[str, Any], status: int, words: str
) -> None:
    answer = ask("structures", status, **parameters)
    (error,) = answer["errors"]
    assert answer["meta"]["query"]["representation"].startswith("/structures?")
    assert answer["meta"]["time_stamp"].endswith("Z")
    assert error["status"] == str(status)
    assert words in error["detail"]
    assert "Traceback" not in error["detail"] and "\n" not in error["detail"]


def test_addresses_that_are_not_there(ask: Get, client_of: Any, store_path: Path, tmp_path: Path) -> None:
    assert ask("structures/nothing")["data"] is None
    assert ask('structures/x" OR id!="')["data"] is None  # quotes in an id are no filter
    ask("references", 404)
    ask("info/references", 404)
    ask("versions", 404)  # only below the unversioned base URL
    client = client_of(store_path)
    assert client.get("/optimade/versions").text == "version\n1"
    assert client.get("/optimade/v9/structures").status_code == 553
    assert client.get("/optimade/structures?api_hint=v2").status_code == 553
    assert client.get("/optimade/v1.2/structures?api_hint=v2").status_code == 200
    assert client.get("/optimade/v1/structures?filter").status_code == 400
    refused = client.post("/optimade/v1/structures")
    assert refused.status_code == 405 and refused.headers["allow"] == "GET"
    assert client.get("/optimade/").json()["data"]["type"] == "info"
    assert "access-control-allow-origin" not in client.get("/optimade/v1/info").headers
    missing = client_of(tmp_path / "none.sqlite").get("/optimade/v1/structures")
    assert missing.status_code == 503
    assert "no store" in missing.json()["errors"][0]["detail"]


def test_strange_names_and_damaged_records_stay_text(tmp_path: Path, client_of: Any) -> None:
    path = tmp_path / "strange.sqlite"
    uri = make_store(path)
    record = next(surfaces())
    name = '<script>alert("x")</script>\\ " OR id!="'
    with open_store(uri) as store:
        store.add(
            record.model_copy(
                update={"id": name, "formula": "<b>Mg</b>", "slab": {"sites": []}, "relaxed_slab": None}
            )
        )
    client = client_of(path)
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    for answer in (
        client.get("/optimade/v1/structures", params={"filter": f'id="{quoted}"'}).json()["data"],
        [client.get(f"/optimade/v1/structures/{name}").json()["data"]],
    ):
        assert [entry["id"] for entry in answer] == [name]
        assert answer[0]["attributes"]["_mgsurf_formula"] == "<b>Mg</b>"
        assert answer[0]["attributes"]["cartesian_site_positions"] is None
    assert len(client.get("/optimade/v1/structures?page_limit=100").json()["data"]) == TOTAL + 1


def test_a_store_that_is_replaced_is_read_again(tmp_path: Path, client_of: Any) -> None:
    path, other = tmp_path / "results.sqlite", tmp_path / "other.sqlite"
    make_store(path)
    client = client_of(path)
    assert client.get("/optimade/v1/structures").json()["meta"]["data_available"] == TOTAL
    with open_store(f"sqlite:///{other}") as store:
        store.add(next(bulks()))
    other.replace(path)
    assert client.get("/optimade/v1/structures").json()["meta"]["data_available"] == 1


@pytest.mark.parametrize("scheme", ["memory", "folder"])
def test_other_kinds_of_stores(scheme: str, tmp_path: Path, client_of: Any) -> None:
    uri = "memory://optimade" if scheme == "memory" else f"folder://{tmp_path}/records"
    with open_store(uri) as store:
        store.add([*itertools.islice(bulks(), 3), *itertools.islice(surfaces(), 9)])
    client = client_of(uri)
    found = client.get("/optimade/v1/structures", params={"filter": 'elements HAS "Ag"'}).json()
    assert len(found["data"]) == found["meta"]["data_returned"] == 5


def test_every_filter_of_an_indexed_field_is_answered_by_the_index() -> None:
    values = {"chemsys": ["Ag-Mg", "Mg"], "formula": ["MgAg", "Mg"]}
    for kind in KINDS:
        for filter_ in (
            {"elements": {"$in": ["Ag"]}},
            {"id": {"$gt": "a"}},
            {"nperiodic_dimensions": {"$eq": 3}},
        ):
            assert narrow(filter_, kind, values.__getitem__).exact
    assert narrow({"elements": {"$in": ["Ag"]}}, BULK, values.__getitem__).criteria == {
        "chemsys": {"$in": ["Ag-Mg"]}
    }
    many = {"$or": [{"id": {"$eq": str(n)}} for n in range(400)]}
    assert narrow(many, SLAB, values.__getitem__).criteria == {"id": {"$in": [str(n) for n in range(400)]}}
    deep: dict[str, Any] = {"id": {"$gt": "a"}}
    for _ in range(30):
        deep = {"$or": [{"$and": [deep, {"nelements": {"$eq": 1}}]}, {"id": {"$lt": "a"}}]}
    assert narrow(deep, SLAB, values.__getitem__).exact is False


def test_settings_and_logs_of_the_reference_server_are_not_used(store_path: Path, tmp_path: Path) -> None:
    """Neither its environment, nor its file in the home folder, nor its log file, nor its mock of MongoDB."""
    (tmp_path / ".optimade.json").write_text('{"provider": {"prefix": "leak"}, "page_limit": 3}')
    (tmp_path / "other.json").write_text("no JSON at all {")
    program = f"""
import sys
from starlette.testclient import TestClient
from workflows.web.app import create_app
client = TestClient(create_app({str(store_path)!r}))
assert "optimade" not in sys.modules  # pages do not wait for it
answer = client.get("/optimade/v1/structures").json()
assert answer["meta"]["provider"]["prefix"] == "mgsurf", answer
assert len(answer["data"]) == 20
print(sorted({{"torch", "mongomock", "optimade.server.logger"}} & set(sys.modules)))
"""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OPTIMADE_CONFIG_FILE": str(tmp_path / "other.json"),
        "OPTIMADE_PAGE_LIMIT": "nonsense",
        "OPTIMADE_LOG_DIR": str(tmp_path / "logs"),
    }
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "logs").exists()
