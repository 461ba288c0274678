"""examples/hpc holds what mgsurf init-hpc writes today, and a campaign that fits to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workflows.execution.remote.project import ProjectAnswers, write_project
from workflows.execution.remote.requests import queue_plan
from workflows.flows.campaign.file import load_campaign
from workflows.flows.campaign.resources import JobResources

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "hpc"


def answers(scheduler: str) -> ProjectAnswers:
    return ProjectAnswers(
        name="cluster",
        scheduler=scheduler,
        work_dir="/scratch/me/mgsurf",
        mongodb="mongodb://127.0.0.1:27017/cluster",
        resources=JobResources.model_validate(
            {"partition": "standard", "account": "matsci", "tasks_per_node": 32, "walltime": "12h"}
        ),
        user="me",
        prepare=["source ~/mgsurf/.venv/bin/activate", "export OMP_NUM_THREADS=1"],
        light=True,
    )


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "sge"])
def test_files_are_what_init_hpc_writes(scheduler: str, tmp_path: Path) -> None:
    for written, kept in zip(
        write_project(answers(scheduler), tmp_path),
        (f"project_{scheduler}.yaml", f"job_{scheduler}.sh"),
        strict=True,
    ):
        assert written.read_text() == (EXAMPLES / kept).read_text(), f"write {kept} again"


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "sge"])
def test_the_campaign_fits_every_scheduler(scheduler: str) -> None:
    from jobflow_remote.config.base import Project
    from ruamel.yaml import YAML

    text = (EXAMPLES / f"project_{scheduler}.yaml").read_text()
    project = Project.model_validate(YAML(typ="safe").load(text))
    settings = load_campaign(EXAMPLES / "campaign.yaml")
    assert settings.resources is not None
    plan = queue_plan(settings.resources, project.workers, "queue")
    assert plan["light"]["worker"] == "front"
    assert [most for most, _ in plan["slabs"]] == [30, 80, None]
