"""Finished calculations become the records that a campaign would have made."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.outputs import Locpot

from stores.connections import open_store
from stores.errors import InputError
from stores.records import (
    BulkRecord,
    CalculationKind,
    CalculationRecord,
    ReferenceRecord,
    SurfaceRecord,
    VerdictStatus,
)
from tests.stand_in_vasp.model import expected_energy
from tests.stand_in_vasp.potential import FERMI_ENERGY, expected_work_function
from tests.vasp_folders import (
    B2,
    HCP_MG,
    RELAX,
    STATIC,
    compute,
    compute_bulk,
    compute_slab,
    cut,
    reordered,
)
from workflows.jobs.ingest.ingest import ingest, plan
from workflows.structures.layers import free_atoms

ACCEPTED, FAILED = VerdictStatus.ACCEPTED, VerdictStatus.FAILED


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path}/results.sqlite"


def surfaces(uri) -> dict[str, SurfaceRecord]:
    """Surfaces by the folder of their last run's slab."""
    with open_store(uri) as store:
        records = list(store.surfaces())
    return {Path(r.provenance.identifiers[0]).parent.name: r for r in records}


def everything(uri) -> dict[str, dict]:
    found = {}
    with open_store(uri) as store:
        for kind in ("surfaces", "bulks", "references", "calculations"):
            for document in store.query({}, collection=kind):
                found[f"{kind} {document['id']}"] = document
    return found


def only(uri) -> SurfaceRecord:
    (record,) = surfaces(uri).values()
    return record


def test_values_are_those_of_the_model(finished, uri):
    result = ingest(finished, uri)
    assert result.problems == []
    found = surfaces(uri)
    assert set(found) == {"100_Mg", "100_Ag"}
    bulk = Structure.from_file(finished / "MgAg/bulk/CONTCAR")
    magnesium = Structure.from_file(finished / "Mg/CONTCAR")
    mu = expected_energy(magnesium) / 2
    for name, record in found.items():
        relaxed = Structure.from_file(finished / "MgAg" / name / "relax/CONTCAR")
        n = relaxed.composition
        energy = expected_energy(relaxed) - n["Ag"] * expected_energy(bulk) - (n["Mg"] - n["Ag"]) * mu
        a, b, _ = relaxed.lattice.matrix
        assert record.surface_energy == pytest.approx(energy / (2 * np.linalg.norm(np.cross(a, b))), abs=1e-5)
        assert record.work_function == pytest.approx(expected_work_function(relaxed), abs=3e-3)
        assert record.verdicts.surface_energy.status is ACCEPTED, record.verdicts
        assert record.verdicts.work_function.status is ACCEPTED, record.verdicts
        assert record.miller_index == (1, 0, 0)
        assert f"100_{record.termination_label}" == name
        assert record.formula == "MgAg"
        assert record.method.engine == "vasp"
        assert record.reconstruction is not None
        assert record.reconstruction.displacement < 0.2
        assert record.relaxed_slab is not None


def test_bulks_references_and_calculations_are_stored_too(finished, uri):
    ingest(finished, uri)
    with open_store(uri) as store:
        bulks = {r.formula: r for r in store.records(BulkRecord)}
        (reference,) = store.records(ReferenceRecord)
        kinds = sorted(r.kind for r in store.records(CalculationRecord))
        record = next(iter(store.surfaces()))
        assert store.get(BulkRecord, record.bulk_id) is not None
        for calculation in record.calculation_ids.values():
            assert store.get_calculation(calculation) is not None
    assert set(bulks) == {"MgAg", "Mg"}
    assert bulks["MgAg"].spacegroup_number == 221
    assert (reference.element, reference.prototype) == ("Mg", "A3")
    assert kinds == sorted(
        [
            *[CalculationKind.BULK_RELAX] * 2,
            *[CalculationKind.SLAB_RELAX] * 2,
            *[CalculationKind.SLAB_STATIC] * 2,
        ]
    )


