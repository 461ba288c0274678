"""A start for the DFT relaxation of a slab: the as-cut slab, relaxed by CHGNet where a campaign sets it.

CHGNet's surface energies are 40 to 60 % too low, so that nothing of it but positions to start from is used:
energies, forces, and the reference of the reconstruction score stay those of DFT and of the as-cut slab. A
pre-relaxation that fails is passed over; DFT then starts from the as-cut slab, as it does by default.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError, install_command
from stores.files import write_file
from stores.input_files import read_object
from stores.records import content_hash
from workflows.analysis.reconstruction import score_reconstruction
from workflows.analysis.verdicts import judge_reconstruction
from workflows.jobs.progress import Stage, announce

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

NONE, CHGNET = "none", "chgnet"
PRE_RELAXATIONS = (NONE, CHGNET)

MODEL = "0.3.0"
"""Weights of CHGNet, by the name that the package gives them; part of a calculation's identity."""

PACKAGES = ("atomate2", "chgnet")

FORCE_TOLERANCE = 0.03
"""Largest force left on a free atom (eV/A): well below CHGNet's own error, of the size of DFT's limit."""

MAX_STEPS = 200
SECONDS_ALLOWED = 1800.0  # seconds are usual; what takes longer hangs

FOLDER = "pre_relaxation"
WORKER = Path(__file__).with_name("pre_relaxation_worker.py")


def identity_of(pre_relaxation: str) -> dict[str, str]:
    """Return what a pre-relaxation adds to a slab's identity: another start may end in another minimum."""
    return {} if pre_relaxation == NONE else {"pre_relaxation": f"{pre_relaxation} {MODEL}"}


def check_installed(pre_relaxation: str) -> None:
    """Raise `InputError` in one line if the pre-relaxation needs a package that is not there."""
    if pre_relaxation == NONE:
        return
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"slabs.pre_relaxation: {pre_relaxation} needs {' and '.join(missing)}, not installed here: "
            f"{install_command('forcefields')}; or set it to none"
        )


def pre_relax(
    structure: Structure, free: Sequence[bool], layer_tolerance: float, directory: Path, label: str
) -> tuple[Structure, dict[str, Any]]:
    """Relax the free atoms of a slab with CHGNet, or return the slab as it is with the reason.

    The result is kept in a folder below `directory`, that of the DFT relaxation, so that an interrupted
    calculation resumes from the same start. Atoms that are not free stay exactly where they are.

    Returns
    -------
    Structure
        Where DFT starts.
    dict
        For the record: ``method``, ``used``, and ``reason`` (why not), ``steps``, ``displacement`` (largest
        move over the nearest-neighbour distance), ``seconds`` where they are known.
    """
    metadata: dict[str, Any] = {"method": f"{CHGNET} {MODEL}", "used": False}
    if not any(free):
        return structure, metadata | {"reason": "no atom is free"}
    output = _worker_output(structure, free, directory / FOLDER)
    metadata |= {key: output[key] for key in ("steps", "seconds") if key in output}
    start, reason = structure, _problem(output, structure)
    if not reason:
        start = _moved(structure, free, np.array(output["positions"]))
        scores = score_reconstruction(structure, start, free, layer_tolerance)
        metadata["displacement"] = scores.displacement
        verdict = judge_reconstruction(scores)
        reason = verdict.reason if verdict else ""
    if reason:
        announce(Stage.NOTE, label, text=f"CHGNet pre-relaxation passed over: {reason}")
        return structure, metadata | {"reason": reason}
    return start, metadata | {"used": True}


def _worker_output(structure: Structure, free: Sequence[bool], folder: Path) -> dict[str, Any]:
    """Return the worker's output, an earlier one if there is one."""
    task: dict[str, Any] = {
        "model": MODEL,
        "symbols": [site.specie.symbol for site in structure],
        "cell": structure.lattice.matrix.tolist(),
        "positions": structure.cart_coords.tolist(),
        "free": [bool(flag) for flag in free],
        "force_tolerance": FORCE_TOLERANCE,
        "max_steps": MAX_STEPS,
    }
    rounded = task | {key: np.round(task[key], 6).tolist() for key in ("cell", "positions")}
    task["task_hash"] = content_hash(rounded)
    kept = read_object(folder / "output.json")
    if kept.get("task_hash") == task["task_hash"]:
        return kept
    check_installed(CHGNET)
    folder.mkdir(exist_ok=True)
    (folder / "output.json").unlink(missing_ok=True)
    write_file(folder / "input.json", json.dumps(task), alone=True)
    try:
        code = _run(folder)
        why = f"its process ended with status {code} (see {folder / 'worker.log'})"
    except subprocess.TimeoutExpired:
        why = f"not done in {SECONDS_ALLOWED:g} s (see {folder / 'worker.log'})"
    output = read_object(folder / "output.json")
    if output.get("task_hash") != task["task_hash"]:
        output = {"error": why, "task_hash": task["task_hash"]}
        # kept too: a second attempt must start where the first one did
        write_file(folder / "output.json", json.dumps(output), alone=True)
    return output


def _run(folder: Path) -> int:
    with (folder / "worker.log").open("w") as log:
        return subprocess.run(
            [sys.executable, "-P", str(WORKER)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=SECONDS_ALLOWED,
            check=False,
        ).returncode


def _problem(output: dict[str, Any], structure: Structure) -> str:
    """Return why the worker's output cannot be used; empty if it can."""
    if "error" in output:
        return str(output["error"])
    if not output["converged"]:
        return f"forces still {output['max_force']:.3f} eV/A after {output['steps']} steps"
    positions = np.array(output["positions"], dtype=float)
    if positions.shape != (len(structure), 3) or not np.isfinite(positions).all():
        return "its positions are no numbers"
    return ""


def _moved(structure: Structure, free: Sequence[bool], positions: np.ndarray[Any, Any]) -> Structure:
    """Move the free atoms alone, so that the others keep every digit."""
    from pymatgen.core import Structure

    mask = np.array(free, dtype=bool)
    fractional = np.array(structure.frac_coords)
    shifts = structure.lattice.get_fractional_coords(positions - structure.cart_coords)
    fractional[mask] += shifts[mask]
    return Structure(
        structure.lattice, structure.species, fractional, site_properties=structure.site_properties
    )
