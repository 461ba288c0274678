"""Kill -9 at random instants of a campaign, and compare its end with that of an undisturbed one.

    python -m tests.reliability.campaign --kills 50

The campaign computes Mg (0001), with --mgag also MgAg (100), with the engine vasp; VASP is the stand-in of
`tests.stand_in_vasp`, a real child process of mgsurf. A folder of labelled slabs is imported into the same
store, after the run or before it in turn. Every second kill takes the child too; the others leave it running,
as a batch system or the out-of-memory killer would. A killed campaign is started and killed again until
it ends. Its records must then be those of the undisturbed campaign: the same ids, as many of each kind, equal
values.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stores.connections import open_store
from tests.stand_in_vasp.potcars import write_potcars
from tests.stand_in_vasp.running import COMMAND

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGN = """\
name: kills
compounds:
  - formula: Mg
    facets: ["(0001)"]
{more}slabs: {{min_thickness: 5.0}}
engine:
  name: vasp
  preset: demo
  options: {{k_density: 2.5, bulk_k_density: 3, polling_time: 0.1, monitor_time: 0.5, hang_timeout: 60}}
store: sqlite:///results.sqlite
work_dir: runs
"""
MGAG = """\
  - formula: MgAg
    prototype: B2
    facets: ["(100)"]
"""
TOLERANCE = 1e-6
"""Between values of two ends (eV, eV/A^2): a relaxation that resumed took other steps to the same place."""

VALUES = {
    "calculations": ("kind", "label", "formula", "method_fingerprint", "output.status", "output.energy",
                     "output.fermi_energy", "output.kpoints", "output.total_magnetization"),
    "bulks": ("formula", "method_fingerprint", "energy_per_atom", "formation_energy", "spacegroup_number"),
    "references": ("element", "method_fingerprint", "energy_per_atom"),
    "surfaces": ("formula", "miller_index", "termination_label", "n_atoms", "method_fingerprint", "energy",
                 "surface_energy", "surface_energy_x_rich", "work_function", "work_function_sides",
                 "verdicts", "campaign"),
    "labels": ("formula", "source", "source_id", "targets"),
}  # fmt: skip
"""What must be equal; times, folders and numbers of steps differ between runs."""


def write_campaign(folder: Path, more: str = "") -> None:
    """Write the campaign and a folder of labelled slabs."""
    from pymatgen.core import Lattice, Structure
    from pymatgen.io.cif import CifWriter

    (folder / "campaign.yaml").write_text(CAMPAIGN.format(more=more))
    labelled = folder / "labelled"
    labelled.mkdir()
    for number in range(30):
        height = 1.65 * 6 + 15 + 0.1 * number
        species = ["Mg" if layer % 2 == 0 else "Ag" for layer in range(7)]
        coords = [[0.5 * (i % 2), 0.5 * (i % 2), (1.65 * i + 5) / height] for i in range(7)]
        slab = Structure(Lattice.tetragonal(3.3 + 0.01 * number, height), species, coords)
        (labelled / f"{number}.cif").write_text(str(CifWriter(slab)))
    lines = [f"{number},{0.04 + 0.001 * number:.3f},{3.5 + 0.01 * number:.2f}\n" for number in range(30)]
    (labelled / "id_prop.csv").write_text("".join(lines))


COMMANDS = (
    ("run", "campaign.yaml", "--quiet"),
    ("import", "labelled", "--targets", "surface_energy,work_function", "--store", "results.sqlite"),
)


def state(store_file: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what must be equal: values by id by collection."""
    with open_store(str(store_file), must_exist=True) as store:
        return {
            name: {
                document["id"]: {field: _at(document, field) for field in fields}
                for document in store.query({}, collection=name)
            }
            for name, fields in VALUES.items()
        }


def _at(document: Any, field: str) -> Any:
    for part in field.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def differences(expected: Any, found: Any, place: str = "") -> list[str]:
    """Return the places where two states differ by more than `TOLERANCE`."""
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = [f"{place}.{key}: lost" for key in expected.keys() - found.keys()]
        lines += [f"{place}.{key}: too much" for key in found.keys() - expected.keys()]
        for key in sorted(expected.keys() & found.keys()):
            lines += differences(expected[key], found[key], f"{place}.{key}")
        return lines
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for n, (one, other) in pairs for line in differences(one, other, f"{place}[{n}]")]
    if isinstance(expected, float) and isinstance(found, float):
        same = math.isclose(expected, found, rel_tol=0, abs_tol=TOLERANCE)
    else:
        same = expected == found
    return [] if same else [f"{place}: {expected!r} became {found!r}"]


