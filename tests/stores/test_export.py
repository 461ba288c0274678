from __future__ import annotations

import csv
import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import pytest
from pymatgen.core import Structure

from stores.connections import open_store
from stores.errors import InputError, StoreError
from stores.export import FORMATS, export
from stores.records import SurfaceRecord, Verdict, Verdicts

MakeSurface = Callable[..., SurfaceRecord]


@pytest.fixture
def records(surface: MakeSurface) -> list[SurfaceRecord]:
    """An accepted one, one without work function, one with a rejected surface energy and a relaxed slab."""
    rejected = Verdicts(
        surface_energy=Verdict(status="reconstructed"), work_function=Verdict(status="accepted")
    )
    shifted = Structure.from_dict(surface().slab)
    shifted.translate_sites([0], [0, 0, 0.01])
    return [
        surface(0),
        surface(1, work_function=None),
        surface(2, verdicts=rejected, relaxed_slab=dict(shifted.as_dict(verbosity=0))),
    ]


def test_csv(records: list[SurfaceRecord], tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert export(iter(records), path, "csv") == 3
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["surface-0", "surface-1", "surface-2"]
    assert [row["surface_energy"] for row in rows] == ["0.03", "0.031", ""]
    assert [row["work_function"] for row in rows] == ["3.5", "", "3.7"]
    assert rows[2]["surface_energy_verdict"] == "reconstructed"
    assert (rows[0]["h"], rows[0]["k"], rows[0]["l"]) == ("1", "1", "0")


def test_jsonl(records: list[SurfaceRecord], tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    export(records, path, "jsonl", include_rejected=True)
    assert [SurfaceRecord.model_validate_json(line) for line in path.read_text().splitlines()] == records
    export(records, path, "jsonl", overwrite=True)
    assert [json.loads(line)["surface_energy"] for line in path.read_text().splitlines()] == [
        0.03,
        0.031,
        None,
    ]


def test_extxyz(records: list[SurfaceRecord], tmp_path: Path) -> None:
    path = tmp_path / "out.xyz"
    export(records, path, "extxyz")
    images = ase.io.read(path, index=":", format="extxyz")
    assert [image.get_chemical_formula() for image in images] == ["Ag2Mg2"] * 3
    assert images[0].info["surface_energy"] == 0.03
    assert list(images[0].info["miller_index"]) == [1, 1, 0]
    assert "surface_energy" not in images[2].info and images[2].info["work_function"] == 3.7
    assert images[0].cell.lengths() == pytest.approx([3.3, 4.7, 30])


def test_ase(records: list[SurfaceRecord], tmp_path: Path) -> None:
    path = tmp_path / "out.db"
    export(records, path, "ase")
    with ase.db.connect(path) as database:
        rows = list(database.select("surface_energy>0.03"))
        assert [row.surface_id for row in rows] == ["id-surface-1"]
        assert database.count() == 3
        row = database.get(surface_id="id-surface-2")
        assert row.data["verdicts"]["surface_energy"]["status"] == "reconstructed"
        assert row.toatoms().get_chemical_formula() == "Ag2Mg2"


def test_cgcnn(records: list[SurfaceRecord], tmp_path: Path) -> None:
    path = tmp_path / "dataset"
    assert export(records, path, "cgcnn") == 3
    assert (path / "id_prop.csv").read_text() == "surface-0,0.03\nsurface-1,0.031\n"
    assert (path / "id_prop_work_function.csv").read_text() == "surface-0,3.5\nsurface-2,3.7\n"
    assert (path / "id_prop_all.csv").read_text().splitlines() == [
        "id,surface_energy,work_function",
        "surface-0,0.03,3.5",
        "surface-1,0.031,",
        "surface-2,,3.7",
    ]
    assert "surface energy" in (path / "id_prop_columns.txt").read_text()
    structure = Structure.from_file(path / "surface-2.cif")
    assert structure.matches(Structure.from_dict(records[2].slab))
    assert structure.lattice.c == pytest.approx(30)
    export(records, path, "cgcnn", include_rejected=True, overwrite=True)
    assert (path / "id_prop_all.csv").read_text().splitlines()[3] == "surface-2,0.032,3.7"


def test_files_of_others_in_a_cgcnn_folder_survive_an_overwrite(
    records: list[SurfaceRecord], tmp_path: Path
) -> None:
    path = tmp_path / "dataset"
    export(records, path, "cgcnn")
    (path / "atom_init.json").write_text("{}")
    (path / "mine.cif").write_text("mine")
    (path / "models").mkdir()
    (path / "models" / "best.pt").write_text("weights")
    (path / "link").symlink_to("atom_init.json")
    (path / "nowhere").symlink_to("gone")
    assert export(records[:1], path, "cgcnn", overwrite=True) == 1
    assert {entry.name for entry in path.iterdir()} == {
        "surface-0.cif", "id_prop.csv", "id_prop_work_function.csv", "id_prop_all.csv", "id_prop_columns.txt",
        "atom_init.json", "mine.cif", "models", "link", "nowhere",
    }  # fmt: skip
    assert (path / "atom_init.json").read_text() == "{}"
    assert (path / "models" / "best.pt").read_text() == "weights"
    assert (path / "link").readlink() == Path("atom_init.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["dataset"]


def test_an_empty_folder_may_be_filled(records: list[SurfaceRecord], tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    assert export(records, tmp_path / "dataset", "cgcnn", overwrite=True) == 3


def test_a_cgcnn_folder_behind_a_link_is_replaced_where_it_lies(
    records: list[SurfaceRecord], tmp_path: Path
) -> None:
    export(records, tmp_path / "dataset", "cgcnn")
    (tmp_path / "latest").symlink_to("dataset")
    export(records[:1], tmp_path / "latest", "cgcnn", overwrite=True)
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "dataset" / "id_prop.csv").read_text() == "surface-0,0.03\n"
    assert {entry.name for entry in tmp_path.iterdir()} == {"latest", "dataset"}


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    records: list[SurfaceRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dataset"
    export(records, path, "cgcnn")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StoreError, match="it is as it was"):
        export(records[:1], path, "cgcnn", overwrite=True)
    assert len(list(path.glob("*.cif"))) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["dataset"]


def test_relaxed(records: list[SurfaceRecord], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "dataset"
    assert export(records, path, "cgcnn", relaxed=True) == 1
    assert "surface-0 has no relaxed slab" in caplog.text
    structure = Structure.from_file(path / "surface-2.cif")
    assert structure[0].frac_coords[2] == pytest.approx(0.41)


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_overwritten_unasked(records: list[SurfaceRecord], tmp_path: Path, format: str) -> None:
    path = tmp_path / "out"
    export(records[:1], path, format)
    before = path.read_bytes() if path.is_file() else (path / "id_prop.csv").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        export(records, path, format)
    assert before == (path.read_bytes() if path.is_file() else (path / "id_prop.csv").read_bytes())
    assert export(records, path, format, overwrite=True) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("format", FORMATS)
def test_failure_half_way_leaves_what_was_there(
    records: list[SurfaceRecord], tmp_path: Path, format: str
) -> None:
    path = tmp_path / "out"
    export(records[:1], path, format)

    def broken() -> Any:
        yield records[0]
        raise StoreError("the store went away")

    for target in (path, tmp_path / "new"):
        with pytest.raises(StoreError, match="went away"):
            export(broken(), target, format, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    with pytest.raises(InputError, match="No surface matches"):
        export([], path, format, overwrite=True)
    assert path.exists()


@pytest.mark.parametrize("format", ["jsonl", "cgcnn", "ase"])
def test_full_disk(records: list[SurfaceRecord], tmp_path: Path, format: str) -> None:
    path = tmp_path / "out"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
            try:
                export(records * 100, path, format)
            except StoreError as error:
                code = 0 if "\n" not in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(tmp_path.iterdir()) == []


def test_foreign_folder_is_never_replaced(records: list[SurfaceRecord], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not an earlier export"):
        export(records, tmp_path, "cgcnn", overwrite=True)
    with pytest.raises(InputError, match="is a folder"):
        export(records, tmp_path, "csv", overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_wrong_format_and_folder(records: list[SurfaceRecord], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known are csv, jsonl, extxyz, ase, cgcnn"):
        export(records, tmp_path / "x", "xlsx")
    with pytest.raises(InputError, match="does not exist"):
        export(records, tmp_path / "no" / "x", "csv")


@pytest.mark.parametrize("format", ["csv", "ase"])
def test_the_store_that_is_read_is_never_replaced(
    records: list[SurfaceRecord], tmp_path: Path, format: str
) -> None:
    path = tmp_path / "surfaces.db"
    with open_store(str(path)) as store:
        store.add(records)
    (tmp_path / "link.db").symlink_to(path)
    with open_store(str(path), must_exist=True) as store:
        for target in (path, tmp_path / "link.db"):
            with pytest.raises(InputError, match=r"is a store of mgsurf.*name another place"):
                export(store.surfaces(), target, format, overwrite=True)
        assert store.count() == 3
    with open_store(str(path)) as store:
        assert store.count() == 3


def test_no_other_store_is_replaced(records: list[SurfaceRecord], tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    code = (
        "import sys; from tests.stores.opening import open_collection\n"
        "open_collection(sys.argv[1], 'things').upsert({'id': 1})\n"
    )
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env={"PYTHONPATH": root})
    with pytest.raises(InputError, match="is a store of mgsurf"):
        export(records, path, "csv", overwrite=True)


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_database_in_use_is_never_replaced(
    records: list[SurfaceRecord], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / "out.db"
    export(records[:1], path, "ase")
    path.with_name("out.db" + suffix).touch()
    with pytest.raises(InputError, match=f"database in use.*out.db{suffix}"):
        export(records, path, "ase", overwrite=True)


def test_a_folder_that_holds_a_store_is_never_replaced(records: list[SurfaceRecord], tmp_path: Path) -> None:
    path = tmp_path / "dataset"
    export(records, path, "cgcnn")
    with open_store(str(path / "records.sqlite")) as store:
        store.add(records)
        with pytest.raises(InputError, match="holds the store"):
            export(store.surfaces(), path, "cgcnn", overwrite=True)
    assert (path / "records.sqlite").exists()
