"""Computes with a universal potential in a process of its own, one task after another.

Started by path with the name of a preset. Each line of its standard input is the folder of a task, whose
``input.json`` it reads and where it leaves ``output.json``; a line on its standard output says that it is
done. torch and the potential live in this process alone, and are loaded once for all tasks. It ends with its
standard input, so that none outlives the process that started it.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Run by path: the folder of this file must not be on the path, the repository root must.
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np
from ase import Atoms

from stores.files import write_file
from workflows.engines.gpaw.bulk import relax_cell
from workflows.engines.mlip.potentials import PRESETS
from workflows.engines.mlip.relaxation import relax_free_atoms

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def load_calculator(preset: str) -> Calculator:
    """Return the ASE calculator of a potential, on the processor: another device gives other digits."""
    weights = PRESETS[preset].weights
    if preset == "chgnet":
        from chgnet.model import CHGNet, CHGNetCalculator

        network = CHGNet.load(model_name=weights, use_device="cpu", verbose=False)
        return CHGNetCalculator(network, use_device="cpu")
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(weights, device="cpu")


def compute(task: dict[str, Any], calculator: Calculator) -> dict[str, Any]:
    """Run one task and return its energy (eV), structure and status."""
    atoms = Atoms(task["symbols"], positions=task["positions"], cell=task["cell"], pbc=True)
    tolerance, steps = task["force_tolerance"], task["max_ionic_steps"]
    found: dict[str, Any] = {"status": "ok", "reason": "", "ionic_steps": 1}
    if task["kind"] == "bulk_relax":
        relaxation = relax_cell(atoms, lambda _: calculator, lambda _: calculator, tolerance, steps)
        atoms = relaxation.atoms
        found["ionic_steps"], found["details"] = relaxation.ionic_steps, relaxation.details
        if not relaxation.converged:
            found |= {"status": "unconverged", "reason": relaxation.reason}
    elif task["kind"] == "slab_relax":
        relaxed = relax_free_atoms(atoms, task["free"], calculator, tolerance, steps)
        found["ionic_steps"], found["max_force"] = relaxed["steps"] + 1, relaxed["max_force"]
        if not relaxed["converged"]:
            reason = f"forces still {relaxed['max_force']:.3f} eV/A after {relaxed['steps']} ionic steps"
            found |= {"status": "unconverged", "reason": f"{reason} (limit {tolerance:g})"}
    atoms.set_constraint()
    atoms.calc = calculator
    if "max_force" not in found:
        found["max_force"] = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    return found | {
        "energy": float(atoms.get_potential_energy()),
        "cell": atoms.cell[:].tolist(),
        "positions": atoms.positions.tolist(),
    }


def run(folder: Path, calculator: Calculator) -> None:
    """Run the task of a folder; whatever goes wrong is a status with its reason."""
    task = json.loads((folder / "input.json").read_text(encoding="utf-8"))
    begin = time.time()
    try:
        output = compute(task, calculator)
    except Exception as error:  # noqa: BLE001 -- the campaign continues with the next one
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        output = {"status": "failed", "reason": f"mlip: {text}"}
    output |= {"wall_time": time.time() - begin, "task_hash": task["task_hash"]}
    write_file(folder / "output.json", json.dumps(output), alone=True)


def main() -> None:
    """Load the potential and run tasks until the standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever packages print is no answer
    warnings.simplefilter("ignore")
    calculator = load_calculator(sys.argv[1])
    for line in sys.stdin:
        run(Path(json.loads(line)), calculator)
        print("done", file=answers, flush=True)


if __name__ == "__main__":
    main()
