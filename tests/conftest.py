"""What all tests share."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def mongo_uri() -> Iterator[str]:
    """URI of a MongoDB server, to which a database's name is appended."""
    from tests.stores.mongo_server import MongoServer

    if real := os.environ.get("MGSURF_TEST_MONGODB_URI"):
        yield real.rstrip("/") + "/"
        return
    with MongoServer() as server:
        yield server.uri


@pytest.fixture(scope="session")
def records():
    """Records of the command line's tests, MgAg and Mg: a module that no test package makes importable."""
    path = Path(__file__).with_name("cli") / "records.py"
    spec = importlib.util.spec_from_file_location("cli_records", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["cli_records"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def filled(records, tmp_path_factory):
    """Path of a store with eight surfaces, their bulk and seven calculations. Read only."""
    from stores.connections import open_store

    path = tmp_path_factory.mktemp("store") / "results.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        store.add(records.quickstart_surfaces())
        store.add(records.calculations())
        store.add(records.bulk())
    return path
