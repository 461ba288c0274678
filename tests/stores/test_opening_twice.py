"""Opening a store again must not take away the locks of connections that are open already.

POSIX locks belong to the process: closing any descriptor of a file drops them all. Had the header been read
through a file of its own, another process would take itself for the last user of the write-ahead log, and
remove it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from stores.backends.sqlite import DocumentTable
from stores.backends.sqlite_file import Database

ROOT = Path(__file__).resolve().parents[2]

OTHER = """
import sys
from tests.stores.opening import open_collection
table = open_collection(f"sqlite:///{sys.argv[1]}", "things", "id")
table.upsert([{"id": "theirs"}])
table.close()
"""


def test_opening_twice_keeps_the_locks_of_the_first(tmp_path):
    path = tmp_path / "store.sqlite"
    first = DocumentTable(Database(path), "things", "id")
    first.upsert([{"id": "ours"}])
    second = DocumentTable(Database(path), "things", "id")
    second.upsert([{"id": "ours too"}])
    second.close()
    subprocess.run(
        [sys.executable, "-c", OTHER, str(path)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert path.with_name("store.sqlite-wal").exists(), "the log was removed under an open connection"
    first.upsert([{"id": "ours again"}])
    assert sorted(d["id"] for d in first.query({})) == ["ours", "ours again", "ours too", "theirs"]
    with_new_eyes = DocumentTable(Database(path), "things", "id")
    assert with_new_eyes.count({}) == 4