def descendants(number: int) -> list[int]:
    """Return the processes below a process, from /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(status[1]), []).append(int(entry.name))
    found, waiting = [], [number]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def attempt(
    folder: Path,
    environment: dict[str, str],
    instant: float,
    with_children: bool,
    commands: Sequence[Sequence[str]] = COMMANDS,
) -> str | None:
    """Run the commands; return the name of that which was killed, None if all ended by themselves.

    Parameters
    ----------
    folder
        Of the campaign.
    environment
        Of its processes.
    instant
        When to kill (s from now).
    with_children
        Kill child processes too.
    commands
        One after the other.
    """
    end = time.monotonic() + instant
    for command in commands:
        with (folder / f"{command[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "workflows.cli.app", *command],
                cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            try:
                code = process.wait(max(end - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                for number in [process.pid, *(descendants(process.pid) if with_children else [])]:
                    with suppress(ProcessLookupError):
                        os.kill(number, signal.SIGKILL)
                process.wait()
                return command[0]
        if code != 0:
            reported = (folder / f"{command[0]}.log").read_text()[-2000:]
            raise SystemExit(f"{command[0]} ended with {code}: {reported}")
    return None


def environment_of(folder: Path) -> dict[str, str]:
    """Return the environment of the campaign's processes, with the stand-in VASP and its POTCARs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MGSURF_")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PMG_VASP_PSP_DIR": str(write_potcars(folder / "potcars", ["Mg", "Ag"])),
        "MGSURF_VASP_CMD": COMMAND,
        "MGSURF_CACHE": str(folder / "cache"),
    }


def measure(folder: Path, kills: int, seconds: float, seed: int, more: str = "") -> dict[str, Any]:
    """Kill and compare until there were so many kills, or the time is over.

    Returns
    -------
    dict
        Number of kills by command and by whether children were killed, of campaigns that ended, their
        differences, and the seconds of the undisturbed campaign.
    """
    began, chance = time.monotonic(), random.Random(seed)
    environment = environment_of(folder)
    undisturbed = folder / "undisturbed"
    undisturbed.mkdir()
    write_campaign(undisturbed, more)
    start = time.monotonic()
    if attempt(undisturbed, environment, 3600.0, with_children=True) is not None:
        raise SystemExit("the undisturbed campaign did not end within an hour")
    usual = time.monotonic() - start
    expected = state(undisturbed / "results.sqlite")
    done: Counter[str] = Counter()
    wrong: list[str] = []
    ended = number = 0
    while number < kills and time.monotonic() - began < seconds:
        own = folder / f"campaign-{ended}"
        own.mkdir()
        write_campaign(own, more)
        while True:
            last = number >= kills or time.monotonic() - began > seconds
            instant = 3600.0 if last else chance.uniform(0.0, usual)
            killed = attempt(own, environment, instant, number % 2 == 0, COMMANDS[:: -1 if ended % 2 else 1])
            if killed is None:
                break
            done[f"{killed}, {'child killed too' if number % 2 == 0 else 'child left alive'}"] += 1
            number += 1
            print(f"kill {number} after {instant:.1f} s, in {killed}", file=sys.stderr)
        ended += 1
        found = differences(expected, state(own / "results.sqlite"))
        wrong += [f"campaign {ended}: {line}" for line in found]
    return {
        "kills": number,
        "of": dict(done),
        "campaigns": ended,
        "records": {name: len(found) for name, found in expected.items()},
        "differences": wrong,
        "seconds_undisturbed": round(usual, 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Measure and print; exit status 1 if an end differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--mgag", action="store_true")
    arguments = parser.parse_args()
    print(shlex.join(["python", "-m", "tests.reliability.campaign", *sys.argv[1:]]))
    with tempfile.TemporaryDirectory(prefix="mgsurf-kills-") as folder:
        more = MGAG if arguments.mgag else ""
        found = measure(Path(folder), arguments.kills, 60 * arguments.minutes, arguments.seed, more)
    print(json.dumps(found, indent=1))
    sys.exit(1 if found["differences"] or not found["kills"] else 0)


if __name__ == "__main__":
    main()
