"""`mgsurf import`: what comes in, what is refused, and that nothing comes in twice."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from model.data.dataset import Dataset
from stores.connections import open_store
from workflows.cli.app import app

BULK = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5] * 3])


def slab(layers: int = 7, partner: str = "Ag") -> Structure:
    """B2 (100): squares of Mg and of its partner in turn."""
    height = 1.65 * (layers - 1) + 15
    species = ["Mg" if i % 2 == 0 else partner for i in range(layers)]
    coords = [[0.5 * (i % 2), 0.5 * (i % 2), (1.65 * i + 5) / height] for i in range(layers)]
    return Structure(Lattice.tetragonal(3.3, height), species, coords)


SLABS = {"a": slab(7), "b": slab(9), "c": slab(7, "Pd"), "d": slab(7, "Zn")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A CGCNN folder of four slabs with two targets, of which two cells are empty."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name, structure in SLABS.items():
        (folder / f"{name}.cif").write_text(str(CifWriter(structure)))
    (folder / "id_prop.csv").write_text("a,0.05,3.5\nb,0.06,\nc,,4.2\nd,0.04,3.9\n")
    return folder


@pytest.fixture
def bring(tmp_path, monkeypatch, capsys):
    """Run `mgsurf import` in this process; return exit status, the JSON it printed and lines of stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = app(["import", *map(str, arguments), "--store", "s.sqlite", "--json"], standalone_mode=False)
        shown = capsys.readouterr()
        return status, json.loads(shown.out), shown.err.splitlines()

    return run


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


NAMES = ("--targets", "surface_energy,work_function")


def stored(path: str = "s.sqlite") -> list[dict]:
    with open_store(path, must_exist=True) as store:
        return sorted(store.query(collection="labels"), key=lambda d: d["source_id"])


def test_a_cgcnn_folder_comes_in_once(folder, bring):
    status, done, errors = bring(folder, *NAMES)
    assert (status, errors, done["n_read"], done["n_changed"]) == (0, [], 4, 4)
    assert done["n_labels"] == {"surface_energy": 3, "work_function": 3}
    status, done, errors = bring(folder, *NAMES)
    assert (status, errors, done["n_read"], done["n_changed"]) == (0, [], 4, 0)
    records = stored()
    assert [r["source_id"] for r in records] == list("abcd")
    assert records[1]["targets"] == {"surface_energy": 0.06, "work_function": None}
    assert {r["method_fingerprint"].rsplit("-", 1)[0] for r in records} == {"imported-dataset"}
    assert records[0]["units"] == {"surface_energy": "eV/A^2", "work_function": "eV"}
    assert records[0]["miller_index"] is None
    assert [r["compound"].split()[0] for r in records] == ["MgAg", "MgAg", "MgPd", "MgZn"]


def test_imported_slabs_are_those_of_the_files(folder, bring):
    bring(folder, *NAMES)
    for record in stored():
        expected = SLABS[record["source_id"]]
        found = Structure.from_dict(record["slab"])
        assert found.composition == expected.composition
        assert found.lattice.parameters == pytest.approx(expected.lattice.parameters, abs=1e-6)
        distances = sorted(found.distance_matrix[0])
        assert distances == pytest.approx(sorted(expected.distance_matrix[0]), abs=1e-5)


def test_targets_keep_their_own_names(folder, bring):
    (folder / "id_prop.csv").write_text("id,cleavage_energy,x1,x2\na,1,2,3\nb,4,,6\n")
    status, done, _ = bring(folder)
    assert status == 0
    assert done["n_labels"] == {"cleavage_energy": 2, "x1": 1, "x2": 2}
    assert Dataset.from_store("s.sqlite").targets == ("cleavage_energy", "x1", "x2")


