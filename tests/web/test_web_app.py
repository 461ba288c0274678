from __future__ import annotations

import gzip
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stores.connections import open_store


def test_every_answer_forbids_inline_code_and_foreign_hosts(client):
    for path in ("/facets", "/facets.json", "/static/mgsurf.css", "/nothing", "/facets?page=0"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_only_reading_is_possible(client):
    for method in ("post", "put", "delete", "patch"):
        answer = getattr(client, method)("/facets")
        assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"


def test_other_host_names_get_nothing(client_of, filled):
    client = client_of(filled, hosts=["127.0.0.1", "localhost"])
    assert client.get("/facets", headers={"host": "localhost:8000"}).status_code == 200
    assert client.get("/facets", headers={"host": "evil.example:8000"}).status_code == 421


def test_a_missing_store_is_named(client_of, tmp_path):
    answer = client_of(tmp_path / "none.sqlite").get("/facets")
    assert answer.status_code == 503
    assert "There is no store at" in answer.text


def test_a_damaged_and_a_newer_store_are_named(client_of, filled, tmp_path):
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"no database" * 1000)
    answer = client_of(damaged).get("/facets.json")
    assert answer.status_code == 503
    assert str(damaged) in answer.json()["error"]
    newer = tmp_path / "newer.sqlite"
    shutil.copy(filled, newer)
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("UPDATE mgsurf_meta SET value = '99'") if _has_meta(connection) else None
    connection.close()
    answer = client_of(newer).get("/facets.json")
    assert answer.status_code == 503
    assert "newer" in answer.json()["error"]


def _has_meta(connection):
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'mgsurf_meta'").fetchone())


def test_a_store_renamed_away_and_back_keeps_its_log(client_of, records, tmp_path):
    path, away = tmp_path / "s.sqlite", tmp_path / "away.sqlite"
    surfaces = records.quickstart_surfaces()
    with open_store(f"sqlite:///{path}") as store:
        store.add(surfaces[:2])
    client = client_of(path)
    assert client.get("/overview.json").json()["surfaces"] == 2
    with open_store(f"sqlite:///{path}") as store:
        store.add(surfaces[2:5])
        log = path.with_name("s.sqlite-wal")
        assert log.stat().st_size
        path.rename(away)
        assert client.get("/overview.json").status_code == 503
        assert client.get("/overview.json").status_code == 503
        away.rename(path)
        assert [client.get("/overview.json").json()["surfaces"] for _ in range(3)] == [5, 5, 5]
    assert not list(tmp_path.glob("*-wal-*"))


def test_records_without_verdicts_or_method_are_left_out(client_of, records, tmp_path):
    path = tmp_path / "s.sqlite"
    record = records.quickstart_surfaces()[0].model_dump(mode="json")
    bare = {name: value for name, value in record.items() if name not in ("verdicts", "campaign")}
    nameless = {name: value for name, value in record.items() if name != "method_fingerprint"}
    with open_store(f"sqlite:///{path}") as store:
        store.collection("surfaces").upsert([record, {**bare, "id": "bare"}])
        store.collection("surfaces").upsert({**nameless, "id": "nameless", "formula": "MgZn"})
    client = client_of(path)
    data = client.get("/overview.json").json()
    assert data["surfaces"] == 3 and data["verdicts"]["surface_energy"] == {"accepted": 2}
    assert [row["facets"] for row in data["campaigns"]] == [1]
    for page in ("/", "/facets", "/compounds/MgAg", "/failures", "/models", "/screening"):
        assert client.get(page).status_code == 200, page
    assert [row["id"] for row in client.get("/facets.json").json()["rows"]] == [record["id"]]
    answer = client.get("/facets/bare")
    assert answer.status_code == 422
    assert "verdicts is missing" in answer.text
    with open_store(f"sqlite:///{path}") as store:
        store.remove({"id": "bare"})
    assert client.get("/facets/bare").status_code == 404


def test_a_replaced_store_is_opened_again(client_of, records, tmp_path):
    path, other = tmp_path / "store.sqlite", tmp_path / "other.sqlite"
    for place, number in ((path, 3), (other, 5)):
        with open_store(f"sqlite:///{place}") as store:
            store.add(records.quickstart_surfaces()[:number])
    client = client_of(path)
    assert client.get("/facets.json").json()["total"] == 3
    other.replace(path)
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    assert client.get("/facets.json").json()["total"] == 5
    path.unlink()
    assert client.get("/facets.json").status_code == 503
    with open_store(f"sqlite:///{path}") as store:
        store.add(records.quickstart_surfaces()[:1])
    assert client.get("/facets.json").json()["total"] == 1


def test_a_store_is_not_written(client_of, filled, tmp_path):
    path = tmp_path / "store.sqlite"
    shutil.copy(filled, path)
    before = path.read_bytes()
    client = client_of(path)
    assert client.get("/facets").status_code == 200
    client.app.state.source.close()
    assert path.read_bytes() == before


def test_an_empty_store_says_how_to_fill_it(client_of, tmp_path):
    path = tmp_path / "empty.sqlite"
    open_store(str(path)).close()
    assert "mgsurf run CAMPAIGN.yaml" in client_of(path).get("/facets").text


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_other_kinds_of_stores_are_shown(client_of, records, tmp_path, kind):
    uri = f"folder://{tmp_path}/records" if kind == "folder" else "memory://pages"
    with open_store(uri) as store:
        store.add([*records.quickstart_surfaces(), records.bulk()])
        client = client_of(uri)
        assert client.get("/facets.json?sort=work_function&page=1").json()["total"] == 8
        assert client.get("/compounds/MgAg").status_code == 200


def test_stores_of_older_versions_are_shown(client_of, tmp_path):
    old = Path(__file__).parents[1] / "stores" / "version_1.sqlite.gz"
    path = tmp_path / "old.sqlite"
    path.write_bytes(gzip.decompress(old.read_bytes()))
    client = client_of(path)
    rows = client.get("/facets.json").json()["rows"]
    assert rows
    for row in rows:
        assert client.get(f"/facets/{row['id']}").status_code == 200
        assert client.get(f"/compounds/{row['formula']}").status_code == 200


def test_a_fault_of_our_own_is_a_page_without_a_traceback(client_of, filled, monkeypatch):
    from workflows.web import facets

    def broken(*arguments):
        raise RuntimeError("left is not right")

    monkeypatch.setattr(facets, "count_selected", broken)
    answer = client_of(filled).get("/facets")
    assert answer.status_code == 500
    assert "left is not right" in answer.text
    assert "Traceback" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_pages_load_neither_torch_nor_pymatgen_before_they_are_needed(filled):
    script = (
        "import sys\n"
        "from starlette.testclient import TestClient\n"
        "from workflows.web.app import create_app\n"
        f"client = TestClient(create_app({str(filled)!r}))\n"
        "assert client.get('/facets').status_code == 200\n"
        "print([m for m in ('torch', 'matplotlib', 'pymatgen', 'jobflow') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["3Dmol-2.5.5", "htmx-4.0.1"])
def test_vendored_files_come_with_their_licence(client, name):
    assert client.get(f"/static/vendor/{name}.min.js").status_code == 200
    assert "Copyright" in client.get(f"/static/vendor/{name}.LICENSE.txt").text or name.startswith("htmx")
