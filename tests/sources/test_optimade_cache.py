"""The cache of databases' answers: age, damage, two processes at once, interruption."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sources.faulty_server import FaultyServer, cut, pages_of, silent, status
from workflows.structures.sources.filters import CandidateFilter
from workflows.structures.sources.optimade import OptimadeSource
from workflows.structures.sources.page_cache import PageCache, default_cache_file

ROOT = Path(__file__).parents[2]


def ask(
    server: FaultyServer, cache: Path, wanted: CandidateFilter | None = None, **options: Any
) -> tuple[list[str], list[str]]:
    source = OptimadeSource([server.url], wanted, cache=cache, backoff=0.01, attempts=2, **options)
    found = [c.provenance.identifiers[0] for c in source.candidates()]
    return found, source.problems


def test_a_young_answer_is_not_fetched_again(tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "sources.sqlite"
    with FaultyServer(pages_of(5)) as server:
        first = ask(server, cache)
        assert len(first[0]) == 5
        server.requested.clear()
        assert ask(server, cache) == first
        assert ask(server, cache, max_age=timedelta(minutes=5)) == first
        assert server.requested == []
        assert ask(server, cache, max_age=timedelta(0)) == first
        assert server.requested == [1, 2, 3]
        assert ask(server, cache, refresh=True) == first
        assert server.requested == [1, 2, 3] * 2
    assert ask(server, cache) == first  # nor is the server queried about itself


def test_an_answer_serves_every_question_that_the_server_would_answer_alike(tmp_path: Path) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(5)) as server:
        ask(server, cache)
        server.requested.clear()
        assert ask(server, cache, CandidateFilter(exclude=["Ag"])) == ([], [])
        assert server.requested == []
        ask(server, cache, CandidateFilter(max_atoms=10))
        assert server.requested == [1, 2, 3]


def test_only_the_newest_answer_is_kept(tmp_path: Path) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(5)) as server:
        for _ in range(3):
            ask(server, cache, refresh=True)
    with sqlite3.connect(cache) as connection:
        assert connection.execute("SELECT count(*) FROM fetches").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (5,)


def test_an_unfinished_answer_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(6)) as server:
        server.faults[3] = [cut()] * 4
        for _ in range(2):
            found, (problem,) = ask(server, cache)
            assert len(found) == 4
            assert "stopped after page 2 (4 of 6 structures)" in problem
            assert OptimadeSource([server.url], cache=cache).fingerprint() is None
        assert len(ask(server, cache)[0]) == 6


def test_what_ended_before_it_was_marked_whole_still_tells_what_is_missing(tmp_path: Path) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(6)) as server:
        server.meta = {"data_returned": 8}
        first = ask(server, cache)
        assert first[1] == ["x: 6 of 8 structures came, but no further page; --refresh fetches it again"]
        with sqlite3.connect(cache) as connection:
            connection.execute("UPDATE fetches SET finished = NULL, note = NULL")
        server.requested.clear()
        assert ask(server, cache) == first
        assert server.requested == []


def test_fingerprint_names_what_will_come(tmp_path: Path) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(4)) as server:
        source = OptimadeSource([server.url], cache=cache, refresh=True)
        assert source.fingerprint() is None
        list(source.candidates())
        fingerprint = source.fingerprint()
        assert fingerprint is not None
        assert OptimadeSource([server.url], cache=cache).fingerprint() == fingerprint
        assert (
            OptimadeSource([server.url], CandidateFilter(exclude=["Zn"]), cache=cache).fingerprint()
            != fingerprint
        )
        list(OptimadeSource([server.url], cache=cache, refresh=True).candidates())
        assert OptimadeSource([server.url], cache=cache).fingerprint() != fingerprint


@pytest.mark.parametrize("damage", ["not a database", "half", "empty", "other tables"])
def test_a_damaged_cache_is_begun_anew(tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(40)) as server:
        first = ask(server, cache)
        content = cache.read_bytes()
        if damage == "other tables":
            cache.unlink()
            with sqlite3.connect(cache) as connection:
                connection.execute("CREATE TABLE fetches (x)")
        else:
            cache.write_bytes({"half": content[: len(content) // 2], "empty": b""}.get(damage, b"no" * 4096))
        for suffix in ("-wal", "-shm"):
            cache.with_name(cache.name + suffix).unlink(missing_ok=True)
        assert ask(server, cache) == first
        assert ask(server, cache) == first


def test_damage_deep_inside_is_found_before_anything_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(400, size=100)) as server:
        first = ask(server, cache)
        with sqlite3.connect(cache) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            size = connection.execute("PRAGMA page_size").fetchone()[0]
        content = bytearray(cache.read_bytes())
        content[3 * size :] = b"\x07" * (len(content) - 3 * size)  # the header and the tables' list are whole
        cache.write_bytes(content)
        assert OptimadeSource([server.url], cache=cache).fingerprint() is None
        assert "is damaged" in caplog.text
        assert "starts empty" in caplog.text
        assert ask(server, cache) == first


def test_a_damaged_entry_is_reported_and_replaced_by_the_next_run(tmp_path: Path) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(6)) as server:
        first = ask(server, cache)
        with sqlite3.connect(cache) as connection:
            connection.execute("UPDATE entries SET body = substr(body, 1, 40) WHERE id = 'x-002'")
        found, problems = ask(server, cache)
        assert found == [i for i in first[0] if i != "x:x-002"]
        assert problems == ["x: 1 structure skipped: damaged in the cache (1)"]
        assert ask(server, cache) == first


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with FaultyServer(pages_of(4)) as server:
        found, problems = ask(server, blocked / "sources.sqlite")
    assert len(found) == 4
    assert problems == []
    assert blocked.read_text() == "in the way"


def test_the_cache_lies_with_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from model.graphs.cache import default_cache_file as graphs

    monkeypatch.setenv("MGSURF_CACHE", str(tmp_path))
    assert default_cache_file().parent == graphs().parent == tmp_path
    monkeypatch.delenv("MGSURF_CACHE")
    assert default_cache_file().parent == graphs().parent
    assert PageCache(None).path == default_cache_file()


def test_without_the_extra_a_cached_answer_still_comes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import importlib.util

    from stores.errors import InputError

    cache = tmp_path / "sources.sqlite"
    find = importlib.util.find_spec
    with FaultyServer(pages_of(4)) as server:
        first = ask(server, cache)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *a: None if name == "httpx2" else find(name, *a)
        )
        assert ask(server, cache) == first
        with pytest.raises(InputError, match="need more packages") as caught:
            ask(server, cache, refresh=True)
        assert "-e '.[databases]'" in str(caught.value)
        assert "\n" not in str(caught.value)


_SCRIPT = """
import sys
from pathlib import Path
from workflows.structures.sources.optimade import OptimadeSource
def show(*news):
    print(*news, flush=True)
