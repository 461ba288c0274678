from __future__ import annotations

import json
import os
import socket

from rich.console import Console

from workflows.execution.listener import RunListener
from workflows.jobs.progress import Stage, announce


def test_a_run_tells_what_it_computes_and_takes_that_away(tmp_path):
    path = tmp_path / "running.json"
    with RunListener(Console(quiet=True), tmp_path, quiet=True):
        announce(Stage.STARTED, "Mg (0001) Mg: slab relax")
        state = json.loads(path.read_text())
        assert state == {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "label": "Mg (0001) Mg: slab relax",
        }
    assert not path.exists()


def test_the_file_of_another_run_in_the_same_folder_stays(tmp_path):
    path = tmp_path / "running.json"
    for other in (
        {"pid": os.getpid() + 1, "host": socket.gethostname()},
        {"pid": os.getpid(), "host": "far"},
    ):
        with RunListener(Console(quiet=True), tmp_path, quiet=True):
            announce(Stage.STARTED, "Mg (0001) Mg: slab relax")
            path.write_text(json.dumps({**other, "label": "MgAg (110) Mg: slab relax"}))
        assert json.loads(path.read_text())["label"] == "MgAg (110) Mg: slab relax"


def test_a_run_that_computed_nothing_leaves_nothing(tmp_path):
    with RunListener(Console(quiet=True), tmp_path, quiet=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_being_written_is_removed(tmp_path):
    with RunListener(Console(), tmp_path):
        (tmp_path / "running.json").write_text('{"pid": ')
    assert not (tmp_path / "running.json").exists()
