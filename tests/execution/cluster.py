"""A whole cluster on one machine: Slurm, MongoDB's protocol, a project of jobflow-remote and its runner."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.connections import open_store
from tests.engines.vasp_engine import STAND_IN
from tests.stand_in_vasp.potcars import write_potcars

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "cluster"

MG = '{formula: Mg, facets: ["(0001)"]}'
MGAG = "{formula: MgAg, prototype: B2}"
PAIR_ENGINE = "tests.engines.pair_engine:PairEngine"
STOPPING_ENGINE = "tests.engines.stopping_engine:StoppingEngine"
QUICK_VASP = {"polling_time": 0.05, "monitor_time": 0.3}

CAMPAIGN = """\
name: {name}
compounds: [{compounds}]
engine:
  name: {engine}
  options: {options}
resources: {resources}
store: results.sqlite
work_dir: runs
"""
RESOURCES = "{walltime: 10min, slabs: [{up_to_atoms: 10}, {tasks_per_node: 2}]}"


class Cluster:
    """Commands and processes of one project.

    Parameters
    ----------
    folder
        Everything is inside.
    mongodb
        URI of a server, ending in a slash.
    environment
        Where Slurm's commands find their Slurm; empty where there is none.
    """

    def __init__(self, folder: Path, mongodb: str, environment: dict[str, str]) -> None:
        self.folder = folder
        self.database = f"test_{uuid.uuid4().hex[:12]}"
        self.mongodb = mongodb + self.database
        self.work_dir = folder / "scratch"
        self.log = folder / "engine.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MGSURF_")}
        self.environment = {
            **kept,
            **environment,
            "HOME": str(folder),
            "COLUMNS": "200",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "JFREMOTE_PROJECTS_FOLDER": str(folder / "projects"),
            "PMG_VASP_PSP_DIR": str(write_potcars(folder / "potcars", ["Mg", "Ag"])),
            "MGSURF_VASP_CMD": STAND_IN,
        }
        self._runner: subprocess.Popen[str] | None = None

    def mgsurf(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command; whatever happens, no traceback is shown."""
        done = subprocess.run(
            [sys.executable, "-m", "workflows.cli.app", *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **options.pop("env", {})},
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
            **options,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr + done.stdout
        assert "Warning" not in done.stderr, done.stderr
        return done

    def refused(self, *arguments: object, code: int = 2, **options: Any) -> str:
        """Run a command that must fail with one line; return that line."""
        done = self.mgsurf(*arguments, **options)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        (line,) = done.stderr.strip().splitlines()
        return line

    def make_project(self, *more: object) -> subprocess.CompletedProcess[str]:
        """Write the project with mgsurf init-hpc."""
        binaries = Path(sys.executable).parent
        done = self.mgsurf(
            "init-hpc", PROJECT, "--scheduler", "slurm", "--work-dir", self.work_dir, "--poll", 1,
            "--mongodb", self.mongodb, "--partition", "debug", "--walltime", "10min",
            "--prepare", f'export PATH="{binaries}:$PATH" PYTHONPATH="{ROOT}" OMP_NUM_THREADS=1', *more,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    def campaign(
        self,
        name: str = "queue-test",
        compounds: tuple[str, ...] = (MG, MGAG),
        engine: str = PAIR_ENGINE,
        resources: str = RESOURCES,
        **options: Any,
    ) -> Path:
        """Write a campaign file; with both compounds it has 6 slabs."""
        if engine != "vasp":
            options.setdefault("log", str(self.log))
        path = self.folder / f"{name}.yaml"
        path.write_text(
            CAMPAIGN.format(
                name=name,
                compounds=", ".join(compounds),
                engine=engine,
                options=json.dumps(options),
                resources=resources,
            )
        )
        return path

    def start_runner(self) -> None:
        """Start jobflow-remote's runner as a process of its own."""
        with (self.folder / "runner.log").open("a") as output:
            self._runner = subprocess.Popen(
                [str(Path(sys.executable).parent / "jf"), "-p", PROJECT, "runner", "run"],
                env=self.environment,
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def stop_runner(self) -> None:
        """End the runner."""
        if self._runner is None:
            return
        self._runner.terminate()
        try:
            self._runner.wait(20)
        except subprocess.TimeoutExpired:
            self._runner.kill()
            self._runner.wait()
        self._runner = None

    def state(self, *arguments: object) -> dict[str, Any]:
        """What mgsurf status prints."""
        done = self.mgsurf("status", *arguments, "--project", PROJECT, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def jobs(self, campaign: str | None = None) -> list[dict[str, Any]]:
        """jobflow-remote's documents of the jobs of a campaign."""
        import pymongo

        wanted = {"job.metadata.mgsurf.campaign": campaign} if campaign else {}
        with pymongo.MongoClient(self.mongodb) as client:
            return list(client[self.database]["jf_jobs"].find(wanted))

    def job(self, campaign: str, name: str) -> dict[str, Any]:
        """The last of the jobs with a name; empty if there is none yet."""
        found = [job for job in self.jobs(campaign) if job["job"]["name"] == name]
        return max(found, key=lambda job: job["index"], default={})

    def wait(self, until: Callable[[], Any], seconds: float, what: str) -> None:
        """Wait until the jobs are as they should be."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if until():
                return
            time.sleep(1)
        lines = [
            f"{job['job']['name']}: {job['state']} {job.get('error') or ''}"
            for job in self.jobs()
            if job["state"] not in ("COMPLETED", "WAITING")
        ]
        log = (self.folder / "runner.log").read_text()[-1000:]
        raise AssertionError("\n".join([f"not in {seconds:g} s: {what}", *lines[:15], log]))

    def wait_for_the_end(self, campaign: str, seconds: float = 600) -> None:
        """Wait until every job of a campaign is completed."""

        def ended() -> bool:
            jobs = self.jobs(campaign)
            return bool(jobs) and all(job["state"] == "COMPLETED" for job in jobs)

        self.wait(ended, seconds, f"the end of {campaign}")

    def records(self, store: str) -> dict[str, dict[str, Any]]:
        """All records of a store by collection and id, without what may differ between two runs."""
        found = {}
        with open_store(store, must_exist=True) as opened:
            for collection in ("surfaces", "bulks", "references", "calculations"):
                for document in opened.query({}, collection=collection):
                    document.pop("created_at")
                    for name in ("wall_time", "directory", "host"):
                        document.get("output", {}).pop(name, None)
                    found[f"{collection} {document['id']}"] = document
        return found


class LocalProject(Cluster):
    """A project whose commands run in this process, each without a new Python: no Slurm, no runner.

    `enter` sets the environment and the working folder.
    """

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import jobflow_remote

        monkeypatch.chdir(self.folder)
        for name in os.environ.keys() - self.environment.keys():
            monkeypatch.delenv(name)
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        folder = self.environment["JFREMOTE_PROJECTS_FOLDER"]
        monkeypatch.setattr(jobflow_remote.SETTINGS, "projects_folder", folder)

    def mgsurf(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        from workflows.cli.app import app, report

        if options:
            return super().mgsurf(*arguments, **options)
        shown, errors = io.StringIO(), io.StringIO()
        words = [*map(str, arguments)]
        warnings = logging.StreamHandler(errors)
        warnings.setLevel(logging.WARNING)
        loggers = [logging.getLogger(package) for package in ("stores", "model", "workflows")]
        for logger in loggers:
            logger.addHandler(warnings)
        try:
            with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(errors):
                try:
                    code = app(args=words, prog_name="mgsurf", standalone_mode=False) or 0
                except Exception as error:  # noqa: BLE001 - as the command does
                    code = report(error)
        finally:
            for logger in loggers:
                logger.removeHandler(warnings)
        assert "Traceback" not in errors.getvalue() + shown.getvalue(), errors.getvalue()
        return subprocess.CompletedProcess(words, code, shown.getvalue(), errors.getvalue())