def test_ingesting_twice_adds_nothing(tree, uri):
    assert ingest(tree, uri).changed > 0
    before = everything(uri)
    assert ingest(tree, uri).changed == 0
    for path in [p for name in ("vasprun.xml", "OUTCAR", "LOCPOT", "OSZICAR") for p in tree.rglob(name)]:
        (path.parent / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert ingest(tree, uri).changed == 0
    assert everything(uri) == before


def test_changed_files_take_the_place_of_the_old_ones(tree, uri):
    path = tree / "MgAg/100_Mg/static/vasprun.xml"
    ingest(tree, uri)
    before = surfaces(uri)["100_Mg"]
    text = path.read_text()
    path.write_text(re.sub(r'(name="e_0_energy">\s*-?\d+)\.', r"\g<1>1.", text))
    assert ingest(tree, uri).changed > 0
    after = surfaces(uri)
    assert len(after) == 2
    assert after["100_Mg"].id == before.id
    assert after["100_Mg"].energy != before.energy


def test_a_copied_folder_is_left_out_with_a_note(tree, uri):
    shutil.copytree(tree / "MgAg/100_Mg", tree / "MgAg/old_copy")
    result = ingest(tree, uri)
    assert len(result.surfaces) == 2
    assert sum("the same calculation as" in note for note in result.notes) == 2
    assert result.problems == []


def _turn_potential(source: Path, target: Path, order: tuple[int, int, int]) -> None:
    """The stand-in knows potentials along c only: write the one it would give along another axis."""
    locpot = Locpot.from_file(source / "LOCPOT")
    turned = Structure.from_file(target / "POSCAR")
    Locpot(turned, {"total": locpot.data["total"].transpose(order)}).write_file(target / "LOCPOT")
    (target / "OUTCAR").unlink()
    path = target / "vasprun.xml"
    path.write_text(re.sub(r'(name="efermi">)[^<]*', rf"\1 {FERMI_ENERGY} ", path.read_text()))


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (1, 0, 2)])
def test_the_normal_may_lie_along_any_axis(finished, tree, uri, order):
    ingest(tree, uri)
    along_c = surfaces(uri)["100_Mg"]
    shutil.rmtree(tree / "MgAg/100_Mg")
    slab = reordered(Structure.from_dict(along_c.slab), order)
    mesh = tuple((4, 4, 1)[i] for i in order)
    static = tree / "MgAg/turned/static"
    compute_slab(static.parent, slab, free_atoms(Structure.from_dict(along_c.slab)), kpoints=mesh)
    _turn_potential(finished / "MgAg/100_Mg/static", static, order)
    other = f"{uri}2"
    ingest(tree, other)
    record = surfaces(other)["turned"]
    assert record.surface_energy == pytest.approx(along_c.surface_energy, abs=2e-4)
    assert record.work_function == pytest.approx(along_c.work_function, abs=2e-3)
    assert record.miller_index == (1, 0, 0)
    assert record.verdicts.surface_energy.status is ACCEPTED, record.verdicts
    assert record.verdicts.work_function.status is ACCEPTED, record.verdicts


def test_a_slab_relaxed_on_one_side_is_asymmetric(tree, uri):
    shutil.rmtree(tree / "MgAg/100_Ag")
    slab = cut(Structure.from_file(tree / "MgAg/bulk/CONTCAR"), (1, 0, 0), 0, 9)
    upper = [h > np.median(slab.frac_coords[:, 2]) for h in slab.frac_coords[:, 2]]
    shutil.rmtree(tree / "MgAg/100_Mg")
    compute_slab(tree / "MgAg/one_side", slab, upper)
    ingest(tree, uri)
    verdicts = only(uri).verdicts
    assert only(uri).miller_index == (1, 0, 0)
    assert verdicts.surface_energy.status is VerdictStatus.ASYMMETRIC
    assert verdicts.work_function.status is VerdictStatus.ASYMMETRIC
    assert "one side" in verdicts.surface_energy.reason


