"""What `mgsurf export cgcnn` writes, read as the original CGCNN reads it and by cgcnn2 (PyPI)."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Element, Structure

from model.data.import_formats import read_cgcnn
from stores.cgcnn_elements import atom_init, cgcnn_categories
from stores.export import export
from stores.records import SurfaceRecord
from stores.structures.reading import structure_files

SURFACE_ENERGIES = {"surface-0": 0.03, "surface-1": 0.031, "12345678": 0.032}
WORK_FUNCTIONS = {"surface-0": 3.5, "12345678": 3.7, "surface-3": 3.8}


@pytest.fixture
def folder(surface: Callable[..., SurfaceRecord], tmp_path: Path) -> Path:
    records = [
        surface(0), surface(1, work_function=None), surface(2, id="12345678"),
        surface(3, surface_energy=None), surface(4, surface_energy=None, work_function=None),
    ]  # fmt: skip
    assert export(records, tmp_path / "cgcnn", "cgcnn") == 5
    return tmp_path / "cgcnn"


def of_work_functions(folder: Path) -> Path:
    """Follow id_prop_columns.txt: the other table in the place of id_prop.csv."""
    shutil.copy(folder / "id_prop_work_function.csv", folder / "id_prop.csv")
    return folder


def read_as_cgcnn(folder: Path) -> dict[str, float]:
    """Read as `CIFData` of txie-93/cgcnn: no header, two cells a line, features of every element."""
    with (folder / "id_prop.csv").open() as file:
        rows = list(csv.reader(file))
    features = {int(key): np.array(value, float) for key, value in json.loads(
        (folder / "atom_init.json").read_text()).items()}  # fmt: skip
    found = {}
    for cif_id, target in rows:
        crystal = Structure.from_file(str(folder / f"{cif_id}.cif"))
        assert np.vstack([features[site.specie.number] for site in crystal]).shape == (len(crystal), 92)
        found[cif_id] = float(target)
    return found


def read_by_cgcnn2(folder: Path) -> dict[str, float]:
    from cgcnn2.data import CIFData, collate_pool

    dataset = CIFData(str(folder))
    items = [dataset[i] for i in range(len(dataset))]
    (atoms, neighbours, _, _), targets, names = collate_pool(items)
    assert atoms.shape == (4 * len(items), 92) and neighbours.isfinite().all()
    return dict(zip(names, targets.double().numpy()[:, 0].tolist(), strict=True))


@pytest.mark.parametrize("read", [read_as_cgcnn, read_by_cgcnn2])
def test_one_folder_is_read_by_both(folder: Path, read: Callable[[Path], dict[str, float]]) -> None:
    assert read(folder) == pytest.approx(SURFACE_ENERGIES)
    assert read(of_work_functions(folder)) == pytest.approx(WORK_FUNCTIONS)


def test_features_of_elements_are_no_structure_of_the_folder(folder: Path) -> None:
    assert {path.suffix for path in structure_files(folder)} == {".cif"}


def test_cgcnn2_divides_the_folder_and_predicts_all_of_it(folder: Path) -> None:
    from cgcnn2.data import CIFData, CIFData_NoTarget, full_set_split

    parts = [CIFData(part) for part in full_set_split(str(folder), 0.34, 0.34)]
    assert sum(len(part) for part in parts) == 3
    assert all(part[0][0][0].shape == (4, 92) for part in parts)
    assert len(CIFData_NoTarget(str(folder))) == 5  # those without any value, too


def test_features_of_the_elements() -> None:
    features = {int(key): value for key, value in atom_init().items()}
    assert sorted(features) == list(range(1, 101))
    names = cgcnn_categories()[0]
    of_magnesium = {names[i] for i, value in enumerate(features[Element("Mg").Z]) if value}
    assert {"group 2", "period 3", "block 1", "valence electrons 2"} <= of_magnesium
    assert len(of_magnesium) == 9
    assert all(len(value) == 92 and set(value) <= {0, 1} for value in features.values())


def test_all_targets_come_back(folder: Path) -> None:
    rows = read_cgcnn(folder, None)
    found = {row.source_id: row.targets for row in rows.rows}
    assert {k: v["surface_energy"] for k, v in found.items() if v["surface_energy"]} == SURFACE_ENERGIES
    assert {k: v["work_function"] for k, v in found.items() if v["work_function"]} == WORK_FUNCTIONS
    assert len(found) == 5


def test_older_exports_have_both_targets_in_one_table(folder: Path) -> None:
    for name in ("id_prop_all.csv", "id_prop_work_function.csv", "atom_init.json"):
        (folder / name).unlink()
    (folder / "id_prop.csv").write_text("surface-0,0.03,3.5\nsurface-1,0.031,\n12345678,,3.7\n")
    (folder / "id_prop_columns.txt").write_text(
        "Columns of id_prop.csv (no header line, as CGCNN expects):\n"
        "1  id of the slab; its structure is <id>.cif\n2  surface energy, Mg-rich (eV/A^2)\n"
    )
    rows = list(read_cgcnn(folder, None).rows)
    assert [row.targets for row in rows] == [
        {"surface_energy": 0.03, "work_function": 3.5},
        {"surface_energy": 0.031, "work_function": None},
        {"surface_energy": None, "work_function": 3.7},
    ]
