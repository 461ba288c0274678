"""The files of a data set, as other programs read them."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import subprocess
import warnings

import numpy as np
import pytest

from model.data.importers import import_slabs
from stores.connections import open_store
from stores.exclusions import exclude
from stores.learning.snapshots import find_snapshot, snapshot_slabs
from stores.records import SurfaceRecord

duckdb = pytest.importorskip("duckdb")
KINDS = ("surfaces", "labels", "both", "compositions")


def slabs_of(stored):
    with open_store(stored.uri) as store:
        return list(snapshot_slabs(store, find_snapshot(store, stored.snapshot)))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_structures_are_those_of_the_snapshot(stored, published, kind):
    slabs = slabs_of(stored[kind])
    data = duckdb.sql(f"select * from '{published[kind] / 'data.parquet'}'").df()
    assert list(data["record_id"]) == [slab.record_id for slab in slabs] == sorted(data["record_id"])
    for slab, (_, row) in zip(slabs, data.iterrows(), strict=True):
        for target, value in slab.targets.items():
            column = target if kind != "both" or target not in ("surface_energy", "work_function") else None
            column = column or f"{target}@{slab.method}"
            assert row[column] == value
        if slab.slab is None:
            assert json.loads(row["fractions"]) == dict(slab.fractions)
        else:
            lattice, places = row["lattice"].reshape(3, 3), row["fractional"].reshape(-1, 3)
            assert lattice.tolist() == slab.slab["lattice"]["matrix"]
            assert places.tolist() == [site["abc"] for site in slab.slab["sites"]]
    written = rows(published[kind] / "data.csv")
    assert [row["record_id"] for row in written] == list(data["record_id"])
    for name in written[0]:
        if data[name].dtype == float:
            found = [float(row[name] or "nan") for row in written]
            assert np.array_equal(found, list(data[name]), equal_nan=True), name


def test_a_computed_row_has_both_ends_of_the_window(stored, published):
    with open_store(stored["surfaces"].uri) as store:
        records = {one.id: one for one in store.records(SurfaceRecord)}
    for row in rows(published["surfaces"] / "data.csv"):
        record = records[row["record_id"]]
        assert (int(row["h"]), int(row["k"]), int(row["l"])) == record.miller_index
        assert row["termination_label"] == record.termination_label
        if row["surface_energy"]:
            assert float(row["surface_energy_x_rich"]) == record.surface_energy_x_rich
            assert float(row["chemical_potential_min"]) == record.chemical_potential_window[0]
        else:
            assert row["record_id"] == "half" and row["surface_energy_x_rich"] == ""
            assert row["surface_energy_verdict"] == "negative"


@pytest.mark.parametrize("kind", ["surfaces", "labels", "both"])
def test_extended_xyz_is_read_by_ase(stored, published, kind):
    from ase.io import read

    frames = read(published[kind] / "structures.extxyz", index=":")
    for slab, atoms in zip(slabs_of(stored[kind]), frames, strict=True):
        assert atoms.info["record_id"] == slab.record_id
        matrix = np.array(slab.slab["lattice"]["matrix"])
        assert np.array_equal(atoms.cell.array, matrix)
        places = np.array([site["abc"] for site in slab.slab["sites"]]) @ matrix
        assert atoms.positions == pytest.approx(places, abs=1e-9)
    assert atoms.get_chemical_symbols() == [site["species"][0]["element"] for site in slab.slab["sites"]]


@pytest.mark.parametrize("kind", ["surfaces", "labels"])
def test_the_cgcnn_folder_is_read_back(stored, published, kind, tmp_path):
    uri = f"sqlite:///{tmp_path / 'b.sqlite'}"
    result = import_slabs(str(published[kind] / "cgcnn"), uri, source="again")
    slabs = slabs_of(stored[kind])
    assert (result.n_read, result.problems) == (len(slabs), [])
    with open_store(uri) as store:
        found = {d["source_id"]: d["targets"] for d in store.query({}, collection="labels")}
    expected = {s.record_id: {"surface_energy": None, "work_function": None} | s.targets for s in slabs}
    assert found == expected


@pytest.mark.parametrize("kind", ["surfaces", "labels", "both"])
def test_optimade_lines_are_read_by_the_reference_server(published, kind):
    from optimade.models import StructureResource
    from optimade.utils import insert_from_jsonl

    class Collection:
        def __init__(self):
            self.entries = []

        def insert(self, entries):
            self.entries += entries

    collections = {"structures": Collection()}
    path = published[kind] / "optimade.jsonl"
    insert_from_jsonl(path, collections)
    data = rows(published[kind] / "data.csv")
    found = collections["structures"].entries
    assert [entry["id"] for entry in found] == [row["record_id"] for row in data]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    properties = lines[1]["properties"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for line, row in zip(lines[2:], data, strict=True):
            entry = StructureResource(**line)  # checks formulas, species and sites against one another
            assert entry.attributes.nsites == int(row["n_atoms"])
            assert entry.attributes.nperiodic_dimensions == 2
            assert line["attributes"].keys() <= properties.keys()
    if kind == "surfaces":
        energy = properties["_mgsurf_surface_energy"]
        assert (energy["x-optimade-unit"], energy["x-optimade-type"]) == ("eV/angstrom^2", "float")
        assert [x["standard"]["symbol"] for x in energy["x-optimade-unit-definitions"]] == ["eV", "angstrom"]
        assert [e["_mgsurf_work_function"] for e in found] == [float(r["work_function"]) for r in data]
        planes = [[int(row[i]) for i in "hkl"] for row in data]
        assert [e["_mgsurf_miller_index"] for e in found] == planes


def test_optimade_lines_are_those_of_the_server(stored, published):
    from workflows.web.optimade.entries import PROPERTIES, SLAB, attributes, site_attributes

    lines = [json.loads(line) for line in (published["surfaces"] / "optimade.jsonl").open()][2:]
    other = {"last_modified", "_mgsurf_source", "_mgsurf_geometry", "cartesian_site_positions"}
    with open_store(stored["surfaces"].uri) as store:
        for line in lines:
            (document,) = store.query({"id": line["id"]})
            served = attributes(SLAB, document) | site_attributes(SLAB, document)
            found = line["attributes"]
            same = (found.keys() & served.keys()) - other
            assert same > {"lattice_vectors", "species", "chemical_formula_descriptive", "elements_ratios"}
            assert len(same & {one.key for one in PROPERTIES}) >= 18
            if line["id"] == "half":  # a rejected value is no part of the data set
                same = {name for name in same if "surface_energy" not in name and "potential" not in name}
            assert {name: found[name] for name in same} == {name: served[name] for name in same}
            cut = served["_mgsurf_as_cut_positions"] or served["cartesian_site_positions"]
            assert found["cartesian_site_positions"] == cut


def test_compositions_have_no_files_of_structures(published):
    names = {path.name for path in published["compositions"].iterdir()}
    assert {"data.parquet", "data.csv", "croissant.json"} <= names
    assert names.isdisjoint({"structures.extxyz", "optimade.jsonl", "cgcnn"})
    assert {row["glass"] for row in rows(published["compositions"] / "data.csv")} == {"0", "1"}


@pytest.mark.parametrize("kind", KINDS)
def test_checksums_are_those_of_all_files(published, kind):
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=published[kind], capture_output=True, check=True
    )
    everything = {path for path in published[kind].rglob("*") if path.is_file()}
    assert len(done.stdout.splitlines()) == len(everything) - 1


def test_equal_snapshots_give_equal_bytes_though_the_store_has_grown(stored, published, tmp_path):
    grown = stored["surfaces"]
    grown = type(grown)(tmp_path / "grown.sqlite", grown.snapshot)
    shutil.copy(stored["surfaces"].path, grown.path)
    grown.publish(tmp_path / "again")
    with open_store(grown.uri) as store:
        record = next(store.records(SurfaceRecord))
        later = record.created_at.replace(year=record.created_at.year + 1)
        new = {"id": "later", "termination_key": "l", "created_at": later}
        store.add([record.model_copy(update=new)])
    grown.publish(tmp_path / "later")
    assert tree(tmp_path / "again") == tree(published["surfaces"]) == tree(tmp_path / "later")


def test_no_text_of_a_csv_file_is_a_formula(stored, tmp_path):
    path, name = tmp_path / "a.sqlite", '=HYPERLINK("https://example.org")'
    shutil.copy(stored["labels"].path, path)
    one = type(stored["labels"])(path, stored["labels"].snapshot)
    with open_store(one.uri) as store:
        label = next(store.query({}, collection="labels", sort={"id": 1}))
        store.collection("labels").upsert([label | {"source_id": name}])
        exclude(store, {label["id"]: {"work_function": "-1 eV is no work function"}})
    one.publish(tmp_path / "out")
    assert rows(tmp_path / "out" / "data.csv")[0]["source_id"] == f"'{name}"
    assert rows(tmp_path / "out" / "known_faults.csv")[0]["reason"].startswith("'-1")
    table = duckdb.sql(f"select source_id from '{tmp_path / 'out' / 'data.parquet'}' order by record_id")
    assert table.fetchall()[0] == (name,)


def test_what_was_left_out_is_listed_with_the_reason(published):
    left = [
        (row["record_id"], row["target"], row["verdict"])
        for row in rows(published["surfaces"] / "left_out.csv")
    ]
    assert left == [
        ("half", "surface_energy", "negative"),
        ("none", "surface_energy", "negative"),
        ("none", "work_function", "vacuum_not_flat"),
    ]
    text = (published["surfaces"] / "datasheet.md").read_text()
    assert "| surface energy | negative | 2 |" in text and "3 values" in text
    assert rows(published["labels"] / "left_out.csv") == []


def test_changed_removed_and_faulty_records_are_told_apart(stored, tmp_path):
    path = tmp_path / "a.sqlite"
    shutil.copy(stored["surfaces"].path, path)
    one = type(stored["surfaces"])(path, stored["surfaces"].snapshot)
    with open_store(one.uri) as store:
        changed, removed, faulty, *_ = store.records(SurfaceRecord, sort={"id": 1})
        store.add([changed.model_copy(update={"work_function": 9.0})])
        store.remove({"id": removed.id})
        exclude(store, {faulty.id: {"surface_energy": "audit, bulk-energy: shifted"}})
    done = one.publish(tmp_path / "out")
    assert (done.changed, done.faults) == (2, 1)
    data = {row["record_id"]: row for row in rows(tmp_path / "out" / "data.csv")}
    assert data[changed.id]["record_state"] == "changed" and data[removed.id]["record_state"] == "removed"
    assert float(data[changed.id]["work_function"]) == changed.work_function
    assert data[changed.id]["surface_energy_x_rich"] == ""
    (fault,) = rows(tmp_path / "out" / "known_faults.csv")
    assert (fault["record_id"], fault["verdict"], fault["target"]) == (faulty.id, "faulty", "surface_energy")
    assert "audit, bulk-energy: shifted" in (tmp_path / "out" / "datasheet.md").read_text()


def test_no_folder_of_this_machine_is_published(published):
    folder = published["surfaces"]
    for path in folder.rglob("*"):
        if path.is_file():
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            assert b"somebody" not in content, path
    lines = gzip.decompress((folder / "records.jsonl.gz").read_bytes()).splitlines()
    identifiers = [json.loads(line)["record"]["provenance"]["identifiers"] for line in lines]
    assert ["MgAg.cif"] in identifiers