def test_a_slab_with_two_terminations_is_asymmetric(tree, uri):
    for name in ("100_Ag", "100_Mg"):
        shutil.rmtree(tree / "MgAg" / name)
    slab = cut(Structure.from_file(tree / "MgAg/bulk/CONTCAR"), (1, 0, 0), 0, 9)
    slab.remove_sites([int(np.argmax(slab.frac_coords[:, 2]))])
    compute(tree / "MgAg/polar", slab, kpoints=(4, 4, 1), **STATIC)
    ingest(tree, uri)
    record = only(uri)
    assert record.verdicts.surface_energy.status is VerdictStatus.ASYMMETRIC
    assert record.verdicts.work_function.status is VerdictStatus.ASYMMETRIC
    assert record.work_function_sides is not None
    assert record.miller_index == (0, 0, 0)
    assert set(record.termination_label.split("/")) == {"Mg", "Ag"}


def test_another_potcar_is_inconsistent_but_keeps_the_work_function(tree, uri):
    shutil.rmtree(tree / "MgAg/100_Ag")
    slab = Structure.from_file(tree / "MgAg/100_Mg/static/POSCAR")
    shutil.rmtree(tree / "MgAg/100_Mg")
    compute(tree / "MgAg/100_Mg/other", slab, **{"kpoints": (4, 4, 1), **STATIC, "labels": {"Mg": "Mg"}})
    ingest(tree, uri)
    record = only(uri)
    assert record.verdicts.surface_energy.status is VerdictStatus.INCONSISTENT_SETTINGS
    assert "POTCAR of Mg" in record.verdicts.surface_energy.reason
    assert record.verdicts.work_function.status is ACCEPTED


def test_a_coarse_bulk_mesh_is_inconsistent(tree, uri):
    shutil.rmtree(tree / "MgAg/bulk")
    compute_bulk(tree / "MgAg/bulk", B2, kpoints=(2, 2, 2))
    ingest(tree, uri)
    verdict = surfaces(uri)["100_Mg"].verdicts.surface_energy
    assert verdict.status is VerdictStatus.INCONSISTENT_SETTINGS
    assert "k mesh 2x2x2" in verdict.reason


def test_of_two_bulks_the_one_with_the_slabs_settings_is_chosen(tree, uri):
    compute_bulk(tree / "MgAg/100_Mg/bulk_520", B2, ENCUT=520)
    ingest(tree, uri)
    assert surfaces(uri)["100_Mg"].verdicts.surface_energy.status is ACCEPTED


def test_without_a_locpot_only_the_work_function_is_missing(tree, uri):
    (tree / "MgAg/100_Mg/static/LOCPOT").unlink()
    result = ingest(tree, uri)
    record = surfaces(uri)["100_Mg"]
    assert record.verdicts.surface_energy.status is ACCEPTED
    assert record.verdicts.work_function.status is FAILED
    assert "no LOCPOT" in record.verdicts.work_function.reason
    assert result.problems == []


def test_an_unconverged_slab_is_said_to_be_so(tree, uri):
    slab = Structure.from_file(tree / "MgAg/100_Mg/relax/POSCAR")
    shutil.rmtree(tree / "MgAg/100_Mg")
    compute(
        tree / "MgAg/100_Mg/relax",
        slab,
        kpoints=(4, 4, 1),
        free=free_atoms(slab),
        **{**RELAX, "NSW": 2, "EDIFFG": -1e-4},
    )
    ingest(tree, uri)
    verdict = surfaces(uri)["100_Mg"].verdicts.surface_energy
    assert verdict.status is VerdictStatus.UNCONVERGED
    assert "NSW = 2" in verdict.reason


