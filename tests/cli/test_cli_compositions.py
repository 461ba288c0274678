"""Compositions from a CSV file to a model and its predictions, as a user does it."""

from __future__ import annotations

import csv
import json

import pytest

from stores.errors import InputError
from tests.model.alloys import ternaries
from workflows.cli.app import app


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with a store, a model of a quantity and of classes with a numeric column, and its report."""
    folder = tmp_path_factory.mktemp("alloys")
    with (folder / "alloys.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["alloy", "hardness", "glass", "T"])
        for i, one in enumerate(ternaries(120)):
            heat = 300 + 20 * (i % 7)
            glass = "no" if one.targets["glass"] == 0 else "yes"
            writer.writerow([one.formula, one.targets["hardness"] - 0.1 * heat, glass, heat])
    store, model = folder / "s.sqlite", folder / "model"
    columns = ["--targets", "hardness,glass", "--extra", "T", "--unit", "hardness=HV"]
    app(["import", str(folder / "alloys.csv"), *columns, "--store", str(store)], standalone_mode=False)
    command = ["train", "--preset", "mcvn", "--epochs", "3", "--store", str(store), "--output", str(model)]
    assert app([*command, "--quiet"], standalone_mode=False) == 0
    return folder


def predicted(capsys, *arguments):
    status = app(["predict", *map(str, arguments), "--quiet"], standalone_mode=False)
    shown = capsys.readouterr()
    return status, shown.out, shown.err.splitlines()


def test_formulas_are_predicted_with_intervals_and_probabilities(trained, capsys):
    status, out, lines = predicted(
        capsys, "Mg65Cu25Y10", "Mg0.65Cu0.25Y0.1", "MgXx", "--model", trained / "model", "--json"
    )
    assert (
        status == 1
        and any("Xx" in line for line in lines)
        and any("learned from T" in line for line in lines)
    )
    one, other = json.loads(out)
    assert (one["name"], other["name"]) == ("Mg65Cu25Y10", "Mg0.65Cu0.25Y0.1")
    assert one["formula"] == other["formula"] and one["hardness"] == pytest.approx(other["hardness"])
    assert one["hardness"]["low"] < one["hardness"]["value"] < one["hardness"]["high"]
    assert sum(one["glass"]["probabilities"].values()) == pytest.approx(1)
    assert "n_atoms" not in one and "plane" not in one
    assert (
        predicted(capsys, "Mg65Cu25Fe10", "--model", trained / "model")[1].count("Fe not in the training")
        == 1
    )


def test_a_table_has_its_numeric_column(trained, capsys):
    path = trained / "new.csv"
    path.write_text("alloy;T;note\nMg80Zn20;300;a\nMg80Zn20;420;b\nMg80Zn20;;c\n", encoding="utf-8")
    status, out, _ = predicted(capsys, path, "--model", trained / "model", "--csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert status == 0 and len(rows) == 3 and {row["formula"] for row in rows} == {"Mg4Zn"}
    assert len({row["hardness"] for row in rows}) == 3  # the column counts, and so does its absence
    assert {"hardness_low", "glass", "glass_p_yes"} <= rows[0].keys()


def test_the_unit_of_a_heading_stands_below_it(trained, capsys):
    _, out, _ = predicted(capsys, "Mg65Cu25Y10", "--model", trained / "model")
    heading, unit, rule = out.splitlines()[:3]
    assert "hardness" in heading and unit.split() == ["HV"] and rule.startswith("─")


def test_a_formula_may_be_longer_than_the_name_of_a_file(trained, capsys):
    long = "Mg1Cu1" * 60
    status, out, _ = predicted(capsys, long, "Mg0.5Cu0.5", "--model", trained / "model", "--json")
    one, other = json.loads(out)
    assert status == 0 and one["formula"] == other["formula"] == "MgCu"


@pytest.mark.parametrize(("option", "value"), [("--balance", "Fe"), ("--composition-column", "alloy")])
def test_options_of_tables_are_refused_without_a_table(trained, capsys, option, value):
    with pytest.raises(InputError, match=option):
        predicted(capsys, "Mg65Cu25Y10", option, value, "--model", trained / "model")


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_input_is_refused(trained, capsys, text):
    with pytest.raises(InputError, match="empty"):
        predicted(capsys, "MgCu", text, "--model", trained / "model")


def test_stores_of_compositions_are_predicted(trained, capsys):
    status, out, _ = predicted(capsys, trained / "s.sqlite", "--model", trained / "model", "--json")
    assert status == 0 and len(json.loads(out)) == 120


def test_the_report_shows_classes_and_importance(trained):
    folder = trained / "model"
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["noun"] == "composition"
    importance = run["importance"]["hardness"]
    assert len(importance) == 60 and "T" in importance
    assert all((folder / f"{name}.png").is_file() for name in ("classes-glass", "importance", "parity"))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Importance of the inputs" in page and "Confusion matrix" in page


def test_slabs_are_refused_and_folders_named(trained, capsys):
    with pytest.raises(InputError, match="compositions only"):
        predicted(capsys, "--formula", "MgAg", "--prototype", "B2", "--model", trained / "model")
    with pytest.raises(InputError, match="is no file"):
        predicted(capsys, trained, "--model", trained / "model")


def test_a_registered_model_names_its_compositions_and_the_errors_of_classes(trained, capsys):
    store = ["--store", str(trained / "s.sqlite")]
    app(["models", "add", str(trained / "model"), *store], standalone_mode=False)
    run = json.loads((trained / "model" / "run.json").read_text())
    capsys.readouterr()
    app(["models", "list", *store], standalone_mode=False)
    listed = capsys.readouterr().out
    assert f"{run['classes']['glass']['test']['macro_f1']:.3f}" in listed
    app(["models", "show", "v1", *store], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "slab" not in shown.split("\nweights")[0] and "\ncompositions " in shown and "accuracy" in shown
    app(["models", "compare", "v1", "v1", *store, "--json"], standalone_mode=False)
    rows = json.loads(capsys.readouterr().out)["rows"]
    f1 = next(row for row in rows if (row["target"], row["metric"]) == ("glass", "test mean F1"))
    assert f1["a"] == f1["b"] == run["classes"]["glass"]["test"]["macro_f1"]
