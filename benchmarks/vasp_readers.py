"""LOCPOT and vasprun.xml read by mgsurf and by pymatgen, on files that are made here.

    python -m benchmarks.vasp_readers [locpot|vasprun|relaxation] [--size 100] [--gzip]

Prints CPU time and memory of both readers, each in a process of its own, and their ratio. ``vasprun`` is a
static run with projections on orbitals (LORBIT = 11), ``relaxation`` one of many ionic steps without them.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

BYTES_PER_VALUE = 18.2
"""VASP writes five numbers of a LOCPOT, 18 characters each, on a line."""

ATOMS, KPOINTS, BANDS, DOS_POINTS, SCF_STEPS = 20, 40, 120, 301, 15
"""Of a vasprun.xml."""

ORBITALS = ("s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "x2-y2")


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


def _rows(name: str, n: int, value: float) -> str:
    return f'<varray name="{name}">\n' + f"   <v>{3 * f'{value:16.8f}'} </v>\n" * n + "</varray>\n"


def _set(comment: str, content: str) -> str:
    return f'<set comment="{comment}">\n{content}</set>\n'


def _array(tag: str, content: str) -> str:
    fields = "".join(f"<field>{name}</field>" for name in ("energy", *ORBITALS))
    return f"<{tag}>\n<array>\n{fields}\n<set>\n{content}</set>\n</array>\n</{tag}>\n"


def write_vasprun(path: Path, megabytes: float, projected: bool) -> None:
    """Write a vasprun.xml of about this size, its sections laid out as by VASP 6."""
    cell = "<v> 9 0 0 </v><v> 0 9 0 </v><v> 0 0 30 </v>"
    crystal = f'<crystal><varray name="basis">{cell}</varray></crystal>\n{_rows("positions", ATOMS, 0.3)}'
    energy = "".join(
        f'<i name="{name}"> -100.0 </i>\n' for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    )
    step = (
        "<calculation>\n" + f"<scstep>\n<energy>\n{energy}</energy>\n</scstep>\n" * SCF_STEPS
        + f"<structure>{crystal}</structure>\n{_rows('forces', ATOMS, 0.001)}{_rows('stress', 3, 0.1)}"
        + f"<energy>\n{energy}</energy>\n"
    )  # fmt: skip
    kpoints = range(1, KPOINTS + 1)
    levels = "".join(f"<r> {b / 10:10.4f} {float(b < BANDS // 2):8.4f} </r>\n" for b in range(BANDS))
    curve = "<r>" + 10 * "     0.1000" + " </r>\n"
    eigenvalues = _array("eigenvalues", _set("spin 1", "".join(_set(f"kpoint {k}", levels) for k in kpoints)))
    dos = f'<dos>\n<i name="efermi"> 1.5 </i>\n{_array("total", _set("spin 1", curve * DOS_POINTS))}'
    if projected:
        curves = _set("spin 1", curve * DOS_POINTS)
        dos += _array("partial", "".join(_set(f"ion {i}", curves) for i in range(1, ATOMS + 1)))
    with path.open("w") as file:
        file.write(
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
            '<generator><i name="version" type="string">6.4.2</i></generator>\n'
            '<incar><i name="ENCUT"> 480.0</i></incar>\n'
            '<kpoints><generation param="Gamma"><v type="int" name="divisions"> 8 8 1 </v></generation>'
            f"{_rows('kpointlist', KPOINTS, 0.1)}</kpoints>\n"
            '<parameters><i type="int" name="NELM">60</i><i name="EDIFF">1e-4</i>'
            '<i type="int" name="NSW">0</i></parameters>\n<atominfo><array name="atoms"><set>'
            + "<rc><c>Mg</c><c>1</c></rc>"
            * ATOMS
            + f'</set></array><array name="atomtypes"><set><rc><c>{ATOMS}</c><c>Mg</c><c>24.3</c><c>2.0</c>'
            "<c>PAW_PBE Mg 13Apr2007</c></rc></set></array></atominfo>\n"
            f'<structure name="initialpos">{crystal}</structure>\n'
        )
        if not projected:
            file.write(f"{step}</calculation>\n" * round(megabytes * 1e6 / len(step)))
        file.write(f"{step}{eigenvalues}{dos}</dos>\n")
        if projected:
            rows = ("<r>" + 9 * "   0.0100" + " </r>\n") * ATOMS
            bands = "".join(_set(f"band {b}", rows) for b in range(1, BANDS + 1))
            file.write("<projected>\n<array>\n<set>\n")
            for spin in range(1, max(1, round(megabytes * 1e6 / (len(bands) * KPOINTS))) + 1):
                file.write(
                    f'<set comment="spin{spin}">\n' + "".join(_set(f"kpoint {k}", bands) for k in kpoints)
                )
                file.write("</set>\n")
            file.write("</set>\n</array>\n</projected>\n")
        file.write(f'</calculation>\n<structure name="finalpos">{crystal}</structure>\n</modeling>\n')


def _our_locpot(path: Path) -> float:
    from workflows.engines.vasp.locpot import read_locpot

    return float(read_locpot(path).potential.sum())


def _their_locpot(path: Path) -> float:
    from pymatgen.io.vasp.outputs import Locpot

    return float(Locpot.from_file(str(path)).get_average_along_axis(2).sum())


def _our_vasprun(path: Path) -> float:
    from workflows.engines.vasp.vasprun import read_vasprun

    data = read_vasprun(path)
    return len(data.steps) + (data.fermi_energy or 0.0)


def _their_vasprun(path: Path) -> float:
    from pymatgen.io.vasp.outputs import Vasprun

    warnings.simplefilter("ignore")
    # the density of states is parsed for the Fermi energy
    run = Vasprun(path, parse_potcar_file=False)
    return len(run.ionic_steps) + (run.efermi or 0.0)


FILES: dict[str, tuple[str, Callable[[Path, float], None], dict[str, Callable[[Path], float]]]] = {
    "locpot": ("LOCPOT", write_locpot, {"mgsurf": _our_locpot, "pymatgen": _their_locpot}),
    "vasprun": (
        "vasprun.xml",
        lambda path, megabytes: write_vasprun(path, megabytes, projected=True),
        {"mgsurf": _our_vasprun, "pymatgen": _their_vasprun},
    ),
    "relaxation": (
        "vasprun.xml",
        lambda path, megabytes: write_vasprun(path, megabytes, projected=False),
        {"mgsurf": _our_vasprun, "pymatgen": _their_vasprun},
    ),
}
"""By kind of file: its name, what writes it with about so many megabytes, and what reads a number from it."""


def _measure(kind: str, reader: str, path: Path) -> tuple[float, float, float]:
    """Run one reader in a process of its own: seconds, megabytes beyond the imports, and its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.vasp_readers", kind, "--reader", reader, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, megabytes, total = (float(word) for word in done.stdout.split())
    return seconds, megabytes, total


