from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from stores.connections import open_store
from stores.errors import InputError
from workflows.cli.app import app


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


def invoke(*arguments):
    result = CliRunner().invoke(app, ["store", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def count(path):
    with open_store(str(path), must_exist=True) as store:
        return store.count()


def test_backup_and_restore(filled, tmp_path):
    store, copy = tmp_path / "results.sqlite", tmp_path / "monday.sqlite"
    shutil.copy(filled, store)
    assert "monday.sqlite" in invoke("backup", store, copy).output
    with open_store(str(store)) as open_one:
        open_one.remove({})
    output = invoke("restore", copy, store).output.replace("\n", "")
    assert count(store) == 8
    (old,) = tmp_path.glob("results-2*.sqlite")
    assert old.name in output and count(old) == 0
    with pytest.raises(InputError, match="--force"):
        invoke("backup", store, copy)
    assert invoke("backup", "--force", store, copy).exit_code == 0


def test_default_store(filled, tmp_path, monkeypatch):
    shutil.copy(filled, tmp_path / "mine.sqlite")
    monkeypatch.setenv("MGSURF_STORE", str(tmp_path / "mine.sqlite"))
    invoke("backup", tmp_path / "copy.sqlite")
    (tmp_path / "mine.sqlite").unlink()
    invoke("restore", tmp_path / "copy.sqlite")
    assert count(tmp_path / "mine.sqlite") == 8


@pytest.mark.parametrize("arguments", [("backup",), ("restore",), ("backup", "a", "b", "c")])
def test_wrong_number_of_names(arguments):
    assert invoke(*arguments).exit_code == 2


def test_query_and_status_of_a_damaged_store(filled, tmp_path, mgsurf):
    path = tmp_path / "results.sqlite"
    data = filled.read_bytes()
    place = data.index(b'"work_function":') + 17
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    for command in ("query", "status"):
        done = mgsurf(command, "--store", path)
        assert done.returncode == 0 and "7" in done.stdout
        assert "is damaged" in done.stderr and "mgsurf store restore" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
