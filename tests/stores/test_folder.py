from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from stores.backends.folder import META, Folder
from stores.connections import open_job_store, open_store, parse_uri
from stores.errors import InputError, StoreError, StoreLostError
from stores.records import SurfaceRecord
from tests.stores.conftest import make_surface
from tests.stores.kills import in_a_child
from tests.stores.opening import open_collection


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "records"


def test_a_record_is_a_file_named_by_its_id(root: Path, surface: Callable[..., SurfaceRecord]) -> None:
    with open_store(f"folder://{root}") as store:
        assert store.count() == 0
        assert not root.exists()  # opening makes nothing
        store.add(surface(1))
        assert store.get(SurfaceRecord, "surface-1") == surface(1)
    document = json.loads((root / "surfaces" / "surface-1.json").read_text())
    assert document["id"] == "surface-1"
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == [
        ".merge.lock",
        "mgsurf_layout.json",
        "surface-1.json",
    ]


def test_looking_up_an_id_reads_one_file(root: Path) -> None:
    with open_store(f"folder://{root}") as store:
        store.add([make_surface(n) for n in range(3)])
        (root / "surfaces" / "surface-0.json").write_text("{")
        assert store.get(SurfaceRecord, "surface-1") is not None
        assert len(list(store.query({"id": {"$in": ["surface-1", "surface-2", "x"]}}))) == 2
        assert store.count() == 2


def test_ids_that_are_no_file_names(root: Path) -> None:
    things = open_collection(f"folder://{root}", "things")
    names = ["../outside", "A", "a", "a/b", "", "ü", ".hidden", "x" * 300, 7, [1, 2]]
    things.upsert([{"id": name, "n": n} for n, name in enumerate(names)])
    assert things.count() == len(names)
    for n, name in enumerate(names):
        assert [doc["n"] for doc in things.query({"id": name} if name != [1, 2] else {"n": 9})] == [n]
    assert {path.parent for path in root.rglob("*.json")} == {root, root / "things"}
    lower = {path.name.lower() for path in (root / "things").iterdir()}
    assert len(lower) == len(names)  # on file systems that know no case


def test_a_half_written_file_is_no_record(root: Path) -> None:
    with open_store(f"folder://{root}") as store:
        store.add(make_surface(1))
        (root / "surfaces" / ".0123.new").write_text('{"id": "surf')  # what a killed writer leaves
        (root / "surfaces" / ".nfs0001.json").write_text("{")
        assert store.count() == 1


@pytest.mark.parametrize("seen", ["nothing", "an empty folder"])
def test_a_folder_laid_out_by_another_process_meanwhile_is_no_lost_store(root: Path, seen: str) -> None:
    here, there = Folder(root), Folder(root)
    if seen == "an empty folder":  # the other process has made it, and is about to write its layout
        root.mkdir()
        here.check()
    there.lay_out()
    here.lay_out()
    here.check()
    (root / META).unlink()
    with pytest.raises(StoreLostError, match="emptied or replaced"):
        here.check()


def test_newer_folders_are_refused(root: Path) -> None:
    with open_store(f"folder://{root}") as store:
        store.add(make_surface(1))
    (root / "mgsurf_layout.json").write_text('{"version": 99}')
    with pytest.raises(InputError, match=r"newer mgsurf \(schema version 99.*upgrade mgsurf"):
        open_store(f"folder://{root}")


def test_what_is_no_folder(root: Path) -> None:
    with pytest.raises(InputError, match="There is no store at"):
        open_store(f"folder://{root}", must_exist=True)
    root.write_text("a file")
    with pytest.raises(InputError, match="is a file; name a folder"):
        open_store(f"folder://{root}")
    with pytest.raises(InputError, match="no known form"):
        parse_uri("folder:///")
    with pytest.raises(InputError, match="folder of records, for jobs on a queue"):
        open_job_store(f"folder://{root}")


def test_a_folder_that_cannot_be_written(root: Path) -> None:
    root.mkdir()
    (root / "surfaces").write_text("in the way")  # root may write where permissions forbid it
    with open_store(f"folder://{root}") as store, pytest.raises(StoreError, match="check its path and perm"):
        store.add(make_surface(1))


def test_a_full_disk_leaves_the_old_record(root: Path) -> None:
    with open_store(f"folder://{root}") as store:
        store.add(make_surface(1))

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        open_store(f"folder://{root}").add(make_surface(1, work_function=9.0))

    assert in_a_child(work)[0].startswith("StoreError: The store folder")
    with open_store(f"folder://{root}") as store:
        record = store.get(SurfaceRecord, "surface-1")
        assert record is not None and record.work_function == make_surface(1).work_function
    assert [path.name for path in (root / "surfaces").iterdir() if path.name != ".merge.lock"] == [
        "surface-1.json"
    ]
