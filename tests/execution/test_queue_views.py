"""A submitted campaign on the pages, watched, and its jobs' logs by facet; no queue runs."""

from __future__ import annotations

from tests.execution.cluster import PROJECT
from tests.stores.conftest import make_calculation


def test_jobs_of_a_project_are_counted_on_the_first_page_and_failed_ones_grouped(submitted, database):
    from workflows.web.failures import queue_groups
    from workflows.web.queue_watch import QueueWatch

    jobs = database["jf_jobs"]
    first = jobs.find_one({}, sort=[("db_id", 1)])
    jobs.update_one({"_id": first["_id"]}, {"$set": {"state": "FAILED", "error": "OddError: too odd"}})
    watch = QueueWatch(PROJECT)
    watch._ask()
    seen = watch.latest()
    (state,) = seen["campaigns"]
    assert state["campaign"] == "queue-test" and seen["problem"] == ""
    assert state["counts"]["failed"] == 1 and state["counts"]["waiting"] >= 1
    (group,) = queue_groups(seen, PROJECT)
    assert (group["count"], group["reason"]) == (1, "OddError: too odd")
    assert group["commands"][0] == f"mgsurf retry --failed --project {PROJECT}"


def test_a_database_that_went_away_keeps_what_was_seen_and_names_the_problem(submitted, monkeypatch):
    from stores.errors import StoreError
    from workflows.execution.remote import project as module
    from workflows.web.queue_watch import QueueWatch

    watch = QueueWatch(PROJECT)
    watch._ask()

    def away(name):
        raise StoreError("the MongoDB of project cluster does not answer")

    monkeypatch.setattr(module, "open_project", away)
    watch._ask()
    assert "does not answer" in watch.latest()["problem"]
    assert [state["campaign"] for state in watch.latest()["campaigns"]] == ["queue-test"]


def test_the_log_of_a_job_is_found_by_its_name(project, submitted, database, tmp_path):
    jobs = database["jf_jobs"]
    job = jobs.find_one({"job.name": {"$regex": "relax bulk"}})
    name = job["job"]["name"]
    done = project.mgsurf("log", "Mg bulk", "--project", PROJECT)
    assert done.returncode == 2 and "no folder yet" in done.stderr
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "queue.out").write_text("started\nended\n")
    (folder / "queue.err").write_text("Killed\n")
    jobs.update_one({"_id": job["_id"]}, {"$set": {"run_dir": str(folder), "state": "FAILED", "error": "x"}})
    done = project.mgsurf("log", "Mg bulk", "--project", PROJECT)
    assert done.stdout == "started\nended\nKilled\n"
    assert f"{name}: failed, x" in done.stderr
    line = project.refused("log", "MgPd (110)", "--project", PROJECT)
    assert "Mg bulk" in line and "project cluster" in line


def test_a_calculation_at_work_on_a_worker_is_found_by_the_note_in_its_folder(project, submitted, database):
    folder = project.work_dir / "mgsurf" / "calculations" / "0a1b"
    folder.mkdir(parents=True)
    (folder / "calculation.json").write_text('{"id": "0a1b", "label": "Mg (0001) Mg: slab relax"}')
    (folder / "OSZICAR").write_text("DAV:   1\n")
    done = project.mgsurf("log", "Mg (0001)", "--project", PROJECT)
    assert done.stdout == "DAV:   1\n"
    (folder / "calculation.json").write_text('{"id": "0a1b", "label": "Mg bulk: relax"}')
    jobs = database["jf_jobs"]
    running = {"state": "BATCH_RUNNING", "run_dir": str(project.work_dir)}
    jobs.update_one({"job.name": "Mg relax bulk"}, {"$set": running})
    done = project.mgsurf("log", "Mg bulk", "--project", PROJECT)
    assert done.stdout == "DAV:   1\n" and "Mg bulk: relax: running" in done.stderr


def test_pull_notifies_once_when_every_job_has_ended(project, submitted, database, tmp_path):
    mail = tmp_path / "mail"
    submitted.write_text(submitted.read_text() + f"notify: {{command: [sh, -c, 'cat >> {mail}']}}\n")
    jobs = database["jf_jobs"]
    names = [job["uuid"] for job in jobs.find({})]
    record = make_calculation(0).model_dump(mode="json")
    output = {"uuid": names[0], "index": 1, "output": record, "completed_at": "2026-01-01T00:00:00"}
    database["jf_outputs"].insert_one({**output, "name": "Mg relax bulk", "metadata": {}})
    done = project.mgsurf("pull", submitted, "--project", PROJECT)
    assert done.returncode == 0 and "not finished" in done.stdout
    assert not mail.exists()
    jobs.update_many({}, {"$set": {"state": "COMPLETED"}})
    database["jf_outputs"].update_one({"uuid": names[0]}, {"$set": {"output.id": "another"}})
    assert project.mgsurf("pull", submitted, "--project", PROJECT).returncode == 0
    assert mail.read_text() == "mgsurf, queue-test: every job has ended: 1 calculation; 0 problems\n"
    assert project.mgsurf("pull", submitted, "--project", PROJECT).returncode == 0
    assert mail.read_text().count("ended") == 1
