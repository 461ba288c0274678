"""What engines hand to a process of their own, and what it answers: ``input.json`` and ``output.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from stores.input_files import read_object
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pymatgen.core import Structure

SAME_POSITION = 1e-4  # positions that went through a record and back agree to this (A)


def check_ordered(structure: Structure, engine: str) -> None:
    """Refuse a structure with partly occupied sites."""
    if not structure.is_ordered:
        raise InputError(
            f"{engine}: {structure.composition.reduced_formula} has partly occupied sites; order it first"
        )


def free_flags(structure: Structure, free: Sequence[bool]) -> list[bool]:
    """Return one flag for each atom of a slab, whether it is free; refuse another number of them."""
    if len(free) != len(structure):
        raise InputError(f"relax_slab: {len(free)} free flags for {len(structure)} atoms")
    return [bool(flag) for flag in free]


def geometry_of(structure: Structure) -> dict[str, Any]:
    """Return symbols, cell and positions (A) of a structure."""
    return {
        "symbols": [site.specie.symbol for site in structure],
        "cell": structure.lattice.matrix.tolist(),
        "positions": structure.cart_coords.tolist(),
    }


def with_hash(task: dict[str, Any], **hashed: Any) -> dict[str, Any]:
    """Add the key ``task_hash``, which distinguishes tasks; `hashed` stands for values of the task in it."""
    rounded = {key: np.round(task[key], 6).tolist() for key in ("cell", "positions")}
    return {**task, "task_hash": content_hash({**task, **rounded, **hashed})}


def earlier_task(directory: Path) -> dict[str, Any]:
    """Return the task that a folder was computed for; empty if there is none."""
    return read_object(directory / "input.json")


def finished_answer(directory: Path, task_hash: str) -> dict[str, Any] | None:
    """Return the answer that an earlier worker left in a folder for this very task, or None."""
    answer = read_object(directory / "output.json")
    return answer if answer.get("task_hash") == task_hash else None


def ended_in(answer: Mapping[str, Any], task: Mapping[str, Any]) -> bool:
    """Whether the last geometry of an answer is that of a task."""
    return all(
        np.shape(answer[key]) == np.shape(task[key])
        and np.allclose(answer[key], task[key], rtol=0.0, atol=SAME_POSITION)
        for key in ("cell", "positions")
    )


def structure_of_answer(answer: Mapping[str, Any], structure: Structure) -> Structure:
    """Return the structure with the cell and positions that a worker ended with, if it moved them."""
    if answer.get("positions") is None:
        return structure.copy()
    return type(structure)(
        answer["cell"],
        structure.species,
        answer["positions"],
        coords_are_cartesian=True,
        site_properties=structure.site_properties,
    )
