"""`mgsurf publish`: what it prints, and that a failure leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys

import pytest

from stores.connections import open_store
from stores.errors import InputError, StoreError
from stores.learning.snapshots import find_snapshot
from tests.cli.test_cli_learning import command
from workflows.publication.publish import publish
from workflows.publication.terms import Terms

CITED = ("--creator", "Ada Lovelace", "--license", "CC-BY-4.0")


@pytest.fixture
def mgsurf(tmp_path, monkeypatch):
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return command


def test_the_command_publishes_and_import_reads_it_back(stored, mgsurf, tmp_path):
    one = stored["surfaces"]
    done = mgsurf("publish", one.snapshot[:8], "dataset", *CITED, "--store", one.path, "--audit")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "dataset" / "datasheet.md").read_text()
    assert "An audit looked for faulty labels; 0 of 1 compound had" in text
    assert one.snapshot in done.stdout and "3 values (left_out.csv)" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if "dataset" not in line)
    read = mgsurf("import", "dataset", "--store", "b.sqlite", "--json")
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout)["n_read"] == 6
    with open_store(str(tmp_path / "b.sqlite")) as store:
        assert find_snapshot(store, one.snapshot).n_records == 6
    again = mgsurf("publish", one.snapshot[:8], "dataset", *CITED, "--store", one.path)
    assert again.returncode == 2 and "is not empty" in again.stderr


def test_what_cannot_be_published_is_refused_in_one_line(stored, mgsurf, tmp_path):
    store = ("--store", stored["surfaces"].path)
    (tmp_path / "file").write_text("x")
    cases = {
        ("publish", "nothing", "out", *CITED, *store): "is not there",
        ("publish", stored["surfaces"].snapshot, "file", *CITED, *store): "is no folder",
        ("publish", stored["surfaces"].snapshot, "a/b", *CITED, *store): "make it first",
        ("publish", stored["surfaces"].snapshot, ".", *CITED, *store): "current folder",
    }
    for arguments, words in cases.items():
        done = mgsurf(*arguments)
        assert done.returncode == 2 and words in done.stderr, (arguments, done.stderr)
        assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_an_empty_folder_is_filled(stored, tmp_path):
    (tmp_path / "out").mkdir()
    stored["labels"].publish(tmp_path / "out")
    assert (tmp_path / "out" / "data.parquet").is_file()


def test_missing_pyarrow_is_named(stored, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"pyarrow.*pip install"):
        stored["labels"].publish(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_snapshot_is_refused(tmp_path):
    from dataclasses import asdict

    from stores.learning.snapshots import Snapshot, snapshot_id

    terms = Terms.parse("", ["Ada Lovelace"], "CC-BY-4.0")
    with open_store(str(tmp_path / "a.sqlite")) as store:
        empty = Snapshot(snapshot_id(1, [], []), 1, "2026-01-01T00:00:00.000000Z", (), 0, ())
        store.collection("snapshots").upsert(asdict(empty))
        with pytest.raises(InputError, match="is empty"):
            publish(store, empty.id, tmp_path / "out", terms)
    assert not (tmp_path / "out").exists()


def test_after_an_interrupt_nothing_is_left(stored, tmp_path):
    def interrupted(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored["labels"].publish(tmp_path / "out", tick=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_where_files_cannot_grow_nothing_is_left(stored, tmp_path):
    """No file may be larger than 4 kB here, as on a disk that is full."""
    folder = tmp_path / "out"
    number = os.fork()
    if number == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        code = 1
        try:
            stored["labels"].publish(folder)
        except StoreError as error:
            code = 0 if os.strerror(errno.EFBIG) in str(error) and str(folder) in str(error) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(number, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert list(tmp_path.iterdir()) == []
