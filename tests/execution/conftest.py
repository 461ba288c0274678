from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execution.cluster import Cluster
from tests.execution.slurm import running_slurm
from tests.stores.mongo_server import MongoServer


@pytest.fixture(scope="session")
def mongodb() -> Iterator[str]:
    """URI of a MongoDB server, ending in a slash."""
    if real := os.environ.get("MGSURF_TEST_MONGODB_URI"):
        yield real.rstrip("/") + "/"
        return
    with MongoServer() as server:
        yield server.uri


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """Environment of a running Slurm."""
    with running_slurm() as environment:
        yield environment


@pytest.fixture
def cluster(tmp_path: Path, mongodb: str, slurm: dict[str, str]) -> Iterator[Cluster]:
    """A project on Slurm."""
    made = Cluster(tmp_path, mongodb, slurm)
    made.make_project()
    yield made
    made.stop_runner()


@pytest.fixture
def project(tmp_path: Path, mongodb: str) -> Cluster:
    """A project whose jobs nobody runs: no Slurm, no runner."""
    made = Cluster(tmp_path, mongodb, {})
    made.make_project()
    return made
