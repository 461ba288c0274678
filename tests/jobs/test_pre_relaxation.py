from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from tests.jobs import morse_worker
from workflows.jobs import pre_relaxation
from workflows.jobs.pre_relaxation import check_installed, identity_of, pre_relax
from workflows.jobs.pre_relaxation_worker import relax_free_atoms
from workflows.jobs.progress import PROGRESS, Stage
from workflows.structures.layers import free_atoms
from workflows.structures.slabs import enumerate_slabs

REPOSITORY = Path(__file__).resolve().parents[2]


def mgag_slab(a=3.34, miller=(1, 0, 0)):
    """The slab of MgAg with Ag outermost (or the only one)."""
    bulk = Structure(Lattice.cubic(a), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (facet,) = enumerate_slabs(bulk, miller_indices=[miller])
    structure = min(facet.slabs, key=lambda slab: slab.termination_label).structure
    return structure, free_atoms(structure)


@pytest.fixture
def morse(monkeypatch):
    """Morse potential in place of CHGNet, in a real process of its own."""
    monkeypatch.setattr(pre_relaxation, "WORKER", Path(morse_worker.__file__))
    monkeypatch.setattr(pre_relaxation, "PACKAGES", ())
    monkeypatch.delenv("MORSE_WORKER_FAULT", raising=False)


@pytest.fixture
def notes():
    found = []

    class Notes(logging.Handler):
        def emit(self, record):
            if record.mgsurf_event.stage is Stage.NOTE:
                found.append((record.mgsurf_event.label, record.mgsurf_event.text))

    handler = Notes()
    PROGRESS.addHandler(handler)
    PROGRESS.setLevel(logging.INFO)
    yield found
    PROGRESS.removeHandler(handler)


def as_atoms(structure):
    return Atoms(
        [site.specie.symbol for site in structure],
        positions=structure.cart_coords,
        cell=structure.lattice.matrix,
        pbc=True,
    )


def test_free_atoms_go_to_the_minimum_of_the_potential_and_keep_the_symmetry():
    structure, free = mgag_slab(miller=(1, 1, 0))
    rattled = as_atoms(structure)
    answer = relax_free_atoms(rattled, free, morse_worker.Morse(), 0.01, 200)
    assert answer["converged"]
    moved = np.array(answer["positions"]) - structure.cart_coords
    mask = np.array(free)
    assert np.abs(moved[~mask]).max() == 0.0
    assert np.abs(moved[mask]).max() > 1e-3
    end = as_atoms(structure)
    end.positions = answer["positions"]
    end.calc = morse_worker.Morse()
    assert np.abs(end.get_forces()[mask]).max() <= 0.01
    assert np.abs(moved[:, :2]).max() < 1e-9  # the mirror planes of (110) leave the normal alone
    heights = structure.cart_coords[:, 2]
    up = [moved[i, 2] for i in np.argsort(heights)]
    np.testing.assert_allclose(np.sort(up), -np.sort(up)[::-1], atol=1e-9)


def test_frozen_atoms_keep_every_digit(morse, tmp_path):
    structure, free = mgag_slab()
    start, metadata = pre_relax(structure, free, 0.1, tmp_path, "slab")
    assert metadata["used"] and metadata["method"] == "chgnet 0.3.0"
    assert 0 < metadata["displacement"] < 0.5
    frozen = ~np.array(free)
    assert (start.frac_coords[frozen] == structure.frac_coords[frozen]).all()
    assert np.abs(start.cart_coords - structure.cart_coords)[~frozen].max() > 1e-3
    assert start.species == structure.species
    assert start.lattice == structure.lattice


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "ValueError: no such element"),
        ("kill", "its process ended with status -9 (see "),
        ("far", "an atom moved "),
    ],
)
def test_what_goes_wrong_is_passed_over_with_a_note(morse, monkeypatch, tmp_path, notes, fault, reason):
    monkeypatch.setenv("MORSE_WORKER_FAULT", fault)
    structure, free = mgag_slab()
    start, metadata = pre_relax(structure, free, 0.1, tmp_path, "MgAg (100) Ag: relax")
    assert start is structure
    assert not metadata["used"]
    assert metadata["reason"].startswith(reason), metadata
    ((label, text),) = notes
    assert label == "MgAg (100) Ag: relax"
    assert text.startswith(f"CHGNet pre-relaxation passed over: {reason}")
    # what came out once is the start of every further attempt
    monkeypatch.delenv("MORSE_WORKER_FAULT")
    assert pre_relax(structure, free, 0.1, tmp_path, "again")[0] is structure