def test_a_corrected_value_replaces_the_old_one(folder, bring):
    bring(folder, *NAMES)
    text = (folder / "id_prop.csv").read_text().replace("0.05", "0.051")
    (folder / "id_prop.csv").write_text(text)
    _, done, _ = bring(folder, *NAMES)
    assert done["n_changed"] == 1
    assert stored()[0]["targets"]["surface_energy"] == 0.051


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("id;surface_energy;work_function\n{a};0,05;3,5\n{b};0,06;\n", ()),
        ("cif\tSurface energy (J/m^2)\tWork function (meV)\n{a}\t0.801088\t3500\n{b}\t0.961306\t\n", ()),
        ("{a},0.801088,3.5\n{b},0.961306,\n", (*NAMES, "--unit", "surface_energy=J/m2")),
        ("{a};801,088;3500\n{b};961,306;\n",
         (*NAMES, "--unit", "surface_energy=erg/cm2", "--unit", "work_function=meV")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["", ".cif"])
def test_separators_headings_units_and_ids_with_their_ending(folder, bring, content, options, ending):
    (folder / "id_prop.csv").write_text(content.format(a=f"a{ending}", b=f"b{ending}"))
    status, done, _ = bring(folder, *options)
    assert (status, done["n_read"]) == (0, 2)
    assert [r["source_id"] for r in stored()] == ["a", "b"]
    for record, gamma, phi in zip(stored(), (0.05, 0.06), (3.5, None), strict=True):
        assert record["targets"] == {"surface_energy": pytest.approx(gamma, abs=1e-7), "work_function": phi}
        assert record["units"] == {"surface_energy": "eV/A^2", "work_function": "eV"}


def test_values_that_no_surface_has_are_refused_line_by_line(folder, bring):
    (folder / "id_prop.csv").write_text("a,0.05,3.5\nb,50,4100\nc,0.06,0.15\nd,0.04,3.9\n")
    status, done, errors = bring(folder, *NAMES)
    assert (status, done["n_read"], len(errors)) == (1, 2, 2)
    assert f"{folder / 'id_prop.csv'}, line 2: b: surface_energy 50 " in errors[0]
    assert "work_function=Hartree" in errors[1]


def test_a_whole_column_in_another_unit_is_refused(folder, refused_here):
    (folder / "id_prop.csv").write_text("a,0.8,3.5\nb,1.1,3.6\nc,0.9,4.2\nd,1.0,3.9\n")
    assert "--unit surface_energy=J/m2" in refused_here("import", folder, *NAMES, "--store", "s.sqlite")
    assert not Path("s.sqlite").exists()


def test_another_slab_of_the_same_name_is_not_put_in_the_place_of_the_first(folder, bring):
    bring(folder, *NAMES)
    (folder / "a.cif").write_text(str(CifWriter(slab(11))))
    status, done, errors = bring(folder, *NAMES)
    assert (status, done["n_changed"]) == (1, 0)
    assert errors == [f"mgsurf: {done['problems'][0]}"]
    assert "another slab of this name" in errors[0]
    assert "--source" in errors[0]
    status, done, _ = bring(folder, *NAMES, "--source", "second")
    assert (status, done["n_changed"]) == (0, 4)
    assert len(stored()) == 8


def test_a_file_of_one_target_keeps_the_others(folder, bring):
    bring(folder, *NAMES)
    (folder / "id_prop.csv").write_text("a,0.051\nd,0.041\n")
    bring(folder, "--targets", "surface_energy")
    assert [(row["targets"]["surface_energy"], row["targets"]["work_function"]) for row in stored()] == [
        (0.051, 3.5), (0.06, None), (None, 4.2), (0.041, 3.9)
    ]  # fmt: skip


def test_symmetry_in_a_cif_is_unfolded(folder, bring):
    (folder / "b.cif").write_text(str(CifWriter(SLABS["b"], symprec=0.01)))
    assert bring(folder, *NAMES)[0] == 0
    assert stored()[1]["n_atoms"] == 9


