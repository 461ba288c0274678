from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from workflows.engines.gpaw.worker import Journal, JournalCalculator


class Computer:
    """EMT that counts, and can be killed in the middle of a calculation."""

    def __init__(self, dies_at=None):
        self.count = 0
        self.dies_at = dies_at

    def __call__(self, atoms, properties):
        self.count += 1
        if self.count == self.dies_at:
            raise KeyboardInterrupt
        bare = atoms.copy()
        bare.calc = EMT()
        energy = float(bare.get_potential_energy())
        return {"energy": energy, "free_energy": energy, "forces": bare.get_forces().tolist()}


def relax(path, computer):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=3)
    atoms.calc = JournalCalculator(Journal(path), (4, 4, 4), computer)
    BFGS(atoms, logfile=None).run(fmax=1e-3)
    return atoms


def test_an_interrupted_relaxation_goes_on_and_takes_the_same_path(tmp_path):
    straight = Computer()
    expected = relax(tmp_path / "a.jsonl", straight)
    interrupted = Computer(dies_at=5)
    with pytest.raises(KeyboardInterrupt):
        relax(tmp_path / "b.jsonl", interrupted)
    # The kill came in the middle of writing a line.
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write('{"key": "abc", "resul')
    again = Computer()
    atoms = relax(tmp_path / "b.jsonl", again)
    np.testing.assert_array_equal(atoms.positions, expected.positions)
    assert again.count == straight.count - 4
    finished = Computer()
    relax(tmp_path / "b.jsonl", finished)
    assert finished.count == 0


def test_another_mesh_is_another_calculation(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    computer = Computer()
    for mesh in ((4, 4, 4), (6, 6, 6), (4, 4, 4)):
        JournalCalculator(journal, mesh, computer).get_potential_energy(bulk("Cu"))
    assert computer.count == 2


def test_a_property_not_yet_known_is_computed(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    requested = []

    def compute(atoms, properties):
        requested.append(tuple(properties))
        return dict.fromkeys(properties, 0.0)

    calculator = JournalCalculator(journal, (1, 1, 1), compute)
    calculator.get_property("energy", bulk("Cu"))
    JournalCalculator(journal, (1, 1, 1), compute).get_property("stress", bulk("Cu"))
    assert requested == [("energy",), ("stress",)]


def test_only_the_writing_rank_writes(tmp_path):
    Journal(tmp_path / "j.jsonl", writes=False).add("k", {"energy": 1.0})
    assert not (tmp_path / "j.jsonl").exists()
    Journal(tmp_path / "j.jsonl").add("k", {"energy": 1.0})
    lines = [line for line in (tmp_path / "j.jsonl").read_text().splitlines() if line]
    assert json.loads(lines[0]) == {"key": "k", "results": {"energy": 1.0}}
