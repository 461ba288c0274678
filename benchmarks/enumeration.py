"""Time `mgsurf enumerate` on structures from the reference OPTIMADE server on 127.0.0.1.

Three providers hold crystals with Mg and one other element: decorated structure types and low-symmetry
distortions of them, many of them in all three, each time in another setting. The command runs twice in
processes of its own; printed are wall time, CPU time and peak memory of all of them (the server is not
counted).

    python -m benchmarks.enumeration [--number 1000]        # --number 10000 is the whole thing
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from workflows.structures.prototypes import PROTOTYPES
from workflows.structures.sources.local import PrototypeSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymatgen.core import Structure

ROOT = Path(__file__).resolve().parents[1]
PARTNERS = re.findall(
    r"\w+",
    "Li Na K Rb Cs Be Ca Sr Ba Sc Y La Lu Ti Zr Hf V Nb Ta Cr Mo W Mn Re Fe Ru Os Co Rh Ir Ni Pd Pt Cu Ag Au "
    "Zn Cd Hg Al Ga In Tl Si Ge Sn Pb As Sb Bi",
)
PROVIDERS = ("mp", "oqmd", "alexandria")
CAMPAIGN = """\
name: benchmark
sources:
  - optimade: [{urls}]
filters:
  max_atoms: 30
"""


def crystals(chance: random.Random) -> Iterator[Structure]:
    """Yield decorated structure types, then strained and displaced ones, without end."""
    bases = []
    for partner in PARTNERS:
        for candidate in PrototypeSource(
            partners=[partner], prototypes=[k.name for k in PROTOTYPES]
        ).candidates():
            if len(candidate.structure) <= 30:
                bases.append(candidate.structure)
                yield candidate.structure
    while True:
        base = chance.choice(bases).copy()
        strain = np.eye(3) + np.diag([chance.uniform(-0.15, 0.15) for _ in range(3)])
        if chance.random() < 0.5:
            strain[0, 1] = chance.uniform(0.05, 0.2)
        base.lattice = base.lattice.__class__(base.lattice.matrix @ strain)
        if chance.random() < 0.3:
            base.perturb(0.15)
        yield base


def in_another_setting(structure: Structure, chance: random.Random) -> Structure:
    """Return the crystal strained a little, with another origin, sometimes as a supercell."""
    other = structure.copy()
    if len(other) <= 8 and chance.random() < 0.5:
        other.make_supercell([2, 1, 1])
    other.scale_lattice(other.volume * chance.uniform(0.97, 1.05))
    other.translate_sites(list(range(len(other))), [chance.random() for _ in range(3)])
    return other


def databases(number: int, entry: Any) -> dict[str, list[dict[str, Any]]]:
    """Return so many entries, spread over the providers; every second crystal is known to all three."""
    chance = random.Random(1)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in PROVIDERS}
    total = 0
    for serial, structure in enumerate(crystals(chance)):
        for provider in PROVIDERS if serial % 2 == 0 else (PROVIDERS[serial % 3],):
            if total == number:
                return found
            total += 1
            found[provider].append(entry(in_another_setting(structure, chance), f"{provider}-{serial}"))
    return found


def run(arguments: list[str], folder: Path) -> tuple[float, float, float, str]:
    """Run the command; return wall and CPU time (s), peak memory (MB) of all its processes, its output."""
    begin = time.monotonic()
    with (folder / "out").open("w+") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "workflows.cli.app", *arguments],
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "MGSURF_CACHE": str(folder / "cache"),
                 "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )  # fmt: skip
        cpu: dict[int, float] = {}
        peak = 0.0
        while process.poll() is None:
            memory = 0.0
            for pid, seconds, megabytes in _session(process.pid):
                cpu[pid] = seconds
                memory += megabytes
            peak = max(peak, memory)
            time.sleep(0.1)
        out.seek(0)
        return time.monotonic() - begin, sum(cpu.values()), peak, out.read()


def _session(number: int) -> Iterator[tuple[int, float, float]]:
    """Yield process id, CPU seconds and resident memory (MB) of every process of a session."""
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == number:
            yield int(path.name), (int(fields[11]) + int(fields[12])) / tick, int(fields[21]) * page / 1e6


def server_module() -> Any:
    """Load the tests' server from its file: another package called tests may be installed."""
    spec = importlib.util.spec_from_file_location("server", ROOT / "tests/sources/optimade_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=1000, help="structures on the server")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.number < 3:
        raise InputError("--number: give at least 3 structures")
    server = server_module()
    entries = databases(options.number, server.entry)
    with (
        tempfile.TemporaryDirectory(prefix="mgsurf-enumeration-") as name,
        server.optimade_server(entries, page_limit=500, validate=False) as urls,
    ):
        folder = Path(name)
        (folder / "mg.yaml").write_text(CAMPAIGN.format(urls=", ".join(urls.values())))
        command = ["enumerate", "mg.yaml", "--workers", str(options.workers)]
        for label in ("first call", "from the cache"):
            wall, cpu, peak, out = run(command, folder)
            line = next((x for x in out.splitlines() if x.startswith("benchmark:")), out[-2000:])
            print(f"{label:15} {wall:7.1f} s wall {cpu:7.1f} s CPU {peak:7.0f} MB   {line}", flush=True)
        size = (folder / "mg.lock.json").stat().st_size / 1e6
        print(f"lock file {size:.1f} MB")


if __name__ == "__main__":
    main()