def test_a_slab_that_was_cut_off_is_a_failed_record_and_a_problem(tree, uri):
    path = tree / "MgAg/100_Mg/static/vasprun.xml"
    path.write_text(path.read_text()[:-3000])
    result = ingest(tree, uri)
    assert len(result.problems) == 1
    assert str(path) in result.problems[0]
    found = surfaces(uri)
    assert found["100_Ag"].verdicts.surface_energy.status is ACCEPTED
    failed = [r for r in found.values() if r.verdicts.surface_energy.status is FAILED]
    assert all("cut off" in r.verdicts.surface_energy.reason for r in failed)


def test_an_isolated_atom_is_left_out(tree, uri):
    compute(tree / "atom", Structure(Lattice.cubic(10), ["Mg"], [[0, 0, 0]]), kpoints=(1, 1, 1), NSW=0)
    result = ingest(tree, uri)
    assert result.problems == []
    assert any("neither bulk nor slab" in note for note in result.notes)
    assert surfaces(uri)["100_Mg"].verdicts.surface_energy.status is ACCEPTED


def test_the_slab_of_an_element_needs_its_bulk_only(tmp_path, uri):
    root = tmp_path / "elements"
    bulk = compute_bulk(root / "bulk", HCP_MG)
    compute_slab(root / "0001", cut(bulk, (0, 0, 1), 0, 9))
    ingest(root, uri)
    record = only(uri)
    assert record.formula == "Mg"
    assert record.miller_index == (0, 0, 1)
    assert record.verdicts.surface_energy.status is ACCEPTED, record.verdicts
    assert record.surface_energy > 0


def test_a_binary_without_magnesium_needs_the_reference_of_its_metal(tmp_path, uri):
    root = tmp_path / "NiAl"
    bulk = compute_bulk(root / "bulk", Structure(Lattice.cubic(2.9), ["Al", "Ni"], B2.frac_coords))
    compute_slab(root / "110", cut(bulk, (1, 1, 0)))
    compute_slab(root / "100", cut(bulk, (1, 0, 0)))
    ingest(root, uri)
    found = surfaces(uri)
    assert found["110"].verdicts.surface_energy.status is ACCEPTED, found["110"].verdicts
    assert found["100"].verdicts.surface_energy.status is FAILED
    assert "no reference energy of Al" in found["100"].verdicts.surface_energy.reason
    aluminium = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0), ["Al"], [[0, 0, 0]])
    compute_bulk(root / "Al", aluminium)
    ingest(root, uri)
    assert surfaces(uri)["100"].verdicts.surface_energy.status is not FAILED
    assert len(surfaces(uri)) == 2


def test_a_slab_without_bulk_keeps_its_work_function(tree, uri):
    shutil.rmtree(tree / "MgAg/bulk")
    ingest(tree, uri)
    record = surfaces(uri)["100_Mg"]
    assert record.verdicts.work_function.status is ACCEPTED
    assert record.verdicts.surface_energy.status is FAILED
    assert "no bulk of Ag-Mg" in record.verdicts.surface_energy.reason
    assert record.bulk_id == ""


def test_a_bulk_of_another_structure_is_no_partner(tree, uri):
    shutil.rmtree(tree / "MgAg/bulk")
    rock_salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    compute(tree / "MgAg/rock_salt", rock_salt, NSW=0)
    ingest(tree, uri)
    verdict = surfaces(uri)["100_Mg"].verdicts.surface_energy
    assert verdict.status is FAILED
    assert "not recognised" in verdict.reason
    assert "--pairs" in verdict.reason


def test_a_plan_writes_nothing(finished, tmp_path):
    result, _ = plan(finished)
    assert [pair.match.slab.termination_label for pair in result.pairs] == ["Ag", "Mg"]
    assert all(pair.bulk is not None and set(pair.references) == {"Mg"} for pair in result.pairs)
    assert list(tmp_path.iterdir()) == []


