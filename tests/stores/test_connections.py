from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stores.backends import mongo
from stores.backends.mongo import database_name
from stores.connections import (
    default_store_uri,
    open_job_store,
    open_store,
    parse_uri,
    resolve_store_uri,
)
from stores.errors import InputError, StoreError
from stores.secrets import masked

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MGSURF_STORE", "MGSURF_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("uri", "kind", "target"),
    [
        ("sqlite:///here.sqlite", "sqlite", "{cwd}/here.sqlite"),
        ("sqlite:///sub/here.anything", "sqlite", "{cwd}/sub/here.anything"),
        ("sqlite:////data/x.sqlite", "sqlite", "/data/x.sqlite"),
        ("x.sqlite", "sqlite", "{cwd}/x.sqlite"),
        ("./x.db", "sqlite", "{cwd}/x.db"),
        ("/data/x.sqlite", "sqlite", "/data/x.sqlite"),
        ("~/x.sqlite", "sqlite", "{cwd}/x.sqlite"),
        ("mongodb://h:1/name", "mongodb", "mongodb://h:1/name"),
        ("mongodb+srv://h/name", "mongodb", "mongodb+srv://h/name"),
        ("memory://tests", "memory", "tests"),
        ("folder:///data/records", "folder", "/data/records"),
        ("folder://records/new", "folder", "{cwd}/records/new"),
        ("folder://~/records", "folder", "{cwd}/records"),
    ],
)
def test_forms(uri: str, kind: str, target: str, tmp_path: Path) -> None:
    place = parse_uri(uri)
    assert (place.kind, place.target) == (kind, target.format(cwd=tmp_path))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "folder://",
        "folder:///",
        "results",
        "postgres://x/y",
        "sqlite://x.sqlite",
        "sqlite:///",
        "http://a.sqlite",
    ],
)
def test_unknown_form_names_the_known_ones(uri: str) -> None:
    with pytest.raises(InputError, match="no known form") as caught:
        open_store(uri)
    assert "sqlite:///FILE" in str(caught.value) and "mongodb://" in str(caught.value)


def test_which_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_store_uri() == "sqlite:///mgsurf.sqlite"
    here = f"sqlite:///{Path.cwd()}"  # absolute: jobs run in folders of their own
    assert resolve_store_uri(None, "campaign.sqlite") == f"{here}/campaign.sqlite"
    settings = tmp_path / ".config" / "mgsurf.yaml"
    settings.parent.mkdir()
    settings.write_text("store: from-file.sqlite\n")
    assert default_store_uri() == "from-file.sqlite"
    monkeypatch.setenv("MGSURF_STORE", "from-environment.sqlite")
    assert default_store_uri() == "from-environment.sqlite"
    assert resolve_store_uri() == f"{here}/from-environment.sqlite"
    assert resolve_store_uri(None, "campaign.sqlite") == f"{here}/campaign.sqlite"
    assert resolve_store_uri("given.sqlite", "campaign.sqlite") == f"{here}/given.sqlite"
    assert resolve_store_uri("memory://x") == "memory://x"


@pytest.mark.parametrize(
    "uri",
    [
        "mongo://me:secret@h/x",
        "mongodb:/me:secret@h/x",
        "mongodb:me:secret@h/x",
        "me:secret@h/x",
        "mongo://me:p@secret@h/x",
        "mongo://me:sec/secret@h/x",
        "mongo://:secret@h",
        "mongo://h/x?tlsCertificateKeyFilePassword=secret&a=b",
    ],
)
def test_no_message_shows_a_password(uri: str) -> None:
    with pytest.raises(InputError, match="no known form") as caught:
        parse_uri(uri)
    assert "secret" not in str(caught.value) and "***" in str(caught.value)
    assert masked(uri).startswith(uri.split(":")[0])


def test_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no store at"):
        open_store("absent.sqlite", must_exist=True)
    assert not (tmp_path / "absent.sqlite").exists()


def test_a_missing_store_names_one_near_by(tmp_path: Path) -> None:
    (tmp_path / "quick start").mkdir()
    open_store("quick start/mgsurf.sqlite")
    with pytest.raises(InputError, match=r"add --store 'quick start/mgsurf\.sqlite'"):
        open_store("mgsurf.sqlite", must_exist=True)


def test_a_database_without_records_is_refused_by_who_only_reads(mongo_uri: str) -> None:
    import pymongo

    with pytest.raises(InputError, match=r"no store at .*/absent"):
        open_store(mongo_uri + "absent", must_exist=True)
    with pymongo.MongoClient(mongo_uri) as client:
        assert "absent" not in client.list_database_names()
        client["there"]["surfaces"].insert_one({"id": "a"})
        with open_store(mongo_uri + "there", must_exist=True) as store:
            assert store.count() == 1
        client.drop_database("there")


def test_wrong_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough")
    with pytest.raises(InputError, match="not an SQLite file"):
        open_store("text.db")
    with pytest.raises(InputError, match="not an SQLite file"):
        open_job_store("text.db")


@pytest.mark.parametrize("opener", [open_store, open_job_store])
def test_mongodb_down(opener: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mongo.SERVER_TIMEOUT < 5
    monkeypatch.setattr(mongo, "SERVER_TIMEOUT", 0.3)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(StoreError, match="No MongoDB server answers at") as caught:
        opener(f"mongodb://me:secret@127.0.0.1:{port}/x")  # type: ignore[operator]
    assert time.monotonic() - start < 4
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_wrong_mongodb_uri() -> None:
    with pytest.raises(InputError, match="cannot be used"):
        open_store("mongodb://host:port:x/y")


def test_database_names() -> None:
    assert database_name("mongodb://h") == "mgsurf"
    assert database_name("mongodb://a:1,b:2/surf?replicaSet=r") == "surf"
    assert masked("mongodb://me:p%40ss@h/x") == "mongodb://me:***@h/x"
    for harmless in ("mongodb://h:27017/x", "sqlite:////data/x.sqlite", "C:\\x.db", "memory://x"):
        assert masked(harmless) == harmless


def test_a_query_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from stores.connections import open_store, resolve_store_uri\n"
        "with open_store(resolve_store_uri()) as store:\n"
        "    list(store.query({'chemsys': 'Ag-Mg'}, ['id'], sort={'work_function': 1}))\n"
        "heavy = {'maggma', 'pymongo', 'pymatgen', 'pydantic', 'jobflow', 'numpy', 'mongomock_ng'}\n"
        "print(heavy & {name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_link_to_itself(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.sqlite").symlink_to("b.sqlite")
    (tmp_path / "b.sqlite").symlink_to("a.sqlite")
    with pytest.raises(InputError, match=r"a\.sqlite is a symbolic link"):
        open_store(form.format(tmp_path / "a.sqlite"))


def test_a_relative_folder_is_made_absolute_for_jobs_in_other_folders(tmp_path: Path) -> None:
    uri = resolve_store_uri("folder://records")
    assert uri == f"folder://{tmp_path}/records"
    with open_store("folder://records") as store:
        assert store.uri == uri
