"""Planar average of a LOCPOT against pymatgen's, on a file that is made here.

    python -m benchmarks.locpot [--size 100] [--gzip]

Prints size, time and largest memory of both, each in a process of its own, and their ratio.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BYTES_PER_VALUE = 18.2
"""VASP writes five numbers of 18 characters on a line."""


def write_locpot(path: Path, megabytes: float) -> None:
    """Write a LOCPOT of a slab cell with about this size: a smooth potential on a grid of 5 by 5 to 30 A."""
    n = round((megabytes * 1e6 / BYTES_PER_VALUE / 6) ** (1 / 3))
    nx, ny, nz = n, n, 6 * n
    header = (
        "slab\n 1.0\n 5.0 0.0 0.0\n 0.0 5.0 0.0\n 0.0 0.0 30.0\n Mg Ag\n 1 1\nDirect\n"
        f" 0.0 0.0 0.4\n 0.5 0.5 0.6\n\n {nx} {ny} {nz}\n"
    )
    x = np.cos(2 * np.pi * np.arange(nx) / nx)
    plane = (x[None, :] * x[:ny, None]).ravel()
    z = np.arange(nz) / nz
    heights = -12 * np.exp(-(((z - 0.5) / 0.1) ** 4)) + 4
    with path.open("w") as file:
        file.write(header)
        rest: list[float] = []
        for k in range(nz):
            values = rest + (heights[k] + heights[k] * 0.1 * plane).tolist()
            full = len(values) // 5
            file.write((" %.11E" * 5 + "\n") * full % tuple(values[: 5 * full]))
            rest = values[5 * full :]
        file.write("".join(f" {value:.11E}" for value in rest) + "\n")


def _ours(path: Path) -> float:
    from workflows.engines.vasp_locpot import read_locpot

    return float(read_locpot(path).potential.sum())


def _pymatgens(path: Path) -> float:
    from pymatgen.io.vasp.outputs import Locpot

    return float(Locpot.from_file(str(path)).get_average_along_axis(2).sum())


def _measure(reader: str, path: Path) -> tuple[float, float, float]:
    """Run one reader in a process of its own: seconds, megabytes beyond the imports, and its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.locpot", "--reader", reader, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, megabytes, total = (float(word) for word in done.stdout.split())
    return seconds, megabytes, total


def _read(reader: str, path: Path) -> None:
    function = {"mgsurf": _ours, "pymatgen": _pymatgens}[reader]
    small = path.with_name("small_LOCPOT")
    if not small.exists():
        write_locpot(small, 0.05)
    function(small)  # imports are not what is measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    total = function(path)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seconds, used / 1024, total)


def main() -> None:
    """Make the file and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=float, default=100, help="MB of the file")
    parser.add_argument("--gzip", action="store_true", help="compress it")
    parser.add_argument("--reader", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        _read(arguments.reader[0], Path(arguments.reader[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "LOCPOT"
        write_locpot(path, arguments.size)
        megabytes = path.stat().st_size / 1e6
        if arguments.gzip:
            packed = path.with_name("LOCPOT.gz")
            packed.write_bytes(gzip.compress(path.read_bytes(), 6))
            path = packed
        print(f"LOCPOT of {megabytes:.0f} MB{' (gzip)' if arguments.gzip else ''}")
        results = {name: _measure(name, path) for name in ("mgsurf", "pymatgen")}
    for name, (seconds, memory, _) in results.items():
        print(f"{name:10s} {seconds:6.2f} s  {memory:7.0f} MB")
    ours, theirs = results["mgsurf"], results["pymatgen"]
    if abs(ours[2] - theirs[2]) > 1e-6 * abs(theirs[2]):
        sys.exit("the two readers disagree")
    print(f"ratio      {theirs[0] / ours[0]:6.1f}    {theirs[1] / max(ours[1], 1):7.1f}")


if __name__ == "__main__":
    main()
