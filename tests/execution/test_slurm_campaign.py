"""Campaigns through a real Slurm: real sbatch, jobflow-remote's own runner as a process, the stand-in VASP.

One runner serves the campaigns of a story at once, so that the waiting of one is the work of another; the
tests look at what was seen on the way. By default one campaign goes well, and one is cancelled. In the slow
story the queue rejects a slab and later ends it at its walltime, a calculation fails, and MongoDB goes down.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.execution.cluster import (
    MG,
    PROJECT,
    QUICK_VASP,
    STOPPING_ENGINE,
    Cluster,
)
from tests.stores.mongo_server import MongoServer

pytestmark = pytest.mark.xdist_group("slurm")

RELAX = "slab_relax Mg 6"
VASP, TROUBLE, FAILING, UNWANTED = "with-vasp", "trouble", "failing", "unwanted"
MGAG_110 = '{formula: MgAg, prototype: B2, facets: ["(110)"]}'
N_SURFACES = 2
RESOURCES = "{walltime: 1h, slabs: [{up_to_atoms: 10}, {tasks_per_node: 2, walltime: 2h}]}"
STRICT = "{walltime: 1h, light: {worker: front}, slabs: [{partition: %s, walltime: %s}]}"


class Story:
    """What was seen while campaigns ran."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.said: dict[str, Any] = {}

    def tell(self) -> None:
        """One campaign goes well; another is cancelled."""
        cluster, said = self.cluster, self.said
        vasp = cluster.campaign(VASP, (MG, MGAG_110), engine="vasp", resources=RESOURCES, **QUICK_VASP)
        unwanted = cluster.campaign(UNWANTED, compounds=(MG,), cutoff=340, delay=600)
        for path in (vasp, unwanted):
            said["submit", path.stem] = self.mgsurf("submit", path)
        cluster.start_runner()
        cluster.wait(self.runs_unwanted, 300, "the unwanted job runs")
        said["running"] = cluster.state(unwanted)
        numbers = {job["remote"]["process_id"] for job in cluster.jobs(UNWANTED)}
        said["in the queue"] = numbers & self.squeue()
        said["cancel"] = self.mgsurf("cancel", unwanted)
        cluster.wait(lambda: not numbers & self.squeue(), 120, "the cancelled jobs leave the queue")
        said["cancelled"] = cluster.state(unwanted)
        cluster.wait_for_the_end(VASP)
        said["end"] = cluster.state(vasp)
        said["pull", VASP] = self.mgsurf("pull", vasp)

    def tell_troubles(self, server: MongoServer | None) -> None:
        """Jobs that the queue rejects and kills, a calculation that fails, MongoDB that goes down."""
        cluster, said = self.cluster, self.said
        trouble = {"compounds": (MG,), "engine": STOPPING_ENGINE, "cutoff": 320, "stop_on": "slab_relax Mg"}
        troubled = cluster.campaign(TROUBLE, resources=STRICT % ("nowhere", "1min"), **trouble)
        failing = cluster.campaign(
            FAILING,
            (MG,),
            STOPPING_ENGINE,
            "{worker: front}",
            cutoff=360,
            stop_on="slab_relax Mg",
            fails=True,
        )
        for path in (troubled, failing):
            self.mgsurf("submit", path)
        cluster.start_runner()
        relax = "Mg (0001) Mg relax"
        cluster.wait(
            lambda: (cluster.job(TROUBLE, relax).get("remote") or {}).get("error"), 400, "sbatch refuses"
        )
        said["rejected"] = cluster.state(troubled)
        said["rejected in words"] = self.mgsurf("status", troubled)
        cluster.campaign(TROUBLE, resources=STRICT % ("debug", "1min"), **trouble)
        said["retry rejected"] = self.mgsurf("retry", troubled, "--failed")
        if server is not None:
            with server.down():
                said["down"] = cluster.refused("status", "--project", PROJECT, code=4)
        cluster.wait_for_the_end(FAILING)
        said["failing"] = cluster.state(failing)
        said["pull failing"] = self.mgsurf("pull", failing, "--store", "failing.sqlite")
        said["failed surface"] = self.surface("failing.sqlite")
        said["retry failing"] = self.mgsurf("retry", failing, "--failed")
        cluster.wait(
            lambda: cluster.job(TROUBLE, relax).get("state") == "FAILED", 400, "Slurm ends the job in time"
        )
        said["killed"] = cluster.state(troubled)
        cluster.campaign(TROUBLE, resources=STRICT % ("debug", "1h"), **trouble)
        said["retry killed"] = self.mgsurf("retry", troubled, "--failed")
        for name in (FAILING, TROUBLE):
            cluster.wait_for_the_end(name)
        said["pull mended"] = self.mgsurf("pull", failing, "--store", "failing.sqlite")
        said["mended surface"] = self.surface("failing.sqlite")
        said["relaxed"] = self.output_of(TROUBLE, relax)
        said["pull", TROUBLE] = self.mgsurf("pull", troubled)

    def mgsurf(self, *arguments: object) -> str:
        done = self.cluster.mgsurf(*arguments, "--project", PROJECT)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def output_of(self, campaign: str, name: str) -> dict[str, Any]:
        with pymongo.MongoClient(self.cluster.mongodb) as client:
            outputs = client[self.cluster.database]["jf_outputs"]
            found = outputs.find_one({"uuid": self.cluster.job(campaign, name)["uuid"]})
        return dict(found["output"]["output"])

    def surface(self, store: str) -> dict[str, Any]:
        (found,) = json.loads(self.cluster.mgsurf("query", "--store", store, "--json").stdout)
        return dict(found)

    def runs_unwanted(self) -> bool:
        job = self.cluster.job(UNWANTED, "Mg relax bulk")
        other = self.cluster.job(UNWANTED, "Mg reference")
        return "RUNNING" in (job.get("state"), other.get("state"))

    def squeue(self) -> set[str]:
        done = subprocess.run(
            ["squeue", "-h", "-o", "%i"],
            env=self.cluster.environment,
            text=True,
            capture_output=True,
            check=True,
            timeout=30,
        )
        return set(done.stdout.split())


