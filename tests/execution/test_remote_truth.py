"""What submit, status and retry say and keep when things go wrong beside them; no queue needed."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from stores.errors import StoreError
from stores.records import CalculationStatus
from tests.execution.cluster import MG, PROJECT
from tests.stores.conftest import make_calculation
from workflows.execution.remote.project import _why_wrong
from workflows.execution.remote.submit import alone_submitting


def test_no_password_of_the_results_store_is_shown(project):
    path = project.campaign(compounds=(MG,))
    path.write_text(path.read_text().replace("results.sqlite", "mongodb://me:secret@127.0.0.1:1/results"))
    done = project.mgsurf("submit", path, "--project", PROJECT)
    assert done.returncode == 0
    assert "mongodb://me:***@127.0.0.1:1/results" in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_no_password_of_a_damaged_project_file_is_shown(project):
    path = project.folder / "projects" / f"{PROJECT}.yaml"
    for uri in (
        "[mongodb://me:secret@host/jobs",
        "mongodb://me:secret@host/jobs\nuri: mongodb://me:secret@host/jobs",
    ):
        path.write_text(f"name: cluster\nuri: {uri}\n")
        line = project.refused("status", "--project", PROJECT)
        assert "cluster.yaml: not valid YAML in line" in line
        assert "secret" not in line


def test_a_store_of_an_unknown_type_in_a_project_file_is_named(tmp_path):
    store = "{type: MongoStor, uri: 'mongodb://me:secret@h/x'}"
    (tmp_path / "a.yaml").write_text(
        f"name: a\nworkers: {{}}\nqueue: {{store: {store}}}\njobstore: {{docs_store: {store}}}\n"
    )
    line = _why_wrong(tmp_path, "a")
    assert "MongoStor'" in line
    assert "Traceback" not in line
    assert "secret" not in line


@pytest.mark.parametrize(
    "uri", ["mongodb://me:se/cret@127.0.0.1:1/jobs", "mongodb://me:se@cret@127.0.0.1/jobs"]
)
def test_no_part_of_a_password_that_makes_no_address_is_shown(project, uri):
    path = project.folder / "projects" / f"{PROJECT}.yaml"
    path.write_text(path.read_text().replace(project.mongodb, uri))
    line = project.refused("status", "--project", PROJECT, code=4)
    assert "cret" not in line
    assert "'se'" not in line
    assert "cluster.yaml" in line  # where to mend it


def test_a_dead_runner_is_not_taken_for_a_living_one(project, submitted, database):
    """A login node that was started again leaves the runner's document behind."""
    long_ago = datetime.now(UTC) - timedelta(hours=5)
    database["jf_auxiliary"].update_one(
        {"running_runner": {"$exists": True}},
        {"$set": {"running_runner": {"hostname": "login9", "last_pinged": long_ago}}},
    )
    trouble = project.state(submitted)["runner"]
    assert f"last seen at {long_ago:%Y-%m-%d %H:%M} UTC" in trouble
    assert "jf -p cluster runner start" in trouble
    database["jf_auxiliary"].update_one(
        {"running_runner": {"$exists": True}},
        {"$set": {"running_runner.last_pinged": datetime.now(UTC) - timedelta(minutes=1)}},
    )
    assert project.state(submitted)["runner"] == ""


def test_the_runner_says_often_that_it_lives(project):
    from workflows.execution.remote.project import ProjectAnswers, project_document
    from workflows.flows.campaign.resources import JobResources

    answers = ProjectAnswers("a", "slurm", "/scratch", "mongodb://h/a", JobResources())
    assert project_document(answers)["runner"]["delay_ping_db"] <= 60


def test_two_submissions_at_once_submit_once(project, database):
    """On an empty database, which the first of them prepares."""
    path = project.campaign(compounds=(MG,))
    command = [sys.executable, "-m", "workflows.cli.app", "submit", str(path), "--project", PROJECT]
    running = [
        subprocess.Popen(
            command, cwd=project.folder, env=project.environment, text=True, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert len(project.jobs()) == 3
    assert sum("submitted Mg (A3) to project" in text for text in said) == 1
    assert sum("submitted before" in text for text in said) == 1


def test_a_submission_waits_for_another_and_says_for_which(project, database):
    path = project.campaign(compounds=(MG,))
    with alone_submitting(database):
        pid = os.getpid()
        with pytest.raises(StoreError, match=f"Process {pid} on "), alone_submitting(database, wait=0.1):
            pass
    assert project.mgsurf("submit", path, "--project", PROJECT).returncode == 0


def answer(job, record, status, day):
    output = record.model_copy(deep=True)
    output.output.status, output.output.reason = CalculationStatus(status), "its disk was full"
    return {
        "uuid": job["uuid"], "index": job["index"], "name": job["job"]["name"], "metadata": {},
        "output": {"calculation": output.model_dump(mode="json"), "bulk": None},
        "completed_at": datetime(2026, 1, day, tzinfo=UTC).isoformat(),
    }  # fmt: skip


def test_failures_that_were_mended_or_run_again_are_not_shown(project, submitted, database):
    first, second, _ = project.jobs()
    database["jf_jobs"].update_many({}, {"$set": {"state": "COMPLETED"}})
    outputs = database["jf_outputs"]
    outputs.insert_one(answer(first, make_calculation(1), "failed", 1))
    ((_, reason),) = project.state(submitted)["calculations"]
    assert reason == "failed: its disk was full"
    # it runs again: what it said before is out of date
    database["jf_jobs"].update_one({"uuid": first["uuid"]}, {"$set": {"state": "RUNNING"}})
    assert project.state(submitted)["calculations"] == []
    # another job answered the same question later (mgsurf submit --again)
    database["jf_jobs"].update_one({"uuid": first["uuid"]}, {"$set": {"state": "COMPLETED"}})
    outputs.insert_one(answer(second, make_calculation(1), "ok", 2))
    assert project.state(submitted)["calculations"] == []
    assert "no job has failed" in project.mgsurf("retry", submitted, "--failed", "--project", PROJECT).stdout
    # whatever the clock of its node showed
    outputs.update_one({"uuid": second["uuid"]}, {"$set": {"completed_at": "2025-12-31T00:00:00"}})
    assert project.state(submitted)["calculations"] == []


def test_a_campaign_that_failed_says_how_it_goes_on(project, submitted, database):
    database["jf_flows"].update_many({}, {"$set": {"state": "FAILED"}})
    said = project.mgsurf("submit", submitted, "--project", PROJECT).stdout
    assert "Mg (A3): submitted before, failed" in said
    assert f"mgsurf retry {submitted} --failed --project cluster" in said


def test_no_module_that_a_stored_job_names_is_imported(submitted, project, database):
    foreign = {"@module": "this", "@class": "Zen"}
    change = {
        "job.function": {"@module": "this", "@callable": "s"},
        "job.function_args.1": foreign,
        "state": "FAILED",
    }
    assert database["jf_jobs"].update_many({}, {"$set": change}).modified_count
    job = database["jf_jobs"].find_one()
    database["jf_outputs"].insert_one(
        {"uuid": job["uuid"], "index": job["index"], "name": "x", "output": [foreign], "metadata": foreign}
    )
    for command in ("pull", "retry --failed", "cancel"):
        done = project.mgsurf(*command.split(), submitted, "--project", PROJECT)
        assert done.returncode in (0, 1)
        assert "this" not in sys.modules
