"""Slabs paired with their bulk by a file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from stores.connections import open_store
from stores.errors import InputError
from stores.records import VerdictStatus
from tests.vasp_folders import B2, compute, compute_bulk
from workflows.jobs.ingest.ingest import ingest, plan
from workflows.jobs.ingest.pairs import read_pairs


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def only(uri):
    with open_store(uri) as store:
        (record,) = store.surfaces()
    return record


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path}/results.sqlite"


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("bulk,slab,reference", "MgAg/bulk,MgAg/100_Mg/static,Mg"),
        ("slab;bulk;reference", "MgAg/100_Mg;MgAg/bulk;Mg"),
        ("Slab, Bulk, Reference, remark", "MgAg/100_Mg/relax, MgAg/bulk, Mg, from 2019"),
        ("\ufeffbulk\tslab\treference", "MgAg/bulk\tMgAg/100_Mg\tMg"),
    ],
)
def test_a_file_names_the_pairs(tree, uri, header, line):
    file = write(tree / "pairs.csv", header, line, "")
    result = ingest(None, uri, file)
    assert result.problems == []
    record = only(uri)
    assert record.termination_label == "Mg"
    assert record.verdicts.surface_energy.status is VerdictStatus.ACCEPTED
    assert record.chemical_potentials.keys() == {"Mg"}


def test_it_gives_the_records_that_are_found_without_it(tree, uri):
    ingest(tree, uri)
    file = write(tree / "pairs.csv", "bulk,slab", "MgAg/bulk,MgAg/100_Mg", "MgAg/bulk,MgAg/100_Ag")
    assert ingest(tree, uri, file).changed == 0


def test_a_told_bulk_is_taken_even_if_the_slab_is_not_recognised(tree, uri):
    slab = Structure.from_file(tree / "MgAg/100_Mg/static/CONTCAR")
    slab.make_supercell([2, 1, 1])
    top = int(max(range(len(slab)), key=lambda i: slab[i].z))
    bottom = int(min(range(len(slab)), key=lambda i: slab[i].z))
    slab.translate_sites([top], [0.8, 0, 0.2], frac_coords=False)
    slab.translate_sites([bottom], [0.8, 0, -0.2], frac_coords=False)
    compute(tree / "MgAg/rebuilt", slab, kpoints=(2, 4, 1), NSW=0, LVHAR=True)
    shutil.rmtree(tree / "MgAg/100_Mg")
    shutil.rmtree(tree / "MgAg/100_Ag")
    alone, by_file = f"{uri}1", f"{uri}2"
    ingest(tree, alone)
    assert only(alone).verdicts.surface_energy.status is not VerdictStatus.ACCEPTED
    assert only(alone).surface_energy is None
    ingest(tree, by_file, write(tree / "pairs.csv", "bulk,slab", "MgAg/bulk,MgAg/rebuilt"))
    record = only(by_file)
    assert record.surface_energy is not None
    assert record.id == only(alone).id


def test_a_named_reference_overrules_the_found_one(tree, uri):
    fcc = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.5), ["Mg"], [[0, 0, 0]])
    compute_bulk(tree / "fcc_Mg", fcc)
    file = write(tree / "pairs.csv", "bulk,slab,reference", "MgAg/bulk,MgAg/100_Mg,fcc_Mg")
    ((pair,), _) = (plan(tree, file)[0].pairs, None)
    assert pair.references["Mg"].last.directory.name == "fcc_Mg"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no column bulk and no column slab (there are: none)"),
        ("a,b\n1,2\n", "no column bulk and no column slab (there are: a, b)"),
        ("bulk,surface\nx,y\n", "no column slab (there are: bulk, surface)"),
        ("bulk,slab\n", "names no pair"),
        ("bulk,slab\nMgAg/bulk,\n", "line 2: bulk or slab is empty"),
        ("bulk,slab\nMgAg/bulk\n", "line 2: bulk or slab is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, expected):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_pairs(path)
    assert expected in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(tmp_path)
    (tmp_path / "pairs.xlsx").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(InputError, match="is no text"):
        read_pairs(tmp_path / "pairs.xlsx")


def test_wrong_paths_are_told_by_line_and_the_rest_goes_in(tree, uri):
    (tree / "nothing").mkdir()
    file = write(
        tree / "pairs.csv",
        "bulk,slab,reference",
        "MgAg/bulk,MgAg/100_Mg,Mg",
        "MgAg/bulk,MgAg/111_Mg,Mg",
        "MgAg/bulk,nothing,",
        "MgAg/bulk,Mg,",
        "MgAg/bulk,MgAg,",
        "MgAg/bulk,MgAg/100_Ag,MgAg/bulk",
    )
    result = ingest(None, uri, file)
    problems = "\n".join(result.problems)
    assert f"line 3: {tree / 'MgAg/111_Mg'}: no such folder" in problems
    assert f"line 4: {tree / 'nothing'} holds no VASP run" in problems
    assert f"line 5: {tree / 'Mg'} is no slab" in problems
    assert f"line 6: {tree / 'MgAg'} holds 2 calculations" in problems
    assert "line 7: the reference" in problems
    assert len(result.problems) == 5
    assert [r.termination_label for r in result.surfaces] == ["Mg", "Ag"]


def test_of_two_bulks_the_told_one_counts(tree, uri):
    compute_bulk(tree / "bulk_520", B2, ENCUT=520)
    file = write(tree / "pairs.csv", "bulk,slab,reference", "bulk_520,MgAg/100_Mg,Mg")
    ingest(None, uri, file)
    verdict = only(uri).verdicts.surface_energy
    assert verdict.status is VerdictStatus.INCONSISTENT_SETTINGS
    assert "520 eV" in verdict.reason
