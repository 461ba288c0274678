"""What old folders hold besides one relaxation and one static run of each slab."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from stores.connections import open_store
from stores.records import CalculationRecord, SurfaceRecord, VerdictStatus
from tests.vasp_folders import HCP_MG, RELAX, STATIC, compute, compute_bulk, cut
from workflows.jobs.ingest.folders import Folders
from workflows.jobs.ingest.ingest import ingest, plan
from workflows.structures.layers import free_atoms

ACCEPTED = VerdictStatus.ACCEPTED
MESH = (4, 4, 1)


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path}/results.sqlite"


@pytest.fixture
def tree(tree):
    """One slab, with its bulk and its reference."""
    shutil.rmtree(tree / "MgAg/100_Ag")
    return tree


def surfaces(uri) -> list[SurfaceRecord]:
    with open_store(uri) as store:
        return list(store.surfaces())


def only(uri) -> SurfaceRecord:
    (record,) = surfaces(uri)
    return record


@pytest.mark.parametrize("name", ["a_energy", "z_energy"])
@pytest.mark.parametrize("mesh", [MESH, (5, 5, 1)])
def test_of_several_static_runs_the_one_with_a_potential_counts(tree, uri, name, mesh):
    ingest(tree, uri)
    before = only(uri)
    relaxed = Structure.from_file(tree / "MgAg/100_Mg/static/POSCAR")
    compute(tree / "MgAg/100_Mg" / name, relaxed, kpoints=mesh, NSW=0)
    result = ingest(tree, f"{uri}2")
    after = only(f"{uri}2")
    assert after.id == before.id
    assert after.work_function == before.work_function
    assert after.verdicts.work_function.status is ACCEPTED
    assert len(result.surfaces) == 1
    assert sum(name in note and "left out" in note for note in result.notes) == 1


def test_relaxations_with_other_free_atoms_are_other_calculations(tree, uri):
    slab = Structure.from_file(tree / "MgAg/100_Mg/relax/POSCAR")
    upper = [z > np.median(slab.frac_coords[:, 2]) for z in slab.frac_coords[:, 2]]
    compute(tree / "MgAg/one_side", slab, free=upper, kpoints=MESH, **RELAX)
    result = ingest(tree, uri)
    assert not any("same calculation" in note for note in result.notes)
    found = sorted(record.verdicts.surface_energy.status.value for record in surfaces(uri))
    assert found == ["accepted", "asymmetric"]


def test_a_relaxation_gone_on_with_in_another_folder_is_one(tree, uri):
    ingest(tree, uri)
    whole = only(uri)
    slab = Structure.from_file(tree / "MgAg/100_Mg/relax/POSCAR")
    free = free_atoms(slab)
    shutil.rmtree(tree / "MgAg/100_Mg")
    steps = tree / "MgAg/100_Mg"
    compute(steps / "relax_1", slab, free=free, kpoints=MESH, **{**RELAX, "NSW": 1 + 1})
    middle = Structure.from_file(steps / "relax_1/CONTCAR")
    compute(steps / "relax_2", middle, free=free, kpoints=MESH, **RELAX)
    compute(steps / "static", Structure.from_file(steps / "relax_2/CONTCAR"), kpoints=MESH, **STATIC)
    result = ingest(tree, f"{uri}2")
    record = only(f"{uri}2")
    assert len(result.surfaces) == 1
    assert record.id == whole.id
    assert record.slab == whole.slab
    assert record.verdicts.surface_energy.status is ACCEPTED, record.verdicts
    assert record.surface_energy == pytest.approx(whole.surface_energy, abs=2e-4)
    assert record.reconstruction.displacement == pytest.approx(whole.reconstruction.displacement, rel=0.2)
    with open_store(f"{uri}2") as store:
        kept = [Path(c.output.directory).name for c in store.records(CalculationRecord)]
    assert {"relax_1", "relax_2", "static"} <= set(kept)


def test_of_bulks_at_several_volumes_the_slabs_own_is_chosen(tree):
    bulk = Structure.from_file(tree / "MgAg/bulk/CONTCAR")
    shutil.rmtree(tree / "MgAg/bulk")
    shutil.rmtree(tree / "MgAg/100_Mg")
    for scale in (0.97, 0.985, 1.0, 1.015):
        cell = bulk.copy().scale_lattice(scale * bulk.volume)
        compute(tree / f"MgAg/volumes/{scale:.3f}", cell, kpoints=(4, 4, 4), NSW=0)
    compute(tree / "MgAg/110", cut(bulk, (1, 1, 0)), kpoints=(3, 4, 1), **STATIC)
    (pair,) = plan(tree)[0].pairs
    assert pair.bulk.last.directory.name == "1.000"
    assert pair.match.strain < 1e-3


def test_a_file_of_pairs_may_name_a_copy(tree, uri):
    shutil.copytree(tree / "MgAg/100_Mg", tree / "MgAg/old_copy")
    (tree / "pairs.csv").write_text("bulk,slab,reference\nMgAg/bulk,MgAg/old_copy,Mg\n")
    result = ingest(tree, uri, tree / "pairs.csv")
    assert result.problems == []
    assert only(uri).verdicts.surface_energy.status is ACCEPTED


def test_a_potential_with_exchange_gives_no_work_function(tree, uri):
    # the exchange-correlation potential reaches tenths of an eV at 5 A from the surface
    path = tree / "MgAg/100_Mg/static/vasprun.xml"
    text = re.sub(r'(name="LVHAR *">)\s*\.?T[A-Z.]*', r"\1 F ", path.read_text())
    path.write_text(re.sub(r'(name="LVTOT *">)\s*\.?F[A-Z.]*', r"\1 T ", text))
    ingest(tree, uri)
    record = only(uri)
    assert record.verdicts.surface_energy.status is ACCEPTED
    assert record.verdicts.work_function.status is VerdictStatus.FAILED
    assert "LVTOT" in record.verdicts.work_function.reason
    assert "LVHAR" in record.verdicts.work_function.reason


def test_a_reference_that_only_ends_the_window_cannot_spoil_the_label(tree, uri):
    silver = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.1), ["Ag"], [[0, 0, 0]])
    compute_bulk(tree / "Ag", silver, ENCUT=400)
    ingest(tree, uri)
    record = only(uri)
    assert record.verdicts.surface_energy.status is ACCEPTED, record.verdicts
    assert set(record.chemical_potentials) == {"Mg"}
    assert record.surface_energy_x_rich is None
    shutil.rmtree(tree / "Mg")  # the one that the label rests on does
    compute_bulk(tree / "Mg", HCP_MG, ENCUT=400)
    ingest(tree, f"{uri}2")
    assert only(f"{uri}2").verdicts.surface_energy.status is VerdictStatus.INCONSISTENT_SETTINGS


def test_a_reference_of_another_structure_than_the_ground_state_is_said(tree, uri):
    shutil.rmtree(tree / "Mg")
    compute_bulk(tree / "fcc", Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.5), ["Mg"], [[0, 0, 0]]))
    result = ingest(tree, uri)
    assert any("fcc" in note and "Fm-3m" in note and "Mg" in note for note in result.notes), result.notes


IN_PLANE = Structure(
    Lattice.tetragonal(3.34, 23), ["Mg", "Ag", "Mg"], [[0, 0, 0], [0.5, 0.5, 0.07], [0, 0, 0.14]]
)
MIXED = Lattice(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 1]]) @ IN_PLANE.lattice.matrix)
OTHER_CELLS = {
    "two slabs": (IN_PLANE * (1, 1, 2), "problems", "2 slabs in one cell"),
    "no two vectors in the surface": (
        Structure(MIXED, IN_PLANE.species, IN_PLANE.cart_coords, coords_are_cartesian=True),
        "problems",
        "two lattice vectors in its surface",
    ),
    "a wire": (
        Structure(Lattice.orthorhombic(12, 12, 3), ["Mg"], [[0, 0, 0]]),
        "notes",
        "neither bulk nor slab",
    ),
}


@pytest.mark.parametrize("name", OTHER_CELLS)
def test_a_cell_that_is_neither_bulk_nor_one_slab_is_named_and_left_out(tmp_path, name):
    structure, where, words = OTHER_CELLS[name]
    compute(tmp_path / "run", structure, kpoints=(2, 2, 2), NSW=0)
    folders = Folders()
    assert folders.read(tmp_path / "run") is None
    (line,) = getattr(folders, where)
    assert line.startswith(str(tmp_path / "run")) and words in line and " A " in line
    assert len(folders.problems) + len(folders.notes) == 1 and folders.runs == []
