"""Time and memory of `mgsurf serve` over a store of 100,000 surfaces: processor time of the server by page.

    python -m benchmarks.web                    # two minutes, most of it to fill the store
    python -m benchmarks.web --store FILE       # over a store of one's own, or one that was kept (--keep)
    python -m benchmarks.web --smoke            # seconds, numbers mean nothing

Every page is requested several times after a first time; shown are
the median of the wall time and the mean of the processor time. The processor time is that of
the server's process, all threads together, and does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.stores import PARTNERS, surface
from stores.connections import open_store

PER_CRYSTAL = 20
OPTIMADE = (
    *("", "page_limit=500", "page_above=00000000000000000000c000", "page_offset=10000"),
    *("sort=-_mgsurf_work_function", "sort=-_mgsurf_area"),
    *('filter=elements HAS "Ag" AND nelements=2', "filter=_mgsurf_work_function>4.9"),
    *("filter=_mgsurf_area>1000", "filter=nsites=5", "filter=_mgsurf_energy>1000"),
    'filter=elements HAS "Ag" AND _mgsurf_energy>1000',
)
"""Queries for structures; of the last three only the last has a part that indexes answer."""


def record(number: int, draw: random.Random) -> dict[str, Any]:
    """Make a surface with all that its page shows: 20 facets of each crystal, 5 atoms in a slab."""
    made = surface(number, draw, atoms=5)
    crystal = random.Random(number // PER_CRYSTAL)
    partner = crystal.choice(PARTNERS)
    slope = draw.uniform(-0.05, 0.05)
    slab = {
        "lattice": {"matrix": [[3.3, 0, 0], [0, 3.3, 0], [0, 0, 21.6]]},
        "sites": [
            {"species": [{"element": e, "occu": 1}], "abc": [0.5 * (i % 2), 0.5 * (i % 2), 0.35 + 0.075 * i]}
            for i, e in enumerate(("Mg", partner, "Mg", partner, "Mg"))
        ],
    }
    height = [0.2 * i for i in range(108)]
    return made | {
        "formula": f"Mg{crystal.choice(['', '2', '3'])}{partner}",
        "chemsys": "-".join(sorted(["Mg", partner])),
        "termination_label": draw.choice(["Mg", partner]), "termination_key": "Mg1",
        "composition": {"Mg": 3, partner: 2}, "n_atoms": 5, "n_layers": 5, "vacuum": 15.0, "cut": 0.0,
        "period": 3.3, "slab": slab, "relaxed_slab": slab, "energy": -20.0, "bulk_energy": -6.0,
        "formation_energy": -0.6, "surface_energy_slope": slope, "chemical_potential_window": [-0.6, 0.0],
        "surface_energy_x_rich": made["surface_energy"] - 0.6 * slope, "excess": {}, "fermi_energy": 0.5,
        "vacuum_spreads": [0.001, 0.001], "vbm": None, "cbm": None, "total_magnetization": None,
        "reconstruction": {"displacement": 0.1, "bonds_changed": 0.0, "layers_swapped": False},
        "potential": {"z": height, "potential": [4.4 if abs(z - 10.8) > 5 else -6.0 for z in height]},
    }  # fmt: skip


def bulk(of: dict[str, Any]) -> dict[str, Any]:
    """Make the crystal of a surface."""
    partner = of["chemsys"].replace("Mg", "").strip("-")
    matrix = [[3.3, 0, 0], [0, 3.3, 0], [0, 0, 3.3]]
    sites = [
        {"species": [{"element": e, "occu": 1}], "abc": [x, x, x], "properties": {}, "label": e}
        for e, x in (("Mg", 0.0), (partner, 0.5))
    ]
    structure = {
        "charge": 0,
        "lattice": {"matrix": matrix, "pbc": [True] * 3},
        "properties": {},
        "sites": sites,
    }
    return {
        "id": of["bulk_id"], "schema_version": 1, "created_at": of["created_at"], "formula": of["formula"],
        "chemsys": of["chemsys"], "method": of["method"], "method_fingerprint": of["method_fingerprint"],
        "bulk_key": of["bulk_id"], "provenance": of["provenance"], "initial_structure": structure,
        "structure": structure, "spacegroup_number": 221, "spacegroup_symbol": "Pm-3m",
        "initial_spacegroup_number": 221, "energy_per_atom": -3.0, "energy_per_formula_unit": -6.0,
        "formation_energy": -0.6, "total_magnetization": None, "calculation_id": "x",
    }  # fmt: skip


def fill(path: Path, number: int) -> None:
    """Write a store of so many surfaces."""
    draw = random.Random(7)
    with open_store(str(path)) as store:
        for start in range(0, number, 5000):
            made = [record(n, draw) for n in range(start, min(start + 5000, number))]
            with store.transaction():
                store.collection("surfaces").upsert(made)
                store.collection("bulks").upsert([bulk(r) for r in made[::PER_CRYSTAL]])


def used(process: int) -> tuple[float, float]:
    """Return processor time (s) and peak memory (MB) of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{process}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(peak) / 1024


