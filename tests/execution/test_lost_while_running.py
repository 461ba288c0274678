"""Stores, folders and disks that are lost while a campaign runs: it ends at once and reports what is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stores.connections import open_store
from stores.errors import StoreError, StoreLostError
from workflows.cli.app import ending
from workflows.cli.ingest import ingest
from workflows.cli.run import run
from workflows.execution.kept import NoRoomError, WorkDirLostError, kept_in_words

CAMPAIGN = """\
name: lost
compounds:
  - formula: Mg
    facets: ["(0001)"]
engine:
  name: tests.engines.vandal_engine:VandalEngine
  options: {options}
store: sqlite:///{folder}/results.sqlite
work_dir: {folder}/runs
"""
ALL = 6
"""Calculations of the campaign."""


class Runs:
    """A campaign of six calculations whose engine does a deed after one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "results.sqlite"
        self.log = folder / "engine.log"

    def run(self, deed: str = "", victim: Path | None = None, at: int = 0, quiet: bool = True) -> int:
        options = {"log": str(self.log), "deed": deed, "victim": str(victim or ""), "at": at}
        path = self.folder / "campaign.yaml"
        path.write_text(CAMPAIGN.format(options=json.dumps(options), folder=self.folder))
        return run(path, quiet=quiet)

    def executed(self) -> int:
        return len(self.log.read_text().splitlines())

    def stored(self) -> int:
        with open_store(str(self.store)) as store:
            return store.count(collection="calculations")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MGSURF_WORK_DIR", raising=False)
    return Runs(tmp_path)


@pytest.mark.parametrize(
    ("deed", "at"),
    [("delete", 2), ("truncate", 2), ("cut", 2), ("replace", 2), ("write over", 2), ("replace", ALL)],
)
def test_a_lost_store_ends_the_run_with_the_truth(runs: Runs, deed: str, at: int) -> None:
    with open_store(str(runs.store)):
        pass
    shutil.copy(runs.store, runs.folder / "backup.sqlite")
    with pytest.raises(StoreLostError) as raised:
        runs.run(deed, runs.store, at)
    (line,), status = ending(raised.value)
    assert status == 4
    assert runs.executed() == at  # nothing more was computed
    assert f"{at - 1} calculation{'s' if at > 2 else ''}, stored in what is lost" in line
    assert f"kept in {runs.folder / 'runs'}: this engine computes again" in line
    assert "mgsurf store restore" in line
    for wrong in ("nothing was lost", "everything stored before is safe"):
        assert wrong not in line


def test_what_was_said_of_files_is_true_of_an_engine_without_a_memory(runs: Runs) -> None:
    with pytest.raises(StoreLostError):
        runs.run("delete", runs.store, 3)
    for suffix in ("-wal", "-shm", "-lock"):
        runs.store.with_name(runs.store.name + suffix).unlink(missing_ok=True)
    assert runs.run() == 0
    assert runs.executed() == 3 + ALL
    assert runs.stored() == ALL


@pytest.mark.parametrize(("deed", "at"), [("move", 3), ("rmtree", 3), ("remake", 3), ("file", 4)])
def test_a_lost_work_dir_ends_the_run_and_the_store_has_the_rest(runs: Runs, deed: str, at: int) -> None:
    with pytest.raises(WorkDirLostError) as raised:
        runs.run(deed, runs.folder / "runs", at)
    (line,), status = ending(raised.value)
    assert status == 4
    assert str(runs.folder / "runs") in line
    before = runs.executed()
    assert before <= at + 1
    stored = runs.stored()
    assert f"computed {stored} calculations, whose records are in the store" in line
    if deed == "file":
        (runs.folder / "runs").unlink()
    assert runs.run() == 0
    assert runs.executed() - before == ALL - stored


def test_a_calculation_whose_folder_is_deleted_fails_alone(runs: Runs) -> None:
    assert runs.run("delete calculation", runs.folder / "runs", 3) == 1
    assert runs.run() == 0
    assert runs.stored() == ALL


def test_a_log_that_is_deleted_stops_nothing(runs: Runs) -> None:
    assert runs.run("delete", runs.folder / "runs" / "mgsurf.log", 3) == 0


def test_a_full_work_dir_is_one_line(runs: Runs) -> None:
    with pytest.raises(NoRoomError) as raised:
        runs.run("full", runs.folder / "runs", 3)
    (line,), status = ending(raised.value)
    assert status == 74
    assert "no space left" in line
    assert "2 calculations, whose records are in the store" in line
    assert runs.stored() == 2
    assert runs.run() == 0
    assert runs.executed() == 1 + ALL


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_work_dir_on_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "campaign.yaml").write_text(
        CAMPAIGN.format(options=json.dumps({"log": str(tmp_path / "engine.log")}), folder=tmp_path)
    )
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=9", "none", str(tmp_path / "runs")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no leave to mount")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "workflows.cli.app", "run", "campaign.yaml"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "runs")], check=True)
    assert done.returncode == 74, done.stderr
    (line,) = done.stderr.splitlines()
    assert "no space left" in line
    with open_store(str(tmp_path / "results.sqlite")) as store:
        stored = store.count(collection="calculations")
    assert ("computed nothing yet" in line) if not stored else (f"computed {stored} calculation" in line)


@pytest.mark.parametrize(
    ("error", "expected", "status"),
    [
        (StoreLostError("The store x was deleted."), StoreLostError, 4),
        (StoreError("The store x is full."), StoreError, 4),
        (OSError(28, "No space left on device", "/x"), NoRoomError, 74),
        (OSError(27, "File too large", "/x"), NoRoomError, 74),
        (OSError(122, "Disk quota exceeded", "/x"), NoRoomError, 74),
        (PermissionError(13, "Permission denied", "/x"), PermissionError, 74),
    ],
)
def test_what_is_kept_is_added_to_errors_of_stores_and_disks(error, expected, status) -> None:
    with pytest.raises(expected) as raised, kept_in_words(lambda _: "All is kept."):
        raise error
    (line,), found = ending(raised.value)
    assert found == status
    assert line.endswith("All is kept.") or expected is PermissionError
    assert type(raised.value) is expected


def test_ingest_says_that_its_folders_are_untouched(tmp_path: Path, monkeypatch) -> None:
    def lose(*arguments: object) -> None:
        raise StoreLostError("The store x was deleted while mgsurf had it open.")

    monkeypatch.setattr("workflows.jobs.ingest.ingest.ingest", lose)
    with pytest.raises(StoreLostError, match=r"had it open\. The folders were only read"):
        ingest(tmp_path, store=str(tmp_path / "x.sqlite"))