@contextmanager
def on_cluster(folder: Path, slurm: dict[str, str]) -> Iterator[tuple[Story, MongoServer | None]]:
    """A story on a project of its own, and its MongoDB if that is ours."""
    real = os.environ.get("MGSURF_TEST_MONGODB_URI")
    with MongoServer() as server:
        cluster = Cluster(folder, real.rstrip("/") + "/" if real else server.uri, slurm)
        cluster.make_project("--light-worker")
        try:
            yield Story(cluster), None if real else server
        finally:
            cluster.stop_runner()


@pytest.fixture(scope="module")
def story(tmp_path_factory, slurm):
    with on_cluster(tmp_path_factory.mktemp("queue"), slurm) as (story, _):
        story.tell()
        yield story


@pytest.fixture(scope="module")
def troubles(tmp_path_factory, slurm):
    with on_cluster(tmp_path_factory.mktemp("troubles"), slurm) as (story, server):
        story.tell_troubles(server)
        yield story


def test_a_campaign_goes_through_the_queue(story):
    assert "submitted Mg (A3), MgAg (B2) to project cluster, worker queue" in story.said["submit", VASP]
    assert story.said["end"]["counts"]["failed"] == 0
    assert story.said["end"]["calculations"] == []
    assert f"{N_SURFACES} surfaces" in story.said["pull", VASP]


def test_queue_and_run_give_identical_records(story):
    cluster = story.cluster
    done = cluster.mgsurf("run", f"{VASP}.yaml", "--store", "here.sqlite")
    assert done.returncode == 0, done.stderr + done.stdout
    here = cluster.records(f"sqlite:///{cluster.folder}/here.sqlite")
    queued = cluster.records(f"sqlite:///{cluster.folder}/results.sqlite")
    assert queued.keys() == here.keys()
    for key, record in here.items():
        assert queued[key] == record, key
    assert sum(key.startswith("surfaces") for key in here) == N_SURFACES


