from __future__ import annotations

import json

import pytest

from stores.errors import InputError
from workflows.engines.protocol import TASK_FILE
from workflows.execution.logs import Task, chosen, matches, most_telling, noted_tasks

LABELS = [
    "MgAg bulk: relax",
    "MgAg (110) oriented bulk: static",
    "MgAg (110) MgAg: slab relax",
    "MgAg (110) MgAg: slab static",
    "MgAg (100) Mg: slab relax",
    "MgAg (100) Ag slab relax",  # as older versions named them
    "Mg (0001) Mg: slab relax",
]
TASKS = [
    Task(label, "ok", f"/runs/{number}", f"2026-01-0{number + 1}") for number, label in enumerate(LABELS)
]


@pytest.mark.parametrize(
    ("name", "label", "found"),
    [
        ("MgAg (110)", "MgAg (110) MgAg: slab relax", True),
        ("mgag 110 relax", "MgAg (110) MgAg: slab relax", True),
        ("MgAg (1 1 0)", "MgAg (110) MgAg: slab relax", True),
        ("Mg (001)", "Mg (0001) Mg: slab relax", True),
        ("Mg (0001)", "Mg (0001) Mg: slab relax", True),
        ("MgAg (110)", "MgAg (11-1) Mg: slab relax", False),
        ("Mg (110)", "MgAg (110) Ag: slab relax", False),
    ],
)
def test_words_and_planes_are_compared_not_letters(name, label, found):
    assert matches(name, label) is found


def test_a_plane_of_one_termination_gives_its_slab_and_a_name_that_is_a_facet_gives_that_alone():
    assert {task.facet for task in chosen("MgAg (110)", TASKS, "s")} == {"MgAg (110) MgAg"}
    assert {task.facet for task in chosen("MgAg (100)", TASKS, "s")} == {"MgAg (100) Mg", "MgAg (100) Ag"}
    assert [task.label for task in chosen("MgAg (100) Ag", TASKS, "s")] == ["MgAg (100) Ag slab relax"]
    assert [task.label for task in chosen("MgAg (110) oriented bulk", TASKS, "s")] == [LABELS[1]]


def test_what_runs_comes_before_what_failed_before_the_latest():
    slabs = chosen("MgAg (110)", TASKS, "s")
    assert most_telling(slabs).label == "MgAg (110) MgAg: slab static"
    failed = Task("MgAg (110) MgAg: slab relax", "failed", "/runs/7", "2025-01-01")
    assert most_telling([*slabs, failed]) is failed
    running = Task("MgAg (110) MgAg: slab static", "running", "/runs/8")
    assert most_telling([*slabs, failed, running]) is running


def test_a_name_that_fits_nothing_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"MgAg \(211\).*nearest: .*MgAg \(110\) MgAg") as raised:
        chosen("MgAg (211)", TASKS, "s.sqlite")
    assert "s.sqlite" in str(raised.value) and "Mg (0001)" not in str(raised.value)
    with pytest.raises(InputError, match=r"nearest: .*MgAg"):
        chosen("MgAq (110)", TASKS, "s")
    with pytest.raises(InputError, match="no calculation yet"):
        chosen("MgAg", [], "s")


def test_labels_of_folders_are_printable(tmp_path):
    (tmp_path / "aa").mkdir()
    (tmp_path / "aa" / TASK_FILE).write_text(json.dumps({"id": "aa", "label": "MgAg \x1b[31m(110)\nMg"}))
    assert [task.label for task in noted_tasks(tmp_path)] == ["MgAg ?[31m(110) Mg"]
