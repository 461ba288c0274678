"""Relaxes one slab with CHGNet in a process of its own.

Started by path in its folder, where it reads ``input.json`` and leaves ``output.json``. torch lives and ends
in this process: the one that runs DFT neither imports it nor pays for its memory, and survives its crash.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Run by path: the folder of this file must not be on the path, the repository root must.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ase import Atoms

from stores.files import write_file
from workflows.engines.mlip.relaxation import relax_free_atoms

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def chgnet(model: str) -> Calculator:
    """Return CHGNet's ASE calculator, made by atomate2, with the named weights: the default would change."""
    from atomate2.forcefields.utils import MLFF, ase_calculator
    from chgnet.model import CHGNet

    # On the CPU: a slab takes seconds, and another device would give other digits.
    weights = CHGNet.load(model_name=model, use_device="cpu", verbose=False)
    calculator = ase_calculator(MLFF.CHGNet, model=weights, use_device="cpu", on_isolated_atoms="error")
    if calculator is None:
        raise RuntimeError("this version of atomate2 makes no CHGNet calculator")
    return calculator


def main() -> None:
    """Read the task, run it, and leave the output in one atomic step."""
    task = json.loads(Path("input.json").read_text(encoding="utf-8"))
    begin = time.time()
    try:
        atoms = Atoms(task["symbols"], positions=task["positions"], cell=task["cell"], pbc=True)
        calculator = chgnet(task["model"])
        output = relax_free_atoms(atoms, task["free"], calculator, task["force_tolerance"], task["max_steps"])
    except Exception as error:  # noqa: BLE001 -- whatever it is, the parent continues without
        output = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    output["seconds"] = time.time() - begin
    output["task_hash"] = task["task_hash"]
    write_file(Path("output.json"), json.dumps(output), alone=True)


if __name__ == "__main__":
    main()
