"""A store that is renamed away and back, or overwritten, while a process has it open."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stores.backends.sqlite import DocumentTable
from stores.backends.sqlite_file import Database
from stores.errors import StoreError, StoreLostError
from tests.stores.kills import in_a_child
from tests.stores.test_restored_files import aside, ids, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_renamed_back_it_is_the_same_store_with_its_log(path: Path, end: str) -> None:
    write(path, "a")

    def work() -> list[str]:
        table = DocumentTable(path, "things")
        table.upsert({"id": "b"})
        path.rename(path.with_name("away.sqlite"))
        with pytest.raises(StoreLostError, match="was deleted"):
            table.count()
        path.with_name("away.sqlite").rename(path)
        table.upsert({"id": "c"})
        found = sorted(str(one["id"]) for one in table.query())
        if end == "closed":
            table.close()
        return found

    assert in_a_child(lambda: "".join(work()))[0] == "abc"
    assert ids(path) == {"a", "b", "c"} and not aside(path)


def test_overwritten_it_is_refused_with_the_remedy(path: Path, tmp_path: Path) -> None:
    write(path, "a")
    shutil.copyfile(path, tmp_path / "backup.sqlite")

    def work() -> str:
        table = DocumentTable(path, "things")
        table.upsert({"id": "b"})
        shutil.copyfile(tmp_path / "backup.sqlite", path)
        with pytest.raises(StoreLostError):
            table.count()
        table.close()
        with pytest.raises(StoreError, match="start it again") as caught:
            DocumentTable(path, "things").count()
        return str(caught.value)

    assert "\n" not in in_a_child(work)[0]
    assert ids(path) == {"a"} and len(aside(path)) == 1


def test_what_takes_the_place_of_a_file_that_is_away_is_never_written(path: Path, tmp_path: Path) -> None:
    write(path, "a")
    shutil.copyfile(path, tmp_path / "other.sqlite")
    write(tmp_path / "other.sqlite", "x")

    def work() -> str:
        reader = DocumentTable(Database(path, only_reads=True), "things")
        assert reader.count() == 1
        in_a_child(lambda: write(path, "b"))
        path.rename(path.with_name("away.sqlite"))
        with pytest.raises(StoreLostError):
            reader.count()
        shutil.copyfile(tmp_path / "other.sqlite", path)
        with pytest.raises(StoreLostError):
            reader.count()
        reader.close()
        return "noticed"

    before = (tmp_path / "other.sqlite").read_bytes()
    assert in_a_child(work)[0] == "noticed"
    assert path.read_bytes() == before and ids(path) == {"a", "x"}