def test_a_process_that_hangs_is_ended_and_passed_over(morse, monkeypatch, tmp_path):
    monkeypatch.setenv("MORSE_WORKER_FAULT", "hang")
    monkeypatch.setattr(pre_relaxation, "SECONDS_ALLOWED", 1.0)
    structure, free = mgag_slab()
    start, metadata = pre_relax(structure, free, 0.1, tmp_path, "slab")
    assert start is structure
    assert metadata["reason"].startswith("not done in 1 s")


def test_one_that_does_not_converge_is_passed_over(morse, monkeypatch, tmp_path):
    monkeypatch.setattr(pre_relaxation, "MAX_STEPS", 1)
    structure, free = mgag_slab()
    start, metadata = pre_relax(structure, free, 0.1, tmp_path, "slab")
    assert start is structure
    assert metadata["reason"].startswith("forces still ") and metadata["reason"].endswith("after 1 steps")


def test_the_same_slab_in_the_same_folder_is_not_relaxed_twice(morse, monkeypatch, tmp_path):
    structure, free = mgag_slab()
    first, _ = pre_relax(structure, free, 0.1, tmp_path, "slab")
    monkeypatch.setattr(pre_relaxation, "WORKER", tmp_path / "no_such_file.py")
    second, metadata = pre_relax(structure, free, 0.1, tmp_path, "slab")
    assert metadata["used"]
    assert (first.frac_coords == second.frac_coords).all()
    other, free = mgag_slab(a=3.3)
    _, metadata = pre_relax(other, free, 0.1, tmp_path, "slab")  # another question in the same folder
    assert metadata["reason"].startswith("its process ended with status 2")


def test_a_damaged_output_is_computed_again(morse, tmp_path):
    structure, free = mgag_slab()
    first, _ = pre_relax(structure, free, 0.1, tmp_path, "slab")
    (tmp_path / "pre_relaxation" / "output.json").write_text('{"task_hash": "')
    second, metadata = pre_relax(structure, free, 0.1, tmp_path, "slab")
    assert metadata["used"]
    np.testing.assert_allclose(first.frac_coords, second.frac_coords, atol=1e-9)


def test_a_slab_without_free_atoms_is_left_alone(tmp_path):
    structure, free = mgag_slab()
    start, metadata = pre_relax(structure, [False] * len(free), 0.1, tmp_path, "slab")
    assert start is structure
    assert metadata["reason"] == "no atom is free"


def test_a_missing_package_is_one_line_that_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(pre_relaxation, "PACKAGES", ("atomate2", "no_such_potential"))
    line = r"slabs.pre_relaxation: chgnet needs no_such_potential, .*'\.\[forcefields\]'; or set it to none"
    with pytest.raises(InputError, match=line):
        check_installed("chgnet")
    structure, free = mgag_slab()
    with pytest.raises(InputError, match=line):
        pre_relax(structure, free, 0.1, tmp_path, "slab")
    check_installed("none")


def test_identity_names_the_weights_only_when_it_is_on():
    assert identity_of("none") == {}
    assert identity_of("chgnet") == {"pre_relaxation": "chgnet 0.3.0"}


def test_importing_the_flows_imports_no_torch():
    code = (
        "import sys, json, workflows.flows.campaign.flow, workflows.jobs.pre_relaxation_worker;"
        "import workflows.cli.run;"
        "print(json.dumps([m for m in ('torch', 'chgnet', 'atomate2') if m in sys.modules]))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert json.loads(out.stdout) == []


def test_chgnet_itself(tmp_path, notes):
    pytest.importorskip("chgnet")
    structure, free = mgag_slab()
    before = "torch" in sys.modules  # another test of this process may have loaded it
    start, metadata = pre_relax(structure, free, 0.1, tmp_path, "slab")
    assert metadata["used"], metadata
    assert metadata["steps"] > 1
    moved = start.cart_coords - structure.cart_coords
    assert np.abs(moved[~np.array(free)]).max() == 0.0
    # Ag, the larger of the two on this face, moves inward; both sides alike
    top, bottom = np.argmax(structure.cart_coords[:, 2]), np.argmin(structure.cart_coords[:, 2])
    assert -0.4 < moved[top, 2] < -0.05
    assert moved[top, 2] == pytest.approx(-moved[bottom, 2], abs=1e-6)
    assert ("torch" in sys.modules) == before
    # atoms that no other is near are none of CHGNet's business
    sparse = Structure(Lattice.orthorhombic(8, 8, 80), ["Mg"] * 5, [[0, 0, 0.3 + 0.1 * i] for i in range(5)])
    start, metadata = pre_relax(sparse, [True, False, False, False, True], 0.1, tmp_path, "sparse")
    assert start is sparse
    assert "isolated" in metadata["reason"]
    assert [label for label, _ in notes] == ["sparse"]