def break_folder(folder: Path, how: str) -> str:
    """Spoil slab c; return what the message must say beside file and line."""
    csv = folder / "id_prop.csv"
    text = csv.read_text()
    if how == "missing":
        (folder / "c.cif").unlink()
        return "c.cif is missing"
    if how == "unreadable":
        (folder / "c.cif").write_text("data_x\n_cell_length_a abc\nloop_\n")
        return "c.cif is not a readable CIF"
    if how == "empty cif":
        (folder / "c.cif").write_text("")
        return "c.cif is empty"
    if how == "binary":
        (folder / "c.cif").write_bytes(bytes(range(256)) * 20)
        return "c.cif is not a text file"
    if how == "twice":
        csv.write_text(text.replace("c,,4.2", "a,,4.2"))
        return "the id a stands in line 1 already"
    if how == "text":
        csv.write_text(text.replace("c,,4.2", "c,,unknown"))
        return "'unknown' is no number"
    if how == "nan":
        csv.write_text(text.replace("c,,4.2", "c,nan,4.2"))
        return "'nan' is no finite number"
    if how == "short":
        csv.write_text(text.replace("c,,4.2", "c,4.2"))
        return "2 cells, not 3"
    if how == "path":
        csv.write_text(text.replace("c,,4.2", "../c,,4.2"))
        return "'../c' is no id"
    if how == "bulk":
        (folder / "c.cif").write_text(str(CifWriter(BULK)))
        return "No vacuum"
    if how == "two slabs":
        (folder / "c.cif").write_text(str(CifWriter(SLABS["c"] * (1, 1, 2))))
        return "2 slabs in one cell"
    if how == "two atoms":
        wrong = SLABS["c"].copy()
        wrong.append("Mg", wrong.frac_coords[0] + [0.01, 0, 0])
        (folder / "c.cif").write_text(str(CifWriter(wrong)))
        return "apart"
    raise AssertionError(how)


