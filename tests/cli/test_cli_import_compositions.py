"""`mgsurf import` of tables of compositions: columns, units, classes, duplicates, bad input."""

from __future__ import annotations

import json

import pytest

from model.data.dataset import Dataset
from stores.connections import open_store
from stores.errors import InputError
from workflows.cli.app import app


@pytest.fixture
def bring(tmp_path, monkeypatch, capsys):
    """Write a table, import it in this process; return exit status, JSON and lines of stderr."""
    monkeypatch.chdir(tmp_path)

    def run(lines, *arguments, encoding="utf-8"):
        if lines is not None:
            (tmp_path / "alloys.csv").write_bytes("\n".join(lines).encode(encoding))
        status = app(
            ["import", "alloys.csv", *arguments, "--json", "--store", "s.sqlite"], standalone_mode=False
        )
        shown = capsys.readouterr()
        return status, json.loads(shown.out), shown.err.splitlines()

    return run


def stored() -> dict[str, dict]:
    with open_store("sqlite:///s.sqlite") as store:
        return {one["formula"]: one for one in store.query(collection="labels")}


def test_formulas_a_quantity_and_classes_made_of_it(bring):
    table = ["alloy,Dmax", "Mg65Cu25Y10,4", "Mg50Ag50,0", "Zr2Cu,0.1", "Mg0.5Zn0.5,"]
    command = ["--target", "Dmax", "--bins", "Dmax=0,0.1:CRA,RMG,BMG", "--unit", "Dmax=mm"]
    status, shown, lines = bring(table, *command)
    assert status == 0 and shown["n_labels"] == {"Dmax": 3, "Dmax_class": 3} and shown["n_changed"] == 3
    assert any("at%" in line for line in lines) and any("1 line without a label" in line for line in lines)
    assert any("BMG has 1 composition" in line for line in lines)
    records = stored()
    assert records["Mg65Cu25Y10"]["fractions"] == pytest.approx({"Mg": 0.65, "Cu": 0.25, "Y": 0.1})
    assert {f: r["targets"]["Dmax_class"] for f, r in records.items()} == {
        "Mg65Cu25Y10": 2,
        "MgAg": 0,
        "CuZr2": 1,
    }
    assert records["MgAg"]["units"] == {"Dmax": "mm"} and records["MgAg"]["composition_unit"] == "at%"
    assert bring(None, *command)[1]["n_changed"] == 0
    dataset = Dataset.from_store("sqlite:///s.sqlite", ["Dmax_class"])
    assert dataset.classes == {"Dmax_class": ("CRA", "RMG", "BMG")}


def test_columns_of_elements_need_their_unit(bring):
    table = [
        "No.;C;Mn;T (K);strength",
        "1;0,4;1,6;800;500",
        "2;0,4;1,6;900;400",
        "3;0,2;;;300",
        "4;60;50;1;1",
    ]
    columns = (
        "--composition-column",
        "C,mn",
        "--balance",
        "Fe",
        "--targets",
        "strength",
        "--extra",
        "T=T (K)",
    )
    with pytest.raises(InputError, match="--composition-unit at% or wt%"):
        bring(table, *columns)
    status, shown, lines = bring(table, *columns, "--composition-unit", "wt%", "--unit", "strength=MPa")
    assert status == 1 and shown["n_read"] == 3 and "line 5" in shown["problems"][0]
    assert any("Fe has the balance" in line for line in lines)
    dataset = Dataset.from_store("sqlite:///s.sqlite")
    assert dataset.extras == ("T",) and len({e.compound for e in dataset}) == 2
    found = {e.targets["strength"]: e.graph for e in dataset}
    # 0.4 g of carbon, 1.6 g of manganese and 98 g of iron
    moles = [0.4 / 12.011, 1.6 / 54.938, 98 / 55.845]
    assert found[500].fractions == pytest.approx([n / sum(moles) for n in moles], rel=1e-4)
    assert found[500].extras.tolist() == [800.0] and found[300].numbers.tolist() == [6, 26]


def test_headings_state_units_and_latin_1_is_read(bring):
    table = ["Zn (wt%),Mg (wt%),Härte (HV),zustand", "6,94,70,gegossen", "3,97,60,gewärmt"]
    _, shown, lines = bring(
        table, "--composition-column", "Zn,Mg", "--targets", "HV=Härte (HV),zustand", encoding="latin-1"
    )
    assert shown["n_labels"] == {"HV": 2, "zustand": 2}
    assert not any("at%" in line for line in lines)
    record = next(one for formula, one in stored().items() if formula.startswith("Mg97.6"))
    assert record["fractions"]["Zn"] == pytest.approx(6 / 65.38 / (6 / 65.38 + 94 / 24.305), rel=1e-3)
    assert record["units"] == {"HV": "HV"} and record["classes"] == {"zustand": ["gegossen", "gewärmt"]}