def _read(kind: str, reader: str, path: Path) -> None:
    _, write, readers = FILES[kind]
    small = path.with_name("small")
    if not small.exists():
        write(small, 0.05)
    readers[reader](small)  # imports are not what is measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    total = readers[reader](path)
    seconds = time.process_time() - start
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seconds, used / 1024, total)


def main() -> None:
    """Make the file and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=sorted(FILES), default="locpot", help="kind of file")
    parser.add_argument("--size", type=float, default=100, help="MB of the file")
    parser.add_argument("--gzip", action="store_true", help="compress it")
    parser.add_argument("--reader", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        _read(arguments.kind, arguments.reader[0], Path(arguments.reader[1]))
        return
    name, write, readers = FILES[arguments.kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path, arguments.size)
        megabytes = path.stat().st_size / 1e6
        if arguments.gzip:
            packed = path.with_name(f"{name}.gz")
            packed.write_bytes(gzip.compress(path.read_bytes(), 6))
            path = packed
        print(f"{name} of {megabytes:.0f} MB{' (gzip)' if arguments.gzip else ''}")
        results = {reader: _measure(arguments.kind, reader, path) for reader in readers}
    for reader, (seconds, memory, _) in results.items():
        print(f"{reader:10s} {seconds:6.2f} s  {memory:7.0f} MB")
    ours, theirs = results["mgsurf"], results["pymatgen"]
    if abs(ours[2] - theirs[2]) > 1e-6 * abs(theirs[2]):
        sys.exit("the two readers disagree")
    print(f"ratio      {theirs[0] / ours[0]:6.1f}    {theirs[1] / max(ours[1], 1):7.1f}")


if __name__ == "__main__":
    main()