def test_a_chain_of_relaxations_in_one_folder_begins_with_the_first(tree, uri):
    ingest(tree, uri)
    before = surfaces(uri)["100_Mg"]
    one = tree / "MgAg/100_Mg/relax"
    for name in ("vasprun.xml", "OUTCAR", "OSZICAR"):
        shutil.copy(one / name, one / f"{name}.relax1")
        shutil.copy(tree / "MgAg/100_Mg/static" / name, one / f"{name}.relax2")
        (one / name).unlink()
    shutil.copy(tree / "MgAg/100_Mg/static/LOCPOT", one / "LOCPOT.relax2")
    shutil.rmtree(tree / "MgAg/100_Mg/static")
    other = f"{uri}2"
    ingest(tree, other)
    after = surfaces(other)["100_Mg"]
    assert after.slab == before.slab
    assert after.surface_energy == pytest.approx(before.surface_energy)
    assert after.work_function == pytest.approx(before.work_function)
    assert after.reconstruction == before.reconstruction


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_nothing_to_read_is_refused_in_one_line(tmp_path, uri, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=name) as error:
        ingest(tmp_path / name, uri)
    assert "\n" not in str(error.value)


def test_runs_of_other_kinds_are_left_out_with_a_note(tree, uri):
    folder = Path(shutil.copytree(tree / "MgAg/100_Mg/relax", tree / "MgAg/100_Mg/other"))
    path = folder / "vasprun.xml"
    path.write_text(re.sub(r'(name="IBRION *">)\s*-?\d+', r"\g<1> 0", path.read_text()))
    result = ingest(tree, uri)
    assert result.problems == []
    assert any("molecular dynamics" in note and str(folder) in note for note in result.notes)
    assert len(result.surfaces) == 2


def test_of_two_copies_the_one_that_ended_better_counts(tree, uri):
    static = tree / "MgAg/100_Mg/static"
    worse = Path(shutil.copytree(static, tree / "MgAg/100_Mg/a_first_try"))
    (worse / "vasprun.xml").write_text((worse / "vasprun.xml").read_text()[:-2000])
    result = ingest(tree, uri)
    assert len(result.surfaces) == 2
    assert surfaces(uri)["100_Mg"].verdicts.surface_energy.status is ACCEPTED


def test_folders_with_input_only_are_no_calculations(tree, uri):
    (tree / "planned").mkdir()
    for name in ("INCAR", "POSCAR", "KPOINTS", "POTCAR"):
        shutil.copy(tree / "Mg" / name, tree / "planned")
    assert ingest(tree, uri).problems == []


def test_a_ternary_keeps_its_work_function(tmp_path, uri):
    root = tmp_path / "ternary"
    heusler = Structure.from_spacegroup(
        "Fm-3m",
        Lattice.cubic(6.6),
        ["Mg", "Ag", "Zn"],
        [[0.25, 0.25, 0.25], [0, 0, 0], [0.5, 0.5, 0.5]],
    ).get_sorted_structure()
    compute(root / "bulk", heusler, NSW=0)
    compute(root / "100", cut(heusler, (1, 0, 0), 0, 9).get_sorted_structure(), kpoints=(4, 4, 1), **STATIC)
    result = ingest(root, uri)
    assert result.problems == []
    record = only(uri)
    assert record.work_function is not None
    assert record.verdicts.surface_energy.status is FAILED
    assert "elements and binaries only" in record.verdicts.surface_energy.reason


def test_a_static_reference_comes_before_a_relaxation_of_its_cell(tree):
    # not quite where the relaxation ended, so that the one does not follow the other
    metal = Structure.from_file(tree / "Mg/CONTCAR")
    compute(tree / "Mg_static", metal.scale_lattice(metal.volume * 1.012), kpoints=(4, 4, 4), NSW=0)
    for pair in plan(tree)[0].pairs:
        assert pair.references["Mg"].last.directory.name == "Mg_static"