def test_submitting_and_pulling_again_does_nothing(story):
    jobs = len(story.cluster.jobs())
    again = story.mgsurf("submit", story.cluster.folder / f"{VASP}.yaml")
    assert "MgAg (B2): submitted before, completed" in again
    assert "all 2 compounds of with-vasp are in project cluster already; nothing was submitted" in again
    assert len(story.cluster.jobs()) == jobs
    again = story.mgsurf("pull", story.cluster.folder / f"{VASP}.yaml")
    assert again.startswith("nothing new or changed")


def test_big_slabs_ask_for_more(story):
    requested = {
        job["job"]["name"]: (job["resources"].get("ntasks_per_node"), job["resources"].get("time"))
        for job in story.cluster.jobs(VASP)
    }
    assert requested["MgAg (110) MgAg relax"] == (2, "2:00:00")  # 12 atoms
    assert requested["Mg (0001) Mg relax"] == (1, "1:00:00")
    assert requested["MgAg relax bulk"] == (1, "1:00:00")
    assert requested["MgAg (110) MgAg record"] == (1, "0:30:00")


def test_cancel(story):
    assert story.said["running"]["counts"]["running"] >= 1
    assert "jobs cancelled:" in story.said["cancel"]
    cancelled = story.said["cancelled"]["counts"]
    assert cancelled["cancelled"] == 3
    assert sum(cancelled.values()) == 3
    assert story.said["in the queue"]  # and scancel was called


@pytest.mark.slow
def test_light_jobs_run_beside_the_queue(troubles):
    workers = Counter(job["worker"] for job in troubles.cluster.jobs(TROUBLE))
    assert set(workers) == {"queue", "front"}
    assert troubles.cluster.job(TROUBLE, "Mg (0001) Mg relax")["worker"] == "queue"


@pytest.mark.slow
def test_a_rejected_job_says_why_and_can_be_mended(troubles):
    ((name, reason),) = troubles.said["rejected"]["troubled"]
    assert name == "Mg (0001) Mg relax"
    assert "the queue rejects it: " in reason and "nowhere" in reason
    assert "tried again" in troubles.said["rejected in words"]
    assert "ask for what" in troubles.said["retry rejected"]
    assert "1 job will run again:\n  Mg (0001) Mg relax" in troubles.said["retry rejected"]


@pytest.mark.slow
def test_a_job_at_its_walltime_goes_on_where_it_stopped(troubles):
    ((name, reason),) = troubles.said["killed"]["failed"]
    assert name == "Mg (0001) Mg relax"
    assert reason.startswith("stopped at its walltime")
    assert "1 job will run again" in troubles.said["retry killed"]
    log = troubles.cluster.log.read_text().splitlines()
    folder = Path(troubles.said["relaxed"]["directory"]).name
    assert [line for line in log if line.startswith(folder)] == [
        f"{folder} goes on with {RELAX}", f"{folder} {RELAX}"
    ]  # fmt: skip
    runs = Counter(log)
    assert set(runs.values()) == {1}, "a finished calculation was run again"
    assert "1 surface" in troubles.said["pull", TROUBLE]


@pytest.mark.slow
def test_a_failed_calculation_has_a_record_until_it_is_mended(troubles):
    ((label, reason),) = troubles.said["failing"]["calculations"]
    assert label == "Mg (0001) Mg: relax"
    assert "a node's memory was bad" in reason
    assert troubles.said["failing"]["counts"]["failed"] == 0  # the job itself did what it could
    assert "1 surface" in troubles.said["pull failing"]
    assert troubles.said["failed surface"]["verdicts"]["surface_energy"]["status"] == "failed"
    assert "will run again:\n  Mg (0001) Mg relax" in troubles.said["retry failing"]
    assert "1 surface" in troubles.said["pull mended"]
    mended = troubles.said["mended surface"]
    assert mended["verdicts"]["surface_energy"]["status"] == "accepted"
    assert mended["id"] == troubles.said["failed surface"]["id"]


@pytest.mark.slow
def test_mongodb_down_in_the_middle(troubles):
    if "down" not in troubles.said:
        pytest.skip("a real MongoDB is not ours to stop")
    assert "MongoDB of project cluster does not answer" in troubles.said["down"]
    assert "nothing is lost" in troubles.said["down"]