source = OptimadeSource([sys.argv[1]], cache=Path(sys.argv[2]), progress=show)
print("found", len(list(source.candidates())), source.problems, flush=True)
"""


def start(server: FaultyServer, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, server.url, str(cache)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, NO_PROXY="127.0.0.1"),
        # where the tests run in a shell's background, SIGINT is ignored, and processes inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_two_processes_share_one_download(tmp_path: Path) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(12)) as server:
        server.faults[2] = [silent(0.5)]
        processes = [start(server, cache), start(server, cache)]
        for process in processes:
            output, errors = process.communicate(timeout=300)
            assert output.splitlines()[-1] == "found 12 []", errors
        assert sorted(set(server.requested)) == [1, 2, 3, 4, 5, 6]
        assert len(server.requested) == 7  # page 2 twice


def test_ctrl_c_ends_at_once_and_keeps_the_pages(tmp_path: Path) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(6)) as server:
        server.faults[3] = [silent(60)]
        process = start(server, cache)
        assert process.stdout is not None
        while process.stdout.readline() != "x 4 6\n":
            assert process.poll() is None
        time.sleep(0.2)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - begun < 20
        assert "KeyboardInterrupt" in errors
        server.requested.clear()
        assert len(ask(server, cache)[0]) == 6
        assert server.requested == [3]


def test_a_refresh_that_fails_leaves_the_answer_that_was_there(tmp_path: Path) -> None:
    cache = tmp_path / "sources.sqlite"
    with FaultyServer(pages_of(6)) as server:
        first = ask(server, cache)
        server.faults[2] = [status(500)] * 2
        found, (problem,) = ask(server, cache, refresh=True)
        assert found == first[0]
        assert "is used; try again later" in problem
        assert ask(server, cache) == first
