"""Running the stand-in in a folder, for tests that look at one calculation at a time."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.stand_in_vasp.potcars import label_of, potcar_text

if TYPE_CHECKING:
    from pymatgen.core import Structure

VASP_STD = Path(__file__).with_name("vasp_std")
COMMAND = shlex.join([sys.executable, str(VASP_STD)])


def write_inputs(
    folder: Path,
    structure: Structure,
    *,
    kpoints: tuple[int, int, int] = (4, 4, 4),
    free: Sequence[bool] | None = None,
    labels: dict[str, str] | None = None,
    **incar: Any,
) -> Path:
    """Write the four input files; atoms of one element must stand together."""
    from pymatgen.io.vasp.inputs import Poscar

    folder.mkdir(parents=True, exist_ok=True)
    flags = None if free is None else [[bool(x)] * 3 for x in free]
    poscar = Poscar(structure, selective_dynamics=flags)
    poscar.write_file(folder / "POSCAR", significant_figures=16)
    names = [(labels or {}).get(symbol, label_of(symbol)) for symbol in poscar.site_symbols]
    (folder / "POTCAR").write_text("".join(potcar_text(name) for name in names))
    (folder / "KPOINTS").write_text(f"mesh\n0\nGamma\n{' '.join(map(str, kpoints))}\n")
    tags = {"ENCUT": 480, "EDIFF": 1e-6, "ISMEAR": 1, "SIGMA": 0.2, "PREC": "Accurate"} | incar
    lines = [f"{name} = {_text(value)}" for name, value in tags.items()]
    (folder / "INCAR").write_text("\n".join(lines) + "\n")
    return folder


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return f".{str(value).upper()}."
    return " ".join(map(str, value)) if isinstance(value, list | tuple | np.ndarray) else str(value)


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the stand-in; its output also goes to vasp.out and std_err.txt, as under custodian.

    Keywords are environment variables without their prefix ``STAND_IN_VASP_``.
    """
    variables = {f"STAND_IN_VASP_{name.upper()}": value for name, value in environment.items()}
    done = subprocess.run(
        [sys.executable, str(VASP_STD)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (folder / "vasp.out").write_text(done.stdout)
    (folder / "std_err.txt").write_text(done.stderr)
    return done
