"""Ends of logs, whole logs and logs that are followed, whatever happens to their files meanwhile."""

from __future__ import annotations

import gzip
import shutil
import tracemalloc

import pytest

from workflows.execution import log_files
from workflows.execution.log_files import all_lines, follow, log_of, tail


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(log_files, "POLL", 0.0)


def followed(path, steps, position=0, latest=None):
    """Follow a file and take one step before each look."""
    left = iter([*steps, None])

    def ended():
        step = next(left)
        if step is not None:
            step()
        return step is None

    return list(follow(path, position, latest or (lambda: path), ended))


def appended(path, content):
    def step():
        with path.open("ab") as file:
            file.write(content)

    return step


def test_a_letter_that_is_written_in_two_pieces_is_one_letter(tmp_path):
    path = tmp_path / "gpaw.txt"
    path.write_bytes(b"")
    letter = "Å".encode()
    assert followed(path, [appended(path, b"2.5 " + letter[:1]), appended(path, letter[1:] + b"\n")]) == [
        "2.5 Å"
    ]


def test_the_position_after_a_compressed_log_is_its_end(tmp_path):
    path = tmp_path / "OSZICAR.gz"
    path.write_bytes(gzip.compress(b"DAV:   1\nDAV:   2\n"))
    shown, position = tail(path, 40)
    assert shown == ["DAV:   1", "DAV:   2"]
    assert followed(path, [], position) == []


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_log_that_is_moved_away_may_come_back(tmp_path, what):
    folder = tmp_path / "aa"
    folder.mkdir()
    path = folder / "gpaw.txt"
    path.write_text("iter: 1\n")

    def back():
        folder.mkdir(exist_ok=True)
        path.write_text("1\n")

    away = path.unlink if what == "file" else (lambda: shutil.rmtree(folder))
    seen = followed(path, [lambda: None, away, back], 8, lambda: log_of(folder))
    assert seen == ["-- gpaw.txt begins again --", "1"]


def test_a_file_that_vanishes_while_files_are_listed_ends_nothing(tmp_path):
    path = tmp_path / "gpaw.txt"
    path.write_text("iter: 1\n")
    seen = followed(path, [lambda: None, appended(path, b"iter: 2\n")], 0, lambda: tmp_path / "vanished.txt")
    assert seen == ["iter: 1", "iter: 2"]


def test_an_empty_file_has_no_lines_yet(tmp_path):
    path = tmp_path / "OSZICAR"
    path.touch()
    assert tail(path, 40, whole=True) == ([], 0) and list(all_lines(path)) == []


@pytest.mark.parametrize("packed", [False, True])
def test_large_logs_are_not_held(tmp_path, packed):
    path = tmp_path / "OUTCAR"
    content = b"".join(b"%07d some words of a calculation\n" % i for i in range(400_000))
    size = len(content)
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    del content
    tracemalloc.start()
    last, _ = tail(path, 2)
    n = sum(1 for _ in all_lines(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 400_000 and [line[:7] for line in last] == ["0399998", "0399999"]
    assert peak < size
