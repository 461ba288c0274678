"""What goes wrong before a job runs: projects, databases, packages; no queue needed."""

from __future__ import annotations

import json
import sys

import pytest

from tests.execution.cluster import MG, MGAG, PROJECT
from tests.stores.mongo_server import MongoServer
from workflows.execution.remote import project as remote_project

COMMANDS = (
    ("submit", "queue-test.yaml"),
    ("status",),
    ("retry", "--failed"),
    ("cancel",),
    ("pull",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_unknown_project_lists_the_known_ones(project, command):
    project.campaign(compounds=(MG,))
    line = project.refused(*command, "--project", "clutser")
    assert "no project 'clutser' (known projects: cluster in " in line
    assert "mgsurf init-hpc makes one" in line


def test_a_project_file_with_a_mistake_says_which(project):
    path = project.folder / "projects" / f"{PROJECT}.yaml"
    path.write_text(path.read_text().replace("work_dir: ", "work_dir: relative"))
    line = project.refused("status", "--project", PROJECT)
    assert "cluster.yaml: workers.queue" in line
    assert "must be an absolute path" in line
    path.write_text("name: [")
    assert "not valid YAML" in project.refused("status", "--project", PROJECT)


def test_nothing_submitted_yet(project):
    path = project.campaign(compounds=(MG,))
    for command in COMMANDS[1:]:
        line = project.refused(*command, "--project", PROJECT)
        assert "nothing of any campaign was submitted to project cluster" in line
    assert not (project.folder / "results.sqlite").exists()
    assert "campaign 'queue-test'" in project.refused("status", path, "--project", PROJECT)


def test_without_jobflow_remote_the_extra_is_named(project, monkeypatch):
    path = project.campaign(compounds=(MG,))
    for name in [name for name in sys.modules if name.split(".")[0] == "jobflow_remote"]:
        monkeypatch.setitem(sys.modules, name, None)
    for command in (("submit", path), ("status",), ("pull",), ("init-hpc", "x", "--scheduler", "slurm")):
        wanted = command if command[0] == "init-hpc" else (*command, "--project", PROJECT)
        assert "-e '.[hpc]'" in project.refused(*wanted)


def test_mongodb_that_nobody_runs(project, monkeypatch):
    monkeypatch.setattr(remote_project, "SERVER_TIMEOUT_MS", 300)
    path = project.campaign(compounds=(MG,))
    file = project.folder / "projects" / f"{PROJECT}.yaml"
    file.write_text(file.read_text().replace(project.mongodb, "mongodb://me:secret@127.0.0.1:1/jobs"))
    line = project.refused("submit", path, "--project", PROJECT, code=4)
    assert "the MongoDB of project cluster does not answer" in line
    assert "nothing is lost" in line
    assert "secret" not in line


def test_resources_that_cannot_be_had(project):
    path = project.campaign(compounds=(MG,), resources="{bulk: {worker: queeu}}")
    line = project.refused("submit", path, "--project", PROJECT)
    assert "queue-test.yaml:6: resources: resources.bulk: no worker 'queeu' in the project; there are" in line
    line = project.refused("submit", path, "--project", PROJECT, "--worker", "other")
    assert "project cluster has no worker 'other'; there are queue" in line
    path = project.campaign(compounds=(MG,), resources="{options: {constrain: milan}}")
    assert "slurm cannot do that" in project.refused("submit", path, "--project", PROJECT)


def test_retry_wants_to_know_what(project):
    assert "--failed" in project.refused("retry", "--project", PROJECT)


def test_a_campaign_grows(project):
    """Only what is new is submitted; what was cancelled may be submitted again."""
    path = project.campaign(compounds=(MG,))
    assert project.mgsurf("submit", path, "--project", PROJECT).returncode == 0
    assert len(project.jobs()) == 3
    grown = project.campaign(compounds=(MG, MGAG))
    done = project.mgsurf("submit", grown, "--project", PROJECT)
    assert "Mg (A3): submitted before, ready" in done.stdout
    assert "submitted MgAg (B2) to project cluster" in done.stdout
    state = project.state(path)
    assert state["counts"]["waiting"] == len(project.jobs())
    assert "the runner was never started" in state["runner"]
    done = project.mgsurf("cancel", path, "--project", PROJECT)
    assert done.returncode == 0, done.stdout
    assert project.state()["counts"]["waiting"] == 0
    again = project.mgsurf("submit", path, "--project", PROJECT)
    assert "submitted Mg (A3), MgAg (B2)" in again.stdout
    assert "submitted before" not in again.stdout


def test_a_campaign_without_resources_takes_the_workers_own(project):
    path = project.campaign(compounds=(MG,))
    path.write_text("".join(line for line in path.open() if not line.startswith("resources")))
    assert project.mgsurf("submit", path, "--project", PROJECT).returncode == 0
    for job in project.jobs():
        assert job["resources"] is None
        assert job["worker"] == "queue"


def test_records_of_finished_jobs_are_pulled_once(project, tmp_path):
    from datetime import UTC, datetime

    import pymongo

    from stores.connections import open_store
    from stores.records import CalculationStatus
    from tests.stores.conftest import make_calculation, make_surface

    path = project.campaign(compounds=(MG,))
    assert project.mgsurf("submit", path, "--project", PROJECT).returncode == 0
    uuids = [job["uuid"] for job in project.jobs()]

    def early(record, day):
        return {**record.model_dump(mode="json"), "created_at": f"2026-01-{day:02d}T00:00:00.000000Z"}

    failed = make_calculation(1).model_copy(deep=True)
    failed.output.status, failed.output.reason = CalculationStatus.FAILED, "disk full"
    outputs = [
        {"calculations": [early(failed, 1)], "reference": None},
        {"calculation": early(make_calculation(1), 2), "bulk": None},
        {"id": "surface-1", "surface": early(make_surface(1), 3)},
    ]
    with pymongo.MongoClient(project.mongodb) as client:
        client[project.database]["jf_outputs"].insert_many(
            [
                {
                    "uuid": uuid, "index": 1, "output": output, "name": f"job {n}", "metadata": {},
                    "completed_at": datetime(2026, 1, n + 1, tzinfo=UTC).isoformat(),
                }
                for n, (uuid, output) in enumerate(zip(uuids, outputs, strict=True))
            ]
        )  # fmt: skip
    first = project.mgsurf("pull", path, "--project", PROJECT)
    assert "1 surface, 2 calculations new or changed" in first.stdout
    assert "(2 records in the project)" in first.stdout
    second = project.mgsurf("pull", path, "--project", PROJECT)
    assert second.stdout.startswith("nothing new or changed")
    with open_store(f"sqlite:///{project.folder}/results.sqlite") as store:
        assert store.get_calculation("calculation-1").output.status == "ok"  # not the failure before it

    with pymongo.MongoClient(project.mongodb) as client:
        client[project.database]["jf_outputs"].update_one(
            {"uuid": uuids[2]}, {"$set": {"output.surface.n_atoms": "many", "output.surface.id": "x"}}
        )
    damaged = project.mgsurf("pull", path, "--project", PROJECT, "--store", "other.sqlite")
    assert damaged.returncode == 1
    assert "damaged output of job 2: n_atoms" in damaged.stdout
    assert damaged.stdout.startswith("2 calculations new or changed")  # the others came


def test_pull_into_mongodb(project):
    path = project.campaign(compounds=(MG,))
    assert project.mgsurf("submit", path, "--project", PROJECT).returncode == 0
    done = project.mgsurf("pull", path, "--project", PROJECT, "--store", project.mongodb)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nothing new or changed in mongodb://")
    assert "3 jobs are not finished; pull again later" in done.stdout


def test_database_of_something_else(project):
    import pymongo

    path = project.campaign(compounds=(MG,))
    with pymongo.MongoClient(project.mongodb) as client:
        client[project.database]["jf_flows"].insert_one({"uuid": "x"})
    line = project.refused("submit", path, "--project", PROJECT, code=4)
    assert "holds jobs but not jobflow-remote's counters" in line


def test_the_fixture_server_can_go_down_and_come_back():
    import pymongo

    with MongoServer() as server, pymongo.MongoClient(server.uri, serverSelectionTimeoutMS=3000) as client:
        client.a.b.insert_one({"x": 1})
        with server.down():
            for _ in range(2):
                with pytest.raises(pymongo.errors.PyMongoError):
                    client.a.b.find_one()
        assert json.dumps(client.a.b.find_one({}, {"_id": 0})) == '{"x": 1}'
