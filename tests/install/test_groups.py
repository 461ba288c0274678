"""Tests that share a queue or all cores stay on one worker; when they do not, nothing else fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_TESTS = """
import pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("i", range(4))
def test_something(i):
    pass
"""


def test_groups_of_tests_stay_on_one_worker(tmp_path: Path) -> None:
    (tmp_path / "test_grouped.py").write_text(_TESTS)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    passed = [line.split()[0] for line in done.stdout.splitlines() if "PASSED" in line]
    assert len(passed) == 4
    assert len(set(passed)) == 1, "pytest and pytest-xdist do not agree; see constraints.txt"
