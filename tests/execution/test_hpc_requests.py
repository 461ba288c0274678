from __future__ import annotations

import pytest
from qtoolkit.io import scheduler_mapping

from stores.errors import InputError
from workflows.execution.remote.requests import JOB_END_TIME, header_keys, queue_plan
from workflows.flows.campaign.resources import JobResources, Resources
from workflows.flows.surface import JobSize, request_for

WANTED = JobResources.model_validate(
    {
        "nodes": 2, "tasks_per_node": 16, "cpus_per_task": 2, "walltime": "1-12:00:00", "partition": "long",
        "account": "matsci",
    }
)  # fmt: skip


class Worker:
    def __init__(self, scheduler):
        self.scheduler_type = scheduler

    def get_scheduler_io(self):
        return scheduler_mapping[self.scheduler_type]()


def script(scheduler, wanted=WANTED):
    return scheduler_mapping[scheduler]().get_submission_script("run", header_keys(scheduler, wanted))


@pytest.mark.parametrize(
    ("scheduler", "lines"),
    [
        ("slurm", [
            "#SBATCH --partition=long", "#SBATCH --account=matsci", "#SBATCH --nodes=2",
            "#SBATCH --ntasks-per-node=16", "#SBATCH --cpus-per-task=2", "#SBATCH --time=36:00:00",
        ]),
        ("pbs", [
            "#PBS -q long", "#PBS -A matsci", "#PBS -l select=2:ncpus=32:mpiprocs=16:ompthreads=2",
            "#PBS -l walltime=36:00:00", "#PBS -l place=scatter",
        ]),
        ("sge", ["#$ -q long", "#$ -P matsci", "#$ -pe mpi 64", "#$ -l h_rt=36:00:00"]),
    ],
)  # fmt: skip
def test_the_same_request_in_the_words_of_each_scheduler(scheduler, lines):
    header = [line for line in script(scheduler).splitlines() if line.startswith(("#S", "#P", "#$"))]
    assert sorted(header) == sorted(lines)


def test_memory_and_options():
    wanted = JobResources.model_validate({"memory_per_cpu": 2000, "options": {"constraint": "milan"}})
    assert "#SBATCH --mem-per-cpu=2000M" in script("slurm", wanted)
    assert "#SBATCH --constraint=milan" in script("slurm", wanted)
    wanted = JobResources.model_validate({"memory_per_cpu": 2000, "tasks_per_node": 4})
    assert "#PBS -l select=1:ncpus=4:mpiprocs=4:mem=8000mb" in script("pbs", wanted)
    assert "#$ -l mem_free=2000M" in script("sge", wanted)


def test_a_shell_asks_for_nothing():
    assert header_keys("shell", WANTED) == {}


def test_what_a_scheduler_cannot_do_is_refused_before_the_first_job():
    with pytest.raises(InputError, match=r"qos is for Slurm; PBS has none, remove it"):
        header_keys("pbs", JobResources.model_validate({"qos": "high"}))
    with pytest.raises(InputError, match="only for slurm, pbs, sge, shell"):
        header_keys("lsf", WANTED)
    workers = {"a": Worker("slurm"), "b": Worker("shell")}
    with pytest.raises(InputError, match=r"resources.slabs\[2\]: slurm cannot do that: .*constrain"):
        queue_plan(
            Resources.model_validate(
                {"slabs": [{"up_to_atoms": 9}, {"options": {"constrain": "x"}}]}
            ),
            workers, "a",
        )  # fmt: skip
    with pytest.raises(InputError, match=r"resources.bulk: no worker 'c' in the project; there are a, b"):
        queue_plan(Resources.model_validate({"bulk": {"worker": "c"}}), workers, "a")


def test_requests_by_size():
    resources = Resources.model_validate(
        {
            "walltime": "2h", "light": {"worker": "b"},
            "slabs": [{"up_to_atoms": 10, "nodes": 1}, {"up_to_atoms": 50, "nodes": 2}],
        }
    )  # fmt: skip
    plan = queue_plan(resources, {"a": Worker("slurm"), "b": Worker("shell")}, "a")
    nodes = [
        request_for(plan, JobSize.SLAB, atoms)["resources"]["nodes"] for atoms in (1, 10, 11, 50, 51, 900)
    ]
    assert nodes == [1, 1, 2, 2, 2, 2]
    assert request_for(plan, JobSize.BULK)["worker"] == "a"
    assert (
        request_for(plan, JobSize.BULK)["exec_config"]["export"][JOB_END_TIME] == "$(( $(date +%s) + 7200 ))"
    )
    light = request_for(plan, JobSize.LIGHT)
    assert (light["worker"], light["resources"]) == ("b", {})


OWN = {"partition": "standard", "account": "matsci", "nodes": 1, "ntasks_per_node": 32, "time": "12:00:00"}


def plan_with(scheduler, own, section):
    worker = Worker(scheduler)
    worker.resources = own
    return queue_plan(Resources.model_validate(section), {"a": worker}, "a")


def test_what_a_campaign_does_not_say_is_taken_from_the_worker():
    plan = plan_with("slurm", OWN, {"slabs": [{"up_to_atoms": 30}, {"nodes": 2, "walltime": "1d"}]})
    one = {"cpus_per_task": 1}
    assert request_for(plan, JobSize.BULK)["resources"] == OWN | one
    assert request_for(plan, JobSize.SLAB, 99)["resources"] == OWN | one | {"nodes": 2, "time": "24:00:00"}
    light = request_for(plan, JobSize.LIGHT)["resources"]
    assert light == {**OWN, "ntasks_per_node": 1, "cpus_per_task": 1, "time": "0:30:00"}
    # the worker's walltime stops VASP in time too
    assert "43200" in request_for(plan, JobSize.BULK)["exec_config"]["export"][JOB_END_TIME]


def test_pbs_and_sge_take_the_whole_shape_of_a_job_or_none_of_it():
    shape = "select=1:ncpus=32:mpiprocs=32"
    own = {"queue": "long", "select": shape, "walltime": "12:00:00"}
    plan = plan_with("pbs", own, {"slabs": [{"up_to_atoms": 30}, {"nodes": 2, "tasks_per_node": 8}]})
    assert request_for(plan, JobSize.BULK)["resources"] == own
    big = request_for(plan, JobSize.SLAB, 99)["resources"]
    assert (big["queue"], big["select"]) == ("long", "select=2:ncpus=8:mpiprocs=8")
    own = {"queue": "long", "model": "mpi 32", "walltime": "12:00:00"}
    plan = plan_with("sge", own, {"walltime": "1h"})
    assert request_for(plan, JobSize.BULK)["resources"] == {**own, "walltime": "1:00:00"}
    assert "model" not in request_for(plan, JobSize.LIGHT)["resources"]  # one slot


def test_light_jobs_never_ask_for_more_time_than_the_others():
    plan = plan_with("slurm", None, {"partition": "debug", "walltime": "10min"})
    assert request_for(plan, JobSize.LIGHT)["resources"]["time"] == "0:10:00"


def test_cores_of_a_rank_are_used_by_its_threads():
    plan = plan_with("slurm", None, {"cpus_per_task": 4})
    export = request_for(plan, JobSize.BULK)["exec_config"]["export"]
    assert export == {"OMP_NUM_THREADS": "4", "SRUN_CPUS_PER_TASK": "4"}
    assert "exec_config" not in request_for(plan_with("slurm", None, {"nodes": 2}), JobSize.BULK)
