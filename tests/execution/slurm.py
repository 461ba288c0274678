"""A real Slurm of one node for tests: munged, slurmctld and slurmd in a temporary folder, no systemd.

As root on Debian or Ubuntu it installs slurm-wlm and munge where they are missing. Nothing outside the folder
is written, nothing listens to other machines, and the processes are ended one by one at the end.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
PACKAGES = ("slurm-wlm", "munge")
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

CONFIGURATION = """\
ClusterName=mgsurftests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={controller}
SlurmdPort={node}
SlurmdParameters=config_overrides
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MinJobAge=300
KillWait=2
OverTimeLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def missing() -> list[str]:
    """Programs of Slurm that are not there."""
    return [program for program in PROGRAMS if shutil.which(program, path=_PATH) is None]


def install() -> None:
    """Install Slurm with apt, or skip the test where that is impossible."""
    if not missing():
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"no Slurm here ({', '.join(missing())} missing), and only root with apt can install it")
    with (Path(tempfile.gettempdir()) / "mgsurf-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist runs several of us
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
        done = None
        for prepare in (None, ["apt-get", "update", "-qq"]):
            if not missing():
                return
            if prepare:
                subprocess.run(prepare, env=environment, capture_output=True, check=False, timeout=300)
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=600
            )
        if missing():
            pytest.skip(f"apt-get cannot install Slurm: {done.stderr.strip()[-300:] if done else ''}")


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def _process(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    name = Path(command[0]).name
    with (folder / f"{name}.out").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(ready: object, what: str, folder: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():  # type: ignore[operator]
            return
        time.sleep(0.2)
    logs = "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in folder.glob("*.[lo]*"))
    raise AssertionError(f"{what} did not come up in {seconds:g} s\n{logs}")


@contextmanager
def running_slurm() -> Iterator[dict[str, str]]:
    """Start Slurm and yield the environment in which its commands find it; skip where it cannot run.

    With MGSURF_TEST_SLURM set, the Slurm that is already there is used as it is.
    """
    if os.environ.get("MGSURF_TEST_SLURM"):
        yield {}
        return
    install()
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons need root; MGSURF_TEST_SLURM=1 uses a Slurm that runs already")
    host = socket.gethostname().split(".")[0]
    with ExitStack() as stack:
        # short, for a socket's path has 108 characters at most
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm", dir="/tmp")))
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        configuration = folder / "slurm.conf"
        configuration.write_text(
            CONFIGURATION.format(host=host, folder=folder, controller=_free_port(), node=_free_port())
        )
        environment = {**os.environ, "PATH": _PATH, "SLURM_CONF": str(configuration)}

        def program(name: str) -> str:
            return str(shutil.which(name, path=_PATH))

        def answers() -> bool:
            command = [program("sinfo"), "-h", "-o", "%t"]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=30, check=False
            )
            return done.stdout.strip() in ("idle", "mix", "alloc")

        munge = ["--foreground", "--force", "--num-threads=2", f"--key-file={key}"]
        munge += [f"--{what}={folder}/munge.{end}" for what, end in _MUNGE_FILES]
        stack.enter_context(_process([program("munged"), *munge], folder, environment))
        _wait_for((folder / "munge.socket").exists, "munged", folder)
        for command in (
            [program("slurmctld"), "-D", "-i", "-f", str(configuration)],
            [program("slurmd"), "-D", "-f", str(configuration), "-N", host],
        ):
            stack.enter_context(_process(command, folder, environment))
        _wait_for(answers, "Slurm's node", folder, 60)
        yield {"PATH": _PATH, "SLURM_CONF": str(configuration)}
        subprocess.run([program("scancel"), "-u", "root"], env=environment, timeout=30, check=False)


_MUNGE_FILES = (("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"))
