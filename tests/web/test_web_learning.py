"""Pages of the models and of the screening: numbers of registry and store, links, bad addresses."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from stores.connections import open_store


@pytest.fixture(scope="session")
def learned(records, tmp_path_factory):
    """Path of a store with two models, their decisions, a round and a screening. Read only."""
    path = Path(__file__).with_name("learning_records.py")
    spec = importlib.util.spec_from_file_location("web_learning_records", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["web_learning_records"] = module
    spec.loader.exec_module(module)
    path = tmp_path_factory.mktemp("learned") / "results.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        store.add(records.quickstart_surfaces())
        store.add(records.bulk())
        module.learn(store, records)
    return path


@pytest.fixture(scope="session")
def pages(client_of, learned):
    return client_of(learned)


def test_the_champions_card_is_shown_with_its_errors(pages):
    data = pages.get("/models.json").json()
    assert data["champion"] == data["card"]["name"] == "v2"
    assert data["card"]["state"] == "champion"
    assert data["card"]["metrics"]["random"]["work_function"]["test"]["mae"] == 0.11
    assert [one["name"] for one in data["versions"]] == ["v2", "v1"]
    assert [one["state"] for one in data["versions"]] == ["champion", "retired"]
    text = pages.get("/models").text
    assert "0.110" in text and "88 %" in text and "MAE of the work function 0.11 eV" in text
    # the element of the largest error comes first
    assert text.index('<th scope="row">Eu</th>') < text.index('<th scope="row">Ag</th>')


def test_another_version_is_named_in_the_address(pages):
    data = pages.get("/models.json?model=v1").json()
    assert (data["card"]["name"], data["card"]["state"], data["champion"]) == ("v1", "retired", "v2")
    answer = pages.get("/models.json?model=v9")
    assert answer.status_code == 404 and "v9" in answer.json()["error"]
    assert pages.get("/models?modl=v1").status_code == 400


def test_parity_compares_accepted_values_with_what_was_predicted_before(pages):
    found = pages.get("/models.json").json()["parity"]
    assert len(found["surface_energy"]) == 5
    by_name = {point["name"]: point for point in found["work_function"]}
    assert "MgAg (111) Mg" in by_name or "MgAg (111) Ag" in by_name
    assert len(by_name) == 4  # one potential is not flat
    for point in found["surface_energy"]:
        assert point["predicted"] - point["computed"] == pytest.approx(0.002)
        assert point["later"] is False  # the records are older than the model
    assert pages.get("/models.json?model=v1").json()["parity"] == {}


def test_a_facet_states_whether_the_model_may_have_learned_from_it(pages, client_of, learned, tmp_path):
    (point, *_) = pages.get("/models.json").json()["parity"]["surface_energy"]
    address = f"/facets/{point['id']}"
    assert pages.get(f"{address}.json").json()["prediction"]["later"] is False
    assert "may have learned" in pages.get(address).text
    path = tmp_path / "s.sqlite"
    path.write_bytes(learned.read_bytes())
    with open_store(f"sqlite:///{path}") as store:
        surfaces = store.collection("surfaces")
        (surface,) = surfaces.query({"id": point["id"]})
        surfaces.upsert({**surface, "created_at": "2199-01-01T00:00:00Z"})
    client = client_of(path)
    assert client.get(f"{address}.json").json()["prediction"]["later"] is True
    assert "may have learned" not in client.get(address).text


def test_the_queue_states_reasons_and_what_was_computed_meanwhile(pages):
    queue = pages.get("/models.json").json()["queue"]
    assert (queue["candidates"], queue["predicted"]) == (6, 6)
    (latest,) = queue["rounds"]
    assert [slab["reason"] for slab in latest["slabs"]] == [
        "expected improvement 0.12 eV", "most uncertain work function"
    ]  # fmt: skip
    assert [bool(slab["facet"]) for slab in latest["slabs"]] == [False, True]
    text = pages.get("/models").text
    assert "waiting" in text and f'href="/facets/{latest["slabs"][1]["facet"]}"' in text


def test_history_lists_refreshes_and_decisions_the_last_first(pages):
    data = pages.get("/models.json").json()
    assert [entry["number"] for entry in data["refreshes"]] == [2, 1]
    assert [(one["action"], one["version"], one["champion"]) for one in data["decisions"]] == [
        ("promote", 2, 2), ("promote", 1, 1)
    ]  # fmt: skip


def test_a_store_without_models_or_screening_names_the_commands(client):
    text = client.get("/models").text
    assert "mgsurf refresh" in text and client.get("/models.json").json()["card"] is None
    assert "mgsurf screen" in client.get("/screening").text
    assert client.get("/screening.json").json()["compounds"] == []


def test_the_ranking_is_that_of_the_command(pages, learned):
    from stores.learning.screenings import latest_screenings
    from workflows.flows.screening.ranking import Application, Sort, rank

    with open_store(f"sqlite:///{learned}", must_exist=True) as store:
        records = latest_screenings(store)
    for address, options in (
        ("", {}),
        ("?application=photocatalyst", {"application": Application.PHOTOCATALYST}),
        ("?sort=-work_function", {"sort": Sort.WORK_FUNCTION, "descending": True}),
        ("?application=corrosion&sort=formula", {"application": Application.CORROSION, "sort": Sort.FORMULA}),
    ):
        shown = pages.get(f"/screening.json{address}").json()
        expected = rank(records, **options)
        assert [one["id"] for one in shown["compounds"]] == [record.id for record in expected]
        assert shown["screened"] == 13
    one = shown["compounds"][0]
    assert [facet["name"] for facet in one["facets"]] == ["(100)", "(110)*"]


def test_the_map_has_a_point_for_each_compound_with_both_values(pages):
    compounds = pages.get("/screening.json").json()["compounds"]
    known = [one for one in compounds if one["potential"] is not None and one["work_function"] is not None]
    text = pages.get("/screening").text
    assert text.count('<circle class="point') == len(known) == 12
    assert text.count("hollow") >= 1 and "MgCu₂" in text
    assert f'href="#{known[0]["id"]}"' in text


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("?application=battery", "choose corrosion"),
        ("?sort=colour", "choose formula"),
        ("?page=0", "whole number"),
        ("?formula=MgAg", "does not know"),
    ],
)
def test_bad_addresses_are_one_line(pages, address, words):
    answer = pages.get(f"/screening.json{address}")
    assert answer.status_code == 400 and words in answer.json()["error"]


def test_hostile_names_are_escaped(client_of, records, learned, tmp_path):
    import shutil

    path = tmp_path / "s.sqlite"
    shutil.copy(learned, path)
    bad = "<script>alert(1)</script>"
    with open_store(f"sqlite:///{path}") as store:
        for name in ("screenings", "refreshes", "rounds", "candidates"):
            collection = store.collection(name)
            for document in list(collection.query({})):
                for key in ("label", "reason", "energy_source", "termination_label"):
                    if key in document:
                        document[key] = bad
                if name == "screenings":
                    document["formula"] = bad
                if name == "rounds":
                    document["slabs"][0]["reason"] = document["strategy"] = bad
                collection.upsert(document)
    hostile = client_of(path)
    for page in ("/models", "/screening"):
        answer = hostile.get(page)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text and "&lt;script&gt;" in answer.text