def fetch(url: str) -> int:
    """Return the length of a page."""
    with urllib.request.urlopen(url) as answer:
        return len(answer.read())


def measure(store: Path, repeat: int) -> None:
    """Print the time of each page and of the start, and the memory of the server."""
    with open_store(str(store), must_exist=True) as opened:
        one = next(opened.query({}, ["id", "formula", "bulk_id"], {"surface_energy": 1}, limit=1))
        total = opened.count()
    last = max(total // 100 - 5, 1)
    crystal = f"/compounds/{one['formula']}?bulk={one['bulk_id']}"
    pages = [
        "/",
        "/failures",
        "/models",
        "/screening",
        "/facets",
        f"/facets?page={last}",
        "/facets?sort=-work_function",
        f"/facets?sort=surface_energy&page={last}",
        "/facets?chemsys=Mg-Ag&verdict=accepted",
        "/facets?miller=110",
        "/facets?element=Ag&min_work_function=4",
        "/facets?sort=surface_energy_x_rich",
        "/facets?campaign=benchmark",
        "/facets?termination=0",
        "/facets?sort=-area",
        f"/facets?sort=thickness&page={last}",
        '/facets?filter={"n_atoms":{"$gt":6}}',
        f"/facets/{one['id']}",
        crystal,
        f"{crystal}&dmu=-0.3",
        *("/", "/failures", "/models", "/screening"),
        *(f"/optimade/v1/structures?{quote(query, safe='=&')}" for query in OPTIMADE),
    ]
    began = time.perf_counter()
    command = [sys.executable, "-m", "workflows.cli.app", "serve", "--store", str(store), "--port", "0"]
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip().rstrip("/")
        fetch(f"{address}/facets")
        wall, (processor, memory) = time.perf_counter() - began, used(server.pid)
        print(f"{total:,} surfaces; start with the first page: {wall:.2f} s, {processor:.2f} s of CPU")
        print(f"{'page':<58}{'wall ms':>9}{'CPU ms':>9}{'first':>9}{'kB':>7}")
        for page in pages:
            walls, processors, size = [], [], 0
            for _ in range(repeat + 1):
                before, start = used(server.pid)[0], time.perf_counter()
                try:
                    size = fetch(address + quote(page, safe="/?&=%"))
                except urllib.error.HTTPError as error:
                    if error.code == 404:
                        break
                    raise
                walls.append(time.perf_counter() - start)
                processors.append(used(server.pid)[0] - before)
            if walls:
                shown = page if len(page) < 57 else page[:54] + "..."
                middle = [
                    1000 * of(times[1:])
                    for of, times in (
                        (statistics.median, walls),
                        (statistics.mean, processors),
                    )
                ]
                print(f"{shown:<58}{middle[0]:9.0f}{middle[1]:9.0f}{1000 * walls[0]:9.0f}{size / 1000:7.0f}")
        print(f"memory: {memory:.0f} MB with the first page, {used(server.pid)[1]:.0f} MB at the end")
        server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=100_000, help="surfaces")
    parser.add_argument("--store", type=Path, help="an existing store")
    parser.add_argument("--keep", type=Path, help="write the store here and leave it")
    parser.add_argument("--repeat", type=int, default=11)
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.store or given.keep or Path(folder) / "many.sqlite"
        if given.store is None:
            fill(path, 200 if given.smoke else given.number)
        measure(path, 1 if given.smoke else given.repeat)


if __name__ == "__main__":
    main()