def test_lines_of_one_composition_become_one_record(bring):
    table = ["formula,gap,glass", "MgAg,1,yes", "Ag50Mg50,1,yes", "MgZn,2,yes", "Zn1Mg1,4,no", "MgCd,1,yes",
             "MgCd,1,no", "Mg0.5Cd0.5,1,no"]  # fmt: skip
    _, shown, lines = bring(table, "--targets", "gap,glass")
    assert shown["n_read"] == 3 and any("3 compositions in several lines" in line for line in lines)
    assert any(
        "3 labels of such lines differ" in line and "gap 2 in line 4, 4 in line 5" in line for line in lines
    )
    targets = {formula: record["targets"] for formula, record in stored().items()}
    assert targets == {
        "MgAg": {"gap": 1, "glass": 1},
        "MgZn": {"gap": 3, "glass": None},
        "MgCd": {"gap": 1, "glass": 0},
    }


def test_lines_that_cannot_be_used_are_named_and_the_rest_is_kept(bring):
    table = ["formula,gap", "MgXx,1", "Mg-5Ag5,1", "MgAg,one", "MgZn2,1", "MgNi2,2", "Mg", ",3"]
    status, shown, _ = bring(table, "--targets", "gap")
    assert status == 1 and shown["n_read"] == 2
    where = [problem.split(": ")[0] for problem in shown["problems"]]
    assert where == [f"alloys.csv, line {n}" for n in (2, 3, 4, 7, 8)]


@pytest.mark.parametrize(
    ("table", "arguments", "reason"),
    [
        (["alloy,gap", "MgAg,1"], [], "--targets; it has alloy, gap"),
        (["name,gap", "MgAg,1"], ["--targets", "gap"], "--composition-column"),
        (["alloy,gap", "MgAg,1"], ["--targets", "gab"], r"no column gab \(meant gap\?\)"),
        (["alloy,gap", "MgAg,", "MgZn,"], ["--targets", "gap"], "gap is empty"),
        (["alloy,gap", "MgAg,1", "MgZn,1"], ["--targets", "gap", "--classes", "gap"], "one class alone"),
        (["alloy,gap"], ["--targets", "gap"], "no line below its header"),
        (["alloy,gap,state", "MgAg,1,cast"], ["--targets", "gap", "--extra", "state"], "state.*no number"),
        (["alloy,gap", "MgAg,1"], ["--targets", "gap", "--bins", "gap=2,1:a,b,c"], "ascending limits"),
        (["alloy,gap", "MgAg,1"], ["--targets", "gap", "--bins", "gap=nan:a,b"], "ascending limits"),
        (["alloy,gap", "MgAg,1"], ["--targets", "gap", "--bins", "gap=1,inf:a,b,c"], "ascending limits"),
        (["alloy,gap", "MgAg,1"], ["--targets", "gap", "--extra", "gap"], "a label is no input"),
        (["alloy,gap", "MgAg,1"], ["--targets", "gap,alloy"], "alloy is of the compositions"),
        (["alloy,gap\0", "MgAg,1"], ["--targets", "gap"], "no text"),
        (["alloy,work_function", "MgAg,1"], ["--targets", "work_function"], "composition has no work_func"),
        (["alloy,gap", "MgAg,1"], ["--targets", "gap", "--composition-unit", "mol"], "at% or wt%"),
        (["Mg,Ag,gap", "1,1,1"], ["--targets", "gap", "--composition-column", "Mg,gap"], "after no element"),
    ],
)
def test_mistakes_are_refused_in_one_line(bring, table, arguments, reason):
    with pytest.raises(InputError, match=reason) as caught:
        bring(table, *arguments)
    assert "\n" not in str(caught.value)


def test_targets_of_one_source_come_file_by_file(bring):
    bring(["formula,gap", "MgAg,1"], "--targets", "gap")
    _, shown, _ = bring(["formula,hardness", "Mg50Ag50,5"], "--targets", "hardness")
    assert shown["n_changed"] == 1
    assert stored()["MgAg"]["targets"] == {"gap": 1.0, "hardness": 5.0}
