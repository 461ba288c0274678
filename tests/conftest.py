"""What all tests share."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

# as make test does: a test that forks hangs in torch's threads otherwise
os.environ.setdefault("OMP_NUM_THREADS", "1")
# tests have cache folders of their own: compiled functions are shared all the same
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "numba"))


def pytest_configure() -> None:
    stray = Path(sysconfig.get_path("purelib"), "tests")
    if (stray / "__init__.py").is_file():
        pytest.exit(
            f"{stray} came with another package (optimade 1.5.0) and hides this folder in subprocesses; "
            f"remove it (make setup does): rm -r {stray}",
            returncode=3,
        )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Each GPAW test may start MPI ranks on every core: under pytest-xdist they all go to one worker.
    for item in items:
        if item.get_closest_marker("gpaw"):
            item.add_marker(pytest.mark.xdist_group("gpaw"))
