from __future__ import annotations

import json
import os
import socket

from rich.console import Console

from workflows.execution.listener import RunListener
from workflows.execution.running import RunState, read_running
from workflows.jobs.progress import Stage, announce


def test_a_run_notes_what_it_computes_and_how_far_it_is(tmp_path):
    path = tmp_path / "running.json"
    with RunListener(Console(quiet=True), tmp_path, quiet=True, campaign="c", store="mongodb://u:Xq7z@h/d"):
        announce(Stage.PLANNED, "Mg (0001) Mg: slab static", cost=1.0)
        announce(Stage.REUSED, "Mg bulk: relax", cost=1.0)
        announce(Stage.STARTED, "Mg (0001) Mg: slab relax", cost=2.0, text="/runs/0a1b")
        state = json.loads(path.read_text())
        assert (state["pid"], state["host"]) == (os.getpid(), socket.gethostname())
        assert (state["label"], state["directory"]) == ("Mg (0001) Mg: slab relax", "/runs/0a1b")
        assert (state["planned"], state["done"], state["reused"], state["computed"]) == (3, 1, 1, 0)
        assert (state["campaign"], state["store"]) == ("c", "mongodb://u:***@h/d")
        running = read_running(tmp_path)
        assert running.words == f"Mg (0001) Mg: slab relax (process {os.getpid()})"
        assert running.progress == "1 of 3 calculations"
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


def test_it_is_replaced_as_a_whole(tmp_path):
    RunState(os.getpid(), socket.gethostname(), "a").write(tmp_path)
    with (tmp_path / "running.json").open() as reader:
        RunState(os.getpid(), socket.gethostname(), "b").write(tmp_path)
        assert json.load(reader)["label"] == "a"
    assert read_running(tmp_path).label == "b" and len(list(tmp_path.iterdir())) == 1
