"""Links, compressed files, and folders that cannot be read: read, or named in one line."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from stores import input_files
from stores.errors import InputError
from tests.jobs import minimal_vasprun as minimal
from workflows.engines.vasp.outputs import read_output
from workflows.jobs.ingest.folders import find_runs
from workflows.jobs.ingest.ingest import plan

PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
PACKED["lzma"] = lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE)


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    minimal.write(root / "bulk", minimal.bulk())
    minimal.write(root / "slab", minimal.slab())
    return root


def paired(root: Path) -> list[tuple[str, str]]:
    result, _ = plan(root)
    assert result.problems == []
    return [(p.slab.last.directory.name, p.bulk.last.directory.name) for p in result.pairs if p.bulk]


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("name", ["vasprun.xml", "vasprun.xml.relax2", "vasprun.xml.static"])
def test_compressed_files_are_read(tree, ending, name):
    path = tree / "slab/vasprun.xml"
    (tree / f"slab/{name}.{ending}").write_bytes(PACKED[ending](path.read_bytes()))
    path.unlink()
    assert paired(tree) == [("slab", "bulk")]


def test_each_file_is_opened_once(tree, monkeypatch):
    for name in ("OUTCAR", "OUTCAR.relax1"):
        (tree / f"slab/{name}").write_text("  free  energy   TOTEN  =  -5.0 eV\n")
    (tree / "bulk/vasprun.xml.gz").write_bytes(gzip.compress((tree / "bulk/vasprun.xml").read_bytes()))
    (tree / "bulk/vasprun.xml").unlink()
    opened: Counter[str] = Counter()

    def counting(path, *arguments, **options):
        opened[Path(path).relative_to(tree).as_posix()] += 1
        return io_open(path, *arguments, **options)

    io_open = io.open
    monkeypatch.setattr("io.open", counting)
    plan(tree)
    assert opened == {"bulk/vasprun.xml.gz": 1, "slab/vasprun.xml": 1, "slab/OUTCAR": 1}


@pytest.mark.parametrize("ending", PACKED)
def test_a_compressed_file_that_was_cut_off_is_a_failed_run(tree, ending):
    data = PACKED[ending]((tree / "slab/vasprun.xml").read_bytes() * 40)
    (tree / "slab/vasprun.xml").write_bytes(data[: len(data) * 2 // 3])
    assert read_output(tree / "slab", slab=True).energy is None


@pytest.mark.parametrize("ending", PACKED)
def test_outcar_beside_it_may_be_compressed_too(tree, ending):
    text = b"  free  energy   TOTEN  =  -99.0 eV\n"
    (tree / f"slab/OUTCAR.{ending}").write_bytes(PACKED[ending](text))
    (problem,) = plan(tree)[0].problems
    assert "-99.0" in problem


@pytest.mark.parametrize(
    ("start", "ending", "what"),
    [
        (b"\x1f\x9d\x90", ".Z", "compress (.Z)"),
        (b"\x28\xb5\x2f\xfd", ".zst", "Zstandard"),
        (b"PK\x03\x04", ".zip", "zip"),
        (b"7z\xbc\xaf\x27\x1c", ".7z", "7-Zip"),
    ],
)
def test_another_compression_is_named(tree, start, ending, what):
    (tree / "slab/vasprun.xml").unlink()
    (tree / f"slab/vasprun.xml{ending}").write_bytes(start + b"0" * 50)
    (problem,) = plan(tree)[0].problems
    assert str(tree / f"slab/vasprun.xml{ending}") in problem
    assert what in problem


def test_a_file_that_expands_without_end_is_refused(tree, monkeypatch):
    monkeypatch.setattr(input_files, "SMALL", 1 << 20)
    (tree / "slab/vasprun.xml").write_bytes(lzma.compress(b"<modeling>" + b" " * (4 << 20)))
    (problem,) = plan(tree)[0].problems
    assert "expands to more than 300 times" in problem


def test_links_to_folders_and_files_are_followed(tree, tmp_path):
    (tree / "slab").rename(tmp_path / "elsewhere")
    (tree / "slab").symlink_to("../elsewhere", target_is_directory=True)
    (tree / "bulk/vasprun.xml").rename(tmp_path / "moved.xml")
    (tree / "bulk/vasprun.xml").symlink_to(tmp_path / "moved.xml")
    assert paired(tree) == [("slab", "bulk")]


def test_a_folder_with_several_ways_to_it_is_read_once_and_loops_end(tree, tmp_path):
    (tree / "a_latest").symlink_to("slab")
    (tree / "bulk/back").symlink_to("..")
    (tree / "up").symlink_to(tmp_path)
    (tree / "inside").mkdir()
    (tree / "inside/again").symlink_to("../inside")
    (tmp_path / "far").mkdir()
    (tmp_path / "far/home").symlink_to(tree)
    (tree / "round").symlink_to(tmp_path / "far")
    found = find_runs(tree)
    assert found.folders == [tree / "bulk", tree / "slab"]
    assert found.problems == []
    assert len(found.notes) == 5
    assert any(str(tree / "a_latest") in note and str(tree / "slab") in note for note in found.notes)


def test_two_roots_that_share_folders_are_read_once(tree):
    assert find_runs(tree, tree / "slab").folders == [tree / "bulk", tree / "slab"]
    assert find_runs(tree / "slab", tree).folders == [tree / "slab", tree / "bulk"]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _damaged(folder: Path, old: str, new: str) -> None:
    (folder / "vasprun.xml").write_text(minimal.bulk().replace(old, new))


FAULTS = {
    "a link to nowhere": lambda folder: (folder / "old").symlink_to("gone"),
    "a link to itself": lambda folder: (folder / "old").symlink_to("old"),
    "vasprun.xml is a link to nowhere": lambda folder: (folder / "vasprun.xml").symlink_to("gone"),
    "OUTCAR only": lambda folder: (folder / "OUTCAR").write_text("vasp.6.4.2"),
    "OUTCAR.bz2 only": lambda folder: (folder / "OUTCAR.bz2").write_bytes(b"BZh"),
    "LOCPOT only": lambda folder: (folder / "LOCPOT").write_text("Mg"),
    "vaspout.h5 only": lambda folder: (folder / "vaspout.h5").write_text(""),
    "another name": lambda folder: (folder / "vasprun_old.xml").write_text(minimal.bulk()),
    "a backup": lambda folder: (folder / "vasprun.xml.bak").write_text(minimal.bulk()),
    "an archive": lambda folder: (folder / "vasprun.xml.tar.gz").write_bytes(b"\x1f\x8b"),
    "capitals": lambda folder: (folder / "VASPRUN.XML").write_text(minimal.bulk()),
    "a folder": lambda folder: (folder / "vasprun.xml").mkdir() or (folder / "OUTCAR").write_text(""),
    "a pipe": lambda folder: _pipe(folder / "vasprun.xml"),
    "empty": lambda folder: (folder / "vasprun.xml").write_text(""),
    "a position of stars": lambda folder: _damaged(folder, "0.25", "********"),
    "an infinite cell": lambda folder: _damaged(folder, "5.2", "Infinity"),
    "no cell": lambda folder: _damaged(folder, "5.2", "0.0"),
    "no XML": lambda folder: (folder / "vasprun.xml").write_text("quota exceeded"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_cannot_be_read_is_named_once_and_the_rest_goes_in(tree, fault):
    folder = tree / "deep/er"
    folder.mkdir(parents=True)
    FAULTS[fault](folder)
    result, _ = plan(tree)
    (problem,) = result.problems
    assert str(folder) in problem
    assert "\n" not in problem
    assert len(result.pairs) == 1


@pytest.mark.parametrize("name", ["INCAR", "INCAR.gz", "run.tar.gz", "runs.zip", "launcher.tgz"])
def test_a_folder_that_may_hold_a_run_is_named(tree, name):
    (tree / "prepared").mkdir()
    (tree / f"prepared/{name}").write_text("ENCUT = 400")
    (tree / f"slab/{name}").write_text("ENCUT = 400")
    result, _ = plan(tree)
    (note,) = result.notes
    assert str(tree / "prepared") in note and name in note
    assert result.problems == [] and len(result.pairs) == 1


@pytest.mark.parametrize("name", ["WAVECAR", "CHGCAR", "INCAR"])
def test_files_that_are_not_read_may_be_missing(tree, name):
    (tree / f"slab/{name}").symlink_to("gone")
    assert paired(tree) == [("slab", "bulk")]


def test_a_folder_without_permission_is_named(tree, monkeypatch):
    closed = tree / "closed"
    closed.mkdir()
    monkeypatch.chdir(tree)  # so that another user finds the tree without its parents
    tree.chmod(0o755)
    closed.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:  # to whom no folder is closed
        os.seteuid(65534)
    try:
        found = find_runs(Path())
    finally:
        if is_root:
            os.seteuid(0)
        closed.chmod(0o755)
    assert found.problems == ["closed: cannot be read: Permission denied; correct its permissions"]
    assert [folder.name for folder in found.folders] == ["bulk", "slab"]


def test_a_tree_without_any_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no VASP calculation"):
        plan(tmp_path)
    (tmp_path / "OUTCAR").write_text("")
    assert len(plan(tmp_path)[0].problems) == 1


def test_reading_runs_needs_no_jobflow():
    script = "import sys, workflows.jobs.ingest.ingest; sys.exit('jobflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
