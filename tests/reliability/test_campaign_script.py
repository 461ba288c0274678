"""The script of kills compares all fields that it lists, and kills processes of every kind that it lists."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.reliability.campaign import attempt, descendants, differences, environment_of, measure, state

RECORD = {"energy": -1.5, "verdicts": {"work_function": {"status": "accepted"}}, "sides": [3.7, 3.7]}


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({**RECORD}, None),
        ({**RECORD, "energy": -1.5 + 1e-9}, None),
        ({**RECORD, "energy": -1.4}, "energy"),
        ({**RECORD, "energy": None}, "energy"),
        ({**RECORD, "sides": [3.7, 3.8]}, r"sides\[1\]"),
        ({**RECORD, "sides": [3.7]}, "sides"),
        ({**RECORD, "verdicts": {"work_function": {"status": "failed"}}}, "status"),
        ({"energy": -1.5}, "lost"),
        ({**RECORD, "more": 1}, "too much"),
    ],
)
def test_differences(changed, place) -> None:
    found = differences({"a": RECORD}, {"a": changed})
    assert bool(found) == (place is not None)
    if place:
        assert any(re.search(place, line) for line in found)


def test_a_lost_and_a_doubled_record() -> None:
    assert differences({"surfaces": {"a": {}}}, {"surfaces": {}}) == [".surfaces.a: lost"]
    assert differences({"surfaces": {}}, {"surfaces": {"a": {}}}) == [".surfaces.a: too much"]


def test_descendants() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        assert len(descendants(process.pid)) == 1
        process.communicate("\n", timeout=20)


@pytest.mark.slow
def test_two_kills(tmp_path) -> None:
    found = measure(tmp_path, kills=2, seconds=240, seed=1)
    assert found["kills"] == 2
    assert found["differences"] == []


@pytest.mark.slow
def test_after_a_lost_store_finished_calculations_are_read_from_their_folders(tmp_path) -> None:
    """As the error about a lost store promises: the engine vasp reads its own files again."""
    from tests.reliability.campaign import COMMANDS, write_campaign

    environment = environment_of(tmp_path)
    write_campaign(tmp_path)
    assert attempt(tmp_path, environment, 600, True, COMMANDS[:1]) is None
    expected = state(tmp_path / "results.sqlite")
    for path in tmp_path.glob("results.sqlite*"):
        path.unlink()
    # without VASP: whatever was to be computed would fail
    broken = {**environment, "MGSURF_VASP_CMD": f"{sys.executable} -c raise(SystemExit(1))"}
    assert attempt(tmp_path, broken, 600, True, COMMANDS[:1]) is None
    assert differences(expected, state(tmp_path / "results.sqlite")) == []