@pytest.mark.parametrize(
    "how",
    [
        "missing",
        "unreadable",
        "empty cif",
        "binary",
        "twice",
        "text",
        "nan",
        "short",
        "path",
        "bulk",
        "two slabs",
        "two atoms",
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_the_rest_comes_in(folder, bring, how):
    said = break_folder(folder, how)
    status, done, errors = bring(folder, *NAMES)
    assert status == 1
    assert len(errors) == 1, errors
    assert errors[0].startswith(f"mgsurf: {folder / 'id_prop.csv'}, line 3: "), errors
    assert said in errors[0]
    assert (done["n_read"], len(stored())) == (3, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "neither id_prop.csv nor slabs.json.gz"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,1,2\n", "2 columns of values without names; name them, for example --targets"),
        (b"id,a b\na,1\n", "without names"),
        (b"a\xff\xfe,1\n", "no UTF-8"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_in_one_line(folder, refused_here, content, message):
    if content is None:
        (folder / "id_prop.csv").unlink()
    else:
        (folder / "id_prop.csv").write_bytes(content)
    assert message in refused_here("import", folder, "--store", "s.sqlite")
    assert not Path("s.sqlite").exists()


def test_wrong_options_are_refused_in_one_line(folder, refused_here, tmp_path):
    assert "not 1 (x)" in refused_here("import", folder, "--targets", "x", "--store", "s.sqlite")
    assert "named twice" in refused_here("import", folder, "--targets", "x,x", "--store", "s.sqlite")
    assert "no plain word" in refused_here("import", folder, "--targets", "x,a b", "--store", "s.sqlite")
    line = refused_here("import", folder, *NAMES, "--source", "a b/c", "--store", "s.sqlite")
    assert "--source" in line
    assert "does not exist" in refused_here("import", tmp_path / "none", "--store", "s.sqlite")
    (tmp_path / "x.txt").write_text("")
    assert "no known form" in refused_here("import", tmp_path / "x.txt", "--store", "s.sqlite")
    assert "There is no store" in refused_here(
        "import", f"sqlite:///{tmp_path}/no.sqlite", "--store", "s.sqlite"
    )


def shared_file(path: Path, records: list[dict]) -> Path:
    units = {
        "surface_energy": "eV/Angstrom^2",
        "work_function": "eV",
        "cell": "A and degrees",
        "frac_coords": "",
    }
    path.mkdir()
    with gzip.open(path / "slabs.json.gz", "wt") as file:
        json.dump({"units": units, "n_records": len(records), "records": records}, file)
    return path


def shared_record(name: str, structure: Structure, **more: object) -> dict:
    return {
        "id": name,
        "cell": list(structure.lattice.parameters),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords.tolist(),
        "surface_energy": 0.05,
        **more,
    }


def test_a_json_data_set_comes_in_once(tmp_path, bring):
    records = [shared_record(n, s, work_function=4.0) for n, s in SLABS.items()]
    records[1]["miller"] = [1, 0, -1, 0]
    records[2]["work_function"] = None
    path = shared_file(tmp_path / "elements", records)
    status, done, errors = bring(path)
    assert (status, errors, done["n_changed"]) == (0, [], 4)
    assert done["n_labels"] == {"surface_energy": 4, "work_function": 3}
    assert bring(path / "slabs.json.gz")[1]["n_changed"] == 0  # the same source by its file
    assert stored()[1]["miller_index"] == [1, 0, 0]
    assert stored()[0]["units"]["surface_energy"] == "eV/A^2"
    assert stored()[0]["geometry"] == "as_cut"


def test_of_two_geometries_the_unrelaxed_one_is_taken(tmp_path, bring):
    relaxed, initial = (shared_record("x", s) for s in (slab(9), slab(7)))
    record = {"id": "x", "surface_energy": 0.1, "relaxed": relaxed, "initial": initial}
    assert bring(shared_file(tmp_path / "both", [record]))[0] == 0
    assert stored()[0]["n_atoms"] == 7


def test_wrong_records_of_a_json_data_set_are_named(tmp_path, bring):
    good = [shared_record(n, s) for n, s in SLABS.items()]
    wrong = [
        {**good[0], "id": "text", "surface_energy": "high"},
        {**good[0], "id": "element", "species": ["Xx"] * 7},
        {**good[0], "id": "cell", "cell": [1, 2]},
        {**good[0]},
        "nothing",
    ]
    path = shared_file(tmp_path / "mixed", good + wrong)
    status, done, errors = bring(path)
    assert (status, done["n_read"], len(errors)) == (1, 4, 5)
    for number, line in enumerate(errors, start=5):
        assert line.startswith(f"mgsurf: {path / 'slabs.json.gz'}, record {number}: ")


@pytest.mark.parametrize("content", [b"", b"no json", b"\x1f\x8b broken", b"[1, 2]", b'{"records": []}'])
def test_a_broken_json_data_set_is_refused_in_one_line(tmp_path, refused_here, content):
    (tmp_path / "slabs.json.gz").write_bytes(content)
    assert "slabs.json.gz" in refused_here("import", tmp_path, "--store", "s.sqlite")


def test_what_export_wrote_comes_back_with_its_names(filled, mgsurf):
    assert mgsurf("export", "cgcnn", "-o", "out", "--store", filled).returncode == 0
    done = mgsurf("import", "out", "--store", "s.sqlite")
    assert done.returncode in (0, 1), done.stderr
    assert "surface_energy" in done.stdout
    assert "work_function" in done.stdout


def test_another_store_comes_in_whole(filled, folder, bring, tmp_path):
    assert bring(filled)[1]["n_labels"] == {"surface_energy": 7, "work_function": 6}
    with open_store("s.sqlite", must_exist=True) as store, open_store(str(filled), must_exist=True) as origin:
        for kind in ("surfaces", "bulks", "calculations"):
            assert store.count(collection=kind) == origin.count(collection=kind)
    assert bring(filled)[1]["n_changed"] == 0
    bring(folder, *NAMES)
    assert app(["import", "s.sqlite", "--store", "t.sqlite", "--json"], standalone_mode=False) == 0
    assert len(stored("t.sqlite")) == 4
    assert len(stored()) == 4


@pytest.mark.parametrize(
    ("field", "value", "units"),
    [
        ("surface_energy", 0.8, {"surface_energy": "J/m^2"}),
        ("surface_energy", 50.0, {"surface_energy": "meV/Angstrom^2"}),
        ("surface_energy_J_m2", 0.8, {"surface_energy_J_m2": "J/m^2"}),
        ("surface_energy_J_m2", 0.8, {}),
        ("surface_energy", 0.05, {}),
    ],
)
def test_units_of_a_json_data_set_convert(tmp_path, bring, field, value, units):
    record = shared_record("x", slab()) | {field: value}
    if field != "surface_energy":
        del record["surface_energy"]
    path = tmp_path / "other"
    path.mkdir()
    (path / "slabs.json").write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"units": units, "records": [record]}).encode()
    )
    assert bring(path)[0] == 0
    assert stored()[0]["targets"] == {"surface_energy": pytest.approx(0.05, rel=2e-3)}
    assert stored()[0]["units"] == {"surface_energy": "eV/A^2"}


def test_impossible_values_and_other_units_of_another_store(folder, bring):
    bring(folder, *NAMES)
    with open_store("s.sqlite") as store:
        records = list(store.query(collection="labels"))
        records[0]["targets"]["surface_energy"] = 50.0
        for record in records[1:]:  # as versions without --unit kept them
            record |= {"method_fingerprint": "imported-joules", "units": {"surface_energy": "J/m^2"}}
            record["targets"]["surface_energy"] = 0.8
        store.collection("labels").upsert(records)
    assert app(["import", "s.sqlite", "--store", "t.sqlite"], standalone_mode=False) == 1
    found = stored("t.sqlite")
    assert [r["source_id"] for r in found] == sorted(r["source_id"] for r in records[1:])
    assert found[0]["targets"]["surface_energy"] == pytest.approx(0.8 / 16.02176634)
    assert found[0]["units"] == {"surface_energy": "eV/A^2"}


def test_the_summary_is_one_line(folder, mgsurf):
    done = mgsurf("import", folder, *NAMES, "--store", "s.sqlite")
    assert done.stderr == ""
    assert done.stdout == (
        "4 slabs read from dataset (3 surface_energy, 3 work_function); 4 records new or changed\n"
    )
    assert "nothing new" in mgsurf("import", folder, *NAMES, "--store", "s.sqlite").stdout


HEAD = """data_s
_cell_length_a 3.3
_cell_length_b 3.3
_cell_length_c 25
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
{symmetry}
loop_
_atom_site_label
{kind}
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""
HALF = "Mg1 Mg 0 0 0.5\nNi1 Ni 0.5 0.5 0.566\nMg2 Mg 0 0 0.632\nNi2 Ni 0.5 0.5 0.698\n"
NICKEL_TIN = "".join(
    f"{'NI' if i % 2 == 0 else 'SN'}1 {i % 2 / 2} {i % 2 / 2} {0.2 + 0.066 * i}\n" for i in range(7)
)


@pytest.mark.parametrize(
    ("symmetry", "composition"),
    [
        ("_space_group_IT_number 123", {"Mg": 3, "Ni": 4}),
        ("_space_group_name_Hall '-P 4 2'", {"Mg": 3, "Ni": 4}),
        ("_space_group_name_H-M_ref 'P 4/m m m'", {"Mg": 3, "Ni": 4}),
        ("_symmetry_space_group_name_H-M 'P 1'", {"Mg": 2, "Ni": 2}),
        ("", None),
        ("_symmetry_space_group_name_H-M 'P 4/mmmm'", None),
    ],
)
def test_half_a_slab_is_completed_by_its_symmetry_or_refused(folder, bring, symmetry, composition):
    (folder / "c.cif").write_text(HEAD.format(symmetry=symmetry, kind="_atom_site_type_symbol") + HALF)
    status, _, errors = bring(folder, *NAMES)
    found = {record["source_id"]: record["composition"] for record in stored()}
    assert found.get("c") == composition
    assert (status, len(errors), len(found)) == ((0, 0, 4) if composition else (1, 1, 3))
    assert composition or "line 3" in errors[0]


@pytest.mark.parametrize("kind", ["_atom_site_label", "_atom_site_type_symbol"])
def test_symbols_in_capitals_are_elements(folder, bring, kind):
    text = HEAD.format(symmetry="_symmetry_space_group_name_H-M 'P 1'", kind="").replace(
        "_atom_site_label", kind
    )
    (folder / "a.cif").write_text(text + NICKEL_TIN)
    assert bring(folder, *NAMES)[0] == 0
    assert stored()[0]["composition"] == {"Ni": 4, "Sn": 3}


def test_a_slab_in_another_order_of_atoms_is_the_stored_one(folder, bring):
    bring(folder, *NAMES)
    before = stored()
    turned = SLABS["b"].get_sorted_structure(key=lambda site: -site.frac_coords[2])
    (folder / "b.cif").write_text(str(CifWriter(turned)))
    status, done, errors = bring(folder, *NAMES)
    assert (status, done["n_changed"], errors) == (0, 0, [])
    assert stored() == before
