"""What our layer costs per VASP job: wall time and memory beyond VASP itself.

    python -m benchmarks.vasp_overhead [--jobs N]

Every job is a process of its own, as on a queue: interpreter, imports, input files, custodian, parsing,
compression; "next job" is the second in one process, as in `mgsurf run`. VASP is the tests' stand-in on an
MgAg (110) slab; its own wall time is measured apart and subtracted.
"""

from __future__ import annotations

import argparse
import gzip
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

JOB = """
import resource, sys, time
from pathlib import Path
from tests.engines.vasp_engine import MESH, STAND_IN, mgag_slab
from workflows.engines.vasp.engine import VaspEngine
slab, free = mgag_slab()
engine = VaspEngine(vasp_command=STAND_IN)
for number in range(int(sys.argv[3])):
    folder = Path(sys.argv[1]) / str(number)
    folder.mkdir()
    began = time.monotonic()
    if sys.argv[2] == "relax":
        output = engine.relax_slab(slab, free, MESH, folder)
    else:
        output = engine.static_slab(slab, MESH, folder)
    assert output.status == "ok", output.reason
print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, float, str]:
    """Run a command; return wall time (s), CPU time of it and its children (s), and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall = time.monotonic() - began
    if answer.returncode:
        raise SystemExit(answer.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, answer.stdout


def measure(
    kind: str, place: Path, environment: dict[str, str], stand_in: str
) -> tuple[float, float, float, float, float]:
    """Measure one job: VASP's wall time, ours, our CPU, ours in a job that follows (s), peak memory (MB)."""
    (place / "one").mkdir(parents=True)
    (place / "two").mkdir()
    (place / "alone").mkdir()
    job = [sys.executable, "-c", JOB]
    wall, cpu, said = timed([*job, str(place / "one"), kind, "1"], ROOT, environment)
    _, _, said_by_two = timed([*job, str(place / "two"), kind, "2"], ROOT, environment)
    for name in ("INCAR", "KPOINTS", "POSCAR", "POTCAR"):
        packed = (place / "one" / "0" / f"{name}.gz").read_bytes()
        (place / "alone" / name).write_bytes(gzip.decompress(packed))
    vasp, vasp_cpu, _ = timed([sys.executable, stand_in], place / "alone", environment)
    return vasp, wall - vasp, cpu - vasp_cpu, float(said_by_two.split()[0]) - vasp, float(said.split()[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=3, help="jobs of each kind; the quickest counts")
    given = parser.parse_args()
    from tests.stand_in_vasp.potcars import write_potcars

    stand_in = str(ROOT / "tests" / "stand_in_vasp" / "vasp_std")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        environment = {
            **os.environ,
            "PMG_VASP_PSP_DIR": str(write_potcars(place / "potcars")),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        print(f"{'job':8}{'VASP':>8}{'ours':>8}{'CPU, ours':>11}{'next job, ours':>16}{'peak memory':>13}")
        for kind in ("relax", "static"):
            found = [measure(kind, place / f"{kind}_{n}", environment, stand_in) for n in range(given.jobs)]
            vasp, ours, cpu, following, memory = (min(values) for values in zip(*found, strict=True))
            print(f"{kind:8}{vasp:7.2f}s{ours:7.2f}s{cpu:10.2f}s{following:15.2f}s{memory:10.0f} MB")
    print(
        "limits: 3 s, 300 MB. The job's process builds the slab too; what a busy machine adds counts as ours"
    )


if __name__ == "__main__":
    main()
