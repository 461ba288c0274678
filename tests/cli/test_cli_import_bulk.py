"""`mgsurf import --bulk`: crystals in the layouts of JARVIS, matbench and CGCNN; classes; bad input."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from model.data.dataset import Dataset
from stores.connections import open_store
from stores.errors import InputError
from workflows.cli.app import app

PARTNERS = ("Ag", "Pd", "Zn", "Al", "Ni")


def crystal(partner: str, edge: float = 3.3) -> Structure:
    return Structure(Lattice.cubic(edge), ["Mg", partner], [[0, 0, 0], [0.5] * 3])


def entry(
    number: int, structure: Structure, *, cartesian: bool = False, stated: bool | None = None, **labels
):
    """Entry of a list as jarvis-tools has it."""
    coords = structure.cart_coords if cartesian else structure.frac_coords
    atoms = {
        "lattice_mat": structure.lattice.matrix.tolist(),
        "coords": coords.tolist(),
        "elements": [site.specie.symbol for site in structure],
        "cartesian": cartesian if stated is None else stated,
    }
    return {"jid": number, **labels, "atoms": atoms}


def as_list(**changes) -> list[dict]:
    return [
        entry(i, crystal(partner, 3.0 + 0.1 * i), target=0.1 * i - 0.3, **changes)
        for i, partner in enumerate(PARTNERS)
    ]


@pytest.fixture
def bring(tmp_path, monkeypatch, capsys):
    """Write a file, import it with --bulk in this process; return exit status, JSON and lines of stderr."""
    monkeypatch.chdir(tmp_path)

    def run(content, *arguments, name="fe.json.gz", bulk=True):
        path = tmp_path / name
        if content is not None:
            text = json.dumps(content).encode()
            path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
        command = ["import", str(path), *(["--bulk"] if bulk else []), *arguments, "--json"]
        status = app([*command, "--store", "s.sqlite"], standalone_mode=False)
        shown = capsys.readouterr()
        return status, json.loads(shown.out), shown.err.splitlines()

    return run


def read(target: str | None = None) -> Dataset:
    return Dataset.from_store("sqlite:///s.sqlite", None if target is None else [target])


FE = ("--targets", "formation_energy")


def test_a_list_becomes_crystals_and_nothing_comes_in_twice(bring):
    status, shown, lines = bring(as_list(), *FE)
    assert status == 0 and shown["n_read"] == shown["n_changed"] == 5
    assert any("scaled" in line and "--unit formation_energy=" in line for line in lines)
    with open_store("sqlite:///s.sqlite") as store:
        (record,) = store.query({"source_id": "2"}, collection="labels")
    assert record["geometry"] == "bulk" and record["units"] == {"formation_energy": "scaled"}
    assert record["formula"] == "MgZn" and record["compound"] == "MgZn 16.384"
    dataset = read("formation_energy")
    assert [e.kind for e in dataset] == ["bulk"] * 5
    assert sorted(e.targets["formation_energy"] for e in dataset) == pytest.approx([-0.3, -0.2, -0.1, 0, 0.1])
    status, shown, _ = bring(None, *FE, "--unit", "formation_energy=eV/atom")
    assert status == 0 and shown["n_changed"] == 5  # of the unit alone
    assert bring(None, *FE, "--unit", "formation_energy=eV/atom")[1]["n_changed"] == 0


@pytest.mark.parametrize("stated", [True, False])
def test_distances_decide_between_fractional_and_cartesian(bring, stated):
    big = crystal("Ag") * (2, 2, 2)
    right = entry("a", big, cartesian=stated, target=1.0)
    wrong = entry("b", big, cartesian=stated, stated=not stated, target=2.0)
    _, shown, lines = bring([right, wrong], *FE)
    assert shown["n_read"] == 2 and any("1 entries" in line and "fractional" in line for line in lines)
    one, other = (e.graph for e in read())
    assert one.identity == other.identity and one.distances.min() == pytest.approx(2.858, abs=1e-3)


def test_matbench_tables(bring):
    rows = [[crystal(partner).as_dict(), 0.5 * i] for i, partner in enumerate(PARTNERS)]
    table = {"index": [f"mb-{i}" for i in range(5)], "columns": ["structure", "gap pbe"], "data": rows}
    status, shown, _ = bring(table, "--unit", "gap_pbe=eV", name="matbench_mp_gap.json")
    assert status == 0 and shown["n_labels"] == {"gap_pbe": 5}
    assert {e.source_id for e in read()} == {f"mb-{i}" for i in range(5)}


def test_fields_of_a_list_are_chosen_and_na_is_no_label(bring):
    content = [
        e | {"gap": "na" if i == 1 else i, "e_form": -i, "crys": "cubic"} for i, e in enumerate(as_list())
    ]
    with pytest.raises(InputError, match=r"--targets.*target, gap, e_form"):
        bring(content)
    _, shown, _ = bring(content, "--targets", "gap,e_form")
    assert shown["n_labels"] == {"gap": 4, "e_form": 5}
    with pytest.raises(InputError, match="no field gaps"):
        bring(content, "--targets", "gaps")


def test_properties_of_one_source_come_file_by_file(bring):
    bring(as_list(), *FE)
    metals = [entry(i, crystal(p, 3.0 + 0.1 * i), metal=i % 2 == 0) for i, p in enumerate(PARTNERS)]
    _, shown, _ = bring(metals, "--source", "fe")
    assert shown["n_labels"] == {"metal": 5}
    dataset = read()
    assert all(set(e.targets) == {"formation_energy", "metal"} for e in dataset)
    assert all(value is not None for e in dataset for value in e.targets.values())
    assert dataset.classes == {"metal": ("false", "true")}
    assert bring(as_list(), *FE)[1]["n_changed"] == 0


def test_two_imports_at_once_lose_no_labels(tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from model.data import label_records
    from model.data.importers import import_slabs

    is_same = label_records._same_slab

    def slowly(*slabs):
        time.sleep(0.01)
        return is_same(*slabs)

    monkeypatch.setattr(label_records, "_same_slab", slowly)

    def bring_one(field: str, store: str = f"sqlite:///{tmp_path}/s.sqlite") -> int:
        rows = [entry(i, crystal(partner), **{field: 0.1 * i}) for i, partner in enumerate(PARTNERS)]
        path = tmp_path / f"{field}.json"
        path.write_text(json.dumps(rows))
        return import_slabs(str(path), store, source="s", targets=[field], bulk=True).n_read

    bring_one("first")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(bring_one, ["second", "third"])) == [5, 5]
    with open_store(f"sqlite:///{tmp_path}/s.sqlite") as store:
        for document in store.query(collection="labels"):
            assert document["targets"] == dict.fromkeys(
                ("first", "second", "third"), 0.1 * int(document["source_id"])
            )


def test_a_field_without_labels_is_no_choice(bring):
    _, shown, _ = bring([e | {"gap": None} for e in as_list()], *FE)
    assert shown["n_labels"] == {"formation_energy": 5}


def test_cgcnn_folder_with_classes(bring, tmp_path):
    for i, partner in enumerate(PARTNERS):
        (tmp_path / f"c{i}.cif").write_text(str(CifWriter(crystal(partner))))
    (tmp_path / "id_prop.csv").write_text("".join(f"c{i},{-0.1 * i},{i % 2}\n" for i in range(5)))
    status, shown, _ = bring(
        None, "--targets", "e_form,metal", "--classes", "metal", "--unit", "e_form=eV/atom", name="."
    )
    assert status == 0 and shown["n_labels"] == {"e_form": 5, "metal": 5}
    dataset = read()
    assert dataset.classes == {"metal": ("0", "1")} and dataset.subset([0]).classes == dataset.classes
    assert sorted(e.targets["metal"] for e in dataset) == [0, 0, 0, 1, 1]


def test_cells_of_numbers_with_decimals_are_no_classes(bring, tmp_path):
    for number, partner in enumerate(PARTNERS):
        (tmp_path / f"c{number}.cif").write_text(str(CifWriter(crystal(partner))))

    def import_classes(*cells: str):
        rows = "".join(f"c{number},{cell}\n" for number, cell in enumerate(cells))
        (tmp_path / "id_prop.csv").write_text(rows)
        return bring(None, "--targets", "metal", "--classes", "metal", "--source", cells[0], name=".")

    with pytest.raises(InputError, match=r"metal: '0.5' is no class"):
        import_classes("0.5", "0.7", "0.1", "-0.3", "nan")
    status, shown, lines = import_classes("1.0", "0", "0.5", "1", "0")
    assert status == 1 and shown["n_labels"] == {"metal": 4}
    assert any("'0.5' is no class" in line for line in lines)
    assert read().classes == {"metal": ("0", "1")}


def test_words_are_classes(bring):
    content = [e | {"kind": ("metal", "insulator", "na")[i % 3]} for i, e in enumerate(as_list())]
    _, shown, lines = bring(content, "--targets", "kind,target")
    assert shown["n_labels"]["kind"] == 4 and any("insulator, metal" in line for line in lines)
    assert read("kind").classes == {"kind": ("insulator", "metal")}
    with pytest.raises(InputError, match="one class alone"):
        bring([e | {"kind": "metal"} for e in content], "--targets", "kind")


def test_a_field_of_words_goes_under_another_name(bring):
    rows = [
        entry(i, crystal(partner, 3.0 + 0.1 * i), target="metal" if i else "insulator", note="x")
        for i, partner in enumerate(PARTNERS)
    ]
    with pytest.raises(InputError, match=r"no field kind.*NAME=FIELD"):
        bring(rows, "--targets", "kind")
    status, shown, _ = bring(rows, "--targets", "kind=target")
    assert status == 0 and shown["n_read"] == 5
    assert read("kind").classes == {"kind": ("insulator", "metal")}


def test_bad_entries_are_one_line_each(bring):
    bad = as_list()
    bad[1]["atoms"]["coords"] = [[0, 0, 0], [0, 0, 0.01]]
    bad[2]["atoms"]["elements"][0] = "Qq"
    bad[3]["jid"] = 0  # of the first entry
    bad.append(entry(9, Structure(Lattice.cubic(16), ["Mg"], [[0, 0, 0]]), target=1.0))
    status, shown, _ = bring(bad, *FE)
    assert status == 1 and shown["n_read"] == 2
    for words in ("0.03 A apart", "Qq", "entry 1 already", "no neighbour within 12 A"):
        assert sum(words in line for line in shown["problems"]) == 1


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (as_list(), (), "--targets formation_energy"),
        (as_list(), ("--targets", "surface_energy"), "no surface_energy"),
        (as_list(), (*FE, "--unit", "gap=eV"), "no quantity gap"),
        (as_list(), (*FE, "--classes", "gap"), "no target gap"),
        (as_list(), (*FE, "--relaxed"), "--relaxed"),
        ([], FE, "is empty"),
        ([1, 2], FE, "entry 1"),
        ({"a": 1}, FE, "neither a list"),
        ({"columns": None, "data": []}, FE, "not lists"),
        ({"columns": ["structure", "e"], "data": None}, FE, "not lists"),
        ({"columns": ["structure", "e"], "index": 5, "data": []}, FE, "index is not a list"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(bring, content, options, words):
    with pytest.raises(InputError, match=words) as caught:
        bring(content, *options)
    assert "\n" not in str(caught.value)


def test_a_list_without_bulk_names_the_option(bring):
    with pytest.raises(InputError, match="--bulk"):
        bring(as_list(), *FE, bulk=False)


def test_one_target_of_two_sources_or_two_units_does_not_mix(bring):
    bring(as_list(), *FE)
    bring(as_list(), *FE, "--source", "other", "--unit", "formation_energy=eV/atom")
    with pytest.raises(InputError, match="several methods") as caught:
        read("formation_energy")
    assert "--method" in str(caught.value)
    later = [e | {"jid": e["jid"] + 100} for e in as_list()]
    status, shown, _ = bring(later, *FE, "--source", "other")
    assert status == 1 and any("another unit than scaled" in line for line in shown["problems"])
