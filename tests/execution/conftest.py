from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest

from tests.execution.cluster import MG, PROJECT, LocalProject
from tests.execution.slurm import running_slurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """Environment of a running Slurm."""
    with running_slurm() as environment:
        yield environment


@pytest.fixture
def project(tmp_path: Path, mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> LocalProject:
    """A project whose jobs nobody runs: no Slurm, no runner; its commands run in this process."""
    made = LocalProject(tmp_path, mongo_uri, {})
    made.enter(monkeypatch)
    made.make_project()
    return made


@pytest.fixture
def submitted(project: LocalProject) -> Path:
    """The file of a campaign on Mg, submitted to the project."""
    path = project.campaign(compounds=(MG,))
    assert project.mgsurf("submit", path, "--project", PROJECT).returncode == 0
    return path


@pytest.fixture
def database(project: LocalProject) -> Iterator[pymongo.database.Database]:
    """The project's database in MongoDB."""
    with pymongo.MongoClient(project.mongodb) as client:
        yield client[project.database]
