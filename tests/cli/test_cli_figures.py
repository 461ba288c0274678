"""mgsurf figures: every figure that a small store and small trainings allow, and lines about the others."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import pytest
import typer

pytest.importorskip("torch")

from stores.connections import open_store
from stores.errors import InputError
from stores.learning.screenings import ScreeningRecord, keep_screenings, latest_screenings
from tests.cli.test_cli_learning import add, command
from tests.model.small_dataset import PARTNERS
from workflows.flows.figures.inputs import FigureInputs, TrainedRun, find_trainings, partner_elements
from workflows.flows.figures.model_figures import element_rows
from workflows.flows.figures.paper import FIGURES, chosen_figures
from workflows.flows.figures.transfer import transfer_panels

TINY = {"network.embedding": 8, "network.hidden": 8, "network.convolutions": 2}
COMMON = {"settings": {}, "lattice": [[3, 0, 0], [0, 3, 0], [0, 0, 3]], "species": ["Mg"],
          "positions": [[0, 0, 0]], "spacegroup_number": 221, "spacegroup_symbol": "Pm-3m",
          "bulk_key": "k", "inputs": "i"}  # fmt: skip

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with a store of forty slabs, trainings of mtl and sem-cgcnn, one without MgCa, of transfer."""
    folder = tmp_path_factory.mktemp("made")
    for name, partners in (("store", PARTNERS[:4]), ("other", PARTNERS[4:7])):
        with open_store(f"sqlite:///{folder}/{name}.sqlite") as store:
            add(store, partners, source=name)
    (folder / "best.json").write_text(json.dumps({"params": TINY}))
    for preset in ("mtl", "sem-cgcnn"):
        done = command(
            "train", "--preset", preset, "--epochs", 1, "--params", folder / "best.json", "-q",
            "--store", folder / "store.sqlite", "-o", folder / preset,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    done = command(
        "ablate", "--from", folder / "sem-cgcnn", "--seeds", 1, "--epochs", 1, "--train-fraction", 0.5,
        "-q", "--store", folder / "other.sqlite", "-o", folder / "transfer",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = command(
        "ablate", "--preset", "sem-cgcnn", "--seeds", 1, "--epochs", 1, "--split", "compound:MgCa", "-q",
        "--store", folder / "store.sqlite", "-o", folder / "without",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def mgsurf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return command


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_figures_come_with_their_data_and_the_others_with_their_command(made, mgsurf, tmp_path):
    trainings = [made / name for name in ("mtl", "sem-cgcnn", "transfer", "without")]
    arguments = ["figures", *trainings, "-q", "--store", made / "store.sqlite"]
    done = mgsurf(*arguments, "-o", "out")
    assert done.returncode == 1
    out = tmp_path / "out"
    for number in set(FIGURES) - {"6b", "S3"}:
        assert {p.suffix for p in out.glob(f"figure_{number}.*")} == {".csv", ".png"}, done.stderr
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == [" figure 6b", " figure S3"]
    assert "mgsurf screen" in done.stderr and "--scan-depth" in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert len(table(out / "figure_1a.csv")) == len(table(out / "figure_S1.csv")) == 40
    # parity: test errors by hand as the training reports them
    rows = [r for r in table(out / "figure_2.csv")
            if (r["model"], r["target"], r["part"]) == ("CGCNN", "work_function", "test")]  # fmt: skip
    mae = sum(abs(float(r["dft"]) - float(r["predicted"])) for r in rows) / len(rows)
    reported = json.loads((made / "mtl" / "run.json").read_text())
    assert mae == pytest.approx(reported["metrics"]["work_function"]["test"]["mae"])
    assert [r["element"] for r in table(out / "figure_4.csv")] == ["Ca", "Ag", "Cu", "Al"]
    stages = [r["stage"] for r in table(out / "figure_S5_statistics.csv")]
    assert stages == ["embedding", "convolution 1", "convolution 2"]
    assert {r["model"] for r in table(out / "figure_5.csv")} == {"from scratch", "fine-tuned"}
    shapes = table(out / "figure_6a.csv")
    assert {(r["formula"], r["model"]) for r in shapes} == {("MgCa", "sem-cgcnn")}
    assert sum(float(r["area_dft"]) for r in shapes) == pytest.approx(1, abs=1e-4)
    assert mgsurf(*arguments, "-o", "again", "--only", "4").returncode == 0
    again = list((tmp_path / "again").glob("*.csv"))
    assert len(again) == 2
    for path in again:
        assert path.read_bytes() == (out / path.name).read_bytes()


def test_a_scan_of_the_depth_is_trained_once_and_drawn(made, mgsurf, tmp_path):
    arguments = ["figures", "--only", "s3", "-q", "--store", made / "store.sqlite"]
    scan = ["--scan-depth", "--depth", 0, "--depth", 3, "--epochs", 1]
    first = mgsurf(*arguments, *scan)
    assert first.returncode == 0, first.stderr
    assert "2 trainings" in first.stderr
    points = table(tmp_path / "mgsurf_figures" / "figure_S3.csv")
    assert [(p["target"], p["depth"]) for p in points] == [
        (target, depth) for target in ("surface_energy", "work_function") for depth in ("0.0", "3.0")
    ]
    assert all(float(p["test_mae"]) > 0 for p in points)
    for again in (mgsurf(*arguments, *scan), mgsurf(*arguments)):
        assert (again.returncode, again.stderr) == (0, "")
    refused = mgsurf(*arguments, "--epochs", 2)
    assert refused.returncode == 2 and "--scan-depth" in refused.stderr


def test_what_cannot_be_used_is_named_in_one_line(made, mgsurf, tmp_path):
    (tmp_path / "table.csv").write_text("model,seed\nbest,0\n")
    done = mgsurf("figures", "nothing", "table.csv", "--only", "2,S1", "-q", "--store", made / "store.sqlite")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["nothing", "table.csv", "figure 2"]
    assert (tmp_path / "mgsurf_figures" / "figure_S1.png").is_file()
    for arguments in (["--only", "7"], ["--scan-depth", "--depth", 2]):
        assert mgsurf("figures", *arguments, "--store", made / "store.sqlite").returncode == 2
    with pytest.raises(typer.BadParameter, match="screen"):  # which the program ends with a line for
        mgsurf("figures", "--style", "poster", "--store", made / "store.sqlite")
    missing = mgsurf("figures", "--only", "1a", "--store", "none.sqlite")
    assert missing.returncode != 0 and "none.sqlite" in missing.stderr


def test_trainings_go_to_the_figures_they_were_made_for():
    def run(preset, data="mg", split="random", fraction=1, params=None, **more):
        settings = {"preset": preset, "split": split, "seed": 0, "folds": 0, "fold": 0,
                    "params": params or {}, "train_fraction": fraction, **more}  # fmt: skip
        return TrainedRun(Path(preset), {"settings": settings, "data": data})

    best, paper = run("best"), run("sem-cgcnn")
    others = [
        run("sem-cgcnn", "metals"), run("sem-cgcnn", "metals", fraction=0.2),
        run("sem-cgcnn", "metals", transfer={"freeze": "none"}), run("sem-cgcnn", split="compound:MgCo2"),
        run("sem-cgcnn", params={"network.surface_threshold": 3.0}),
    ]  # fmt: skip
    inputs = FigureInputs("none", lambda *_: None, runs=[*others, best, paper])
    assert inputs.whole == [best, paper]
    assert inputs.preferred() is paper
    assert inputs.transferred == others[:3]
    assert [r.left_out for r in inputs.runs if r.left_out] == ["compound:MgCo2"]
    # a model that was fine-tuned on its own slabs
    again = FigureInputs("none", lambda *_: None, runs=[paper, run("best", transfer={"freeze": "none"})])
    assert again.whole == [paper]


def test_figures_are_chosen_by_number():
    assert chosen_figures(None) == list(FIGURES)
    assert chosen_figures("s1, 1A") == ["1a", "S1"]
    with pytest.raises(InputError, match="6c"):
        chosen_figures("2,6c")


def test_errors_by_element_are_those_of_its_slabs():
    def row(formula, chemsys, part, gamma, predicted, phi=4.0, phi_predicted=4.4):
        return {"formula": formula, "chemsys": chemsys, "part": part, "surface_energy": gamma,
                "surface_energy_predicted": predicted, "work_function": phi,
                "work_function_predicted": phi_predicted}  # fmt: skip

    rows = [
        row("MgAg", "Ag-Mg", "test", 0.05, 0.06),
        row("MgAg", "Ag-Mg", "test", 0.10, 0.09, None, 4.0),
        row("MgAg", "Ag-Mg", "train", 0.07, 0.17),
        row("Mg2Si", "Mg-Si", "train", 0.09, 0.08),
    ]
    silver, silicon = element_rows(rows, ["surface_energy", "work_function"])
    assert (silver["element"], silicon["element"]) == ("Ag", "Si")
    # |0.01| / 0.05 and |-0.01| / 0.10; 0.4 / 4
    assert silver["mape_surface_energy"] == pytest.approx(15)
    assert silver["mape_work_function"] == pytest.approx(10)
    assert silver["mape"] == pytest.approx(12.5)
    assert silver["errors"]["surface_energy"] == pytest.approx([0.01, -0.01])
    assert silver["labels"]["surface_energy"] == [0.05, 0.10, 0.07]
    assert (silver["n_metal"], silver["n_semiconductor"], silver["semiconductor"]) == (3, 0, False)
    assert (silicon["mape"], silicon["n_test"], silicon["semiconductor"]) == (None, 0, True)


def test_the_host_is_no_partner():
    assert partner_elements([{"Mg", "Zn"}, {"Mg", "Ca"}]) == ["Ca", "Zn"]
    assert partner_elements([["Pt"], ["Ag"]]) == ["Pt", "Ag"]
    assert partner_elements([["Mg"]]) == ["Mg"]


def test_a_table_of_ablate_gives_learning_curves_alone(tmp_path):
    lines = ["model,split,seed,fold,train_fraction,data,target,n_train,mae"]
    for model, maes in (("sem-cgcnn", (0.3, 0.5)), ("sem-cgcnn fine-tuned", (0.2, 0.2))):
        lines += [f"{model},random,{seed},0,0.2,d,work_function,96,{mae}" for seed, mae in enumerate(maes)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    runs, rows, problems = find_trainings([tmp_path / "t.csv"])
    assert (runs, problems, len(rows)) == ([], [], 4)
    (panel,) = transfer_panels(runs, rows)
    scratch, tuned = panel["curves"]["from scratch"], panel["curves"]["fine-tuned"]
    assert (scratch[0]["n"], scratch[0]["mae"], scratch[0]["runs"]) == (96, pytest.approx(0.4), 2)
    assert (tuned[0]["mae"], tuned[0]["spread"]) == (pytest.approx(0.2), pytest.approx(0))
    assert panel["errors"] == {}
    # another split is another comparison
    others = [{**row, "split": "chemsys", "mae": 9.0} for row in rows]
    same, apart = transfer_panels(runs, [*rows, *others])
    assert same["curves"] == panel["curves"]
    assert (apart["curves"]["from scratch"][0]["mae"], "chemsys" in apart["data"]) == (9.0, True)
    # without the fine-tuned half there is nothing to compare
    assert transfer_panels([], rows[:2]) == []


def test_trainings_of_other_settings_are_not_averaged(tmp_path):
    def run(seed, mae, epochs=40, **more):
        settings = {"preset": "best", "split": "random", "seed": seed, "folds": 0, "fold": 0, "params": {},
                    "members": 1, "train_fraction": 0.2, "epochs": epochs, **more}  # fmt: skip
        test = {"n": 1, "mae": mae, "rmse": mae, "r2": 0.0}
        found = {"val": {"n": 2, "mae": mae}, "test": test, "macro_mae": mae, "coverage_90": 0.9,
                 "spearman_sigma": 0.1, "facet_order": {"kendall_tau": 0.5}}  # fmt: skip
        content = {"settings": settings, "data": "d", "metrics": {"work_function": found}, "seconds": 1.0,
                   "sizes": {"train": 96, "val": 2, "test": 1}}  # fmt: skip
        folder = tmp_path / f"{seed}-{mae}"
        folder.mkdir()
        (folder / "predictions.csv").write_text(
            "record_id,formula,chemsys,part,work_function,work_function_predicted\n"
            f"x,MgAg,Ag-Mg,test,4.0,{4 + mae}\n"
        )
        return TrainedRun(folder, content)

    start = {"model": "a", "freeze": "none", "reset_heads": False}
    scratch = [run(0, 0.3), run(1, 0.5)]
    tuned = [run(0, 0.2, transfer=start), run(1, 0.1, transfer=start)]
    others = [
        run(0, 9.0, epochs=2), run(2, 8.0, members=3), run(2, 7.0, params={"network.hidden": 8}),
        run(2, 6.0, transfer={**start, "model": "b"}), run(3, 5.0, epochs=2, transfer=start),
    ]  # fmt: skip
    (panel,) = transfer_panels([*others, *scratch, *tuned], [])
    assert panel["aside"].startswith("5 trainings")
    assert panel["curves"]["from scratch"][0]["mae"] == pytest.approx(0.4)
    assert panel["curves"]["fine-tuned"][0]["mae"] == pytest.approx(0.15)
    assert panel["errors"]["from scratch"] == pytest.approx([0.3, 0.5])
    assert panel["errors"]["fine-tuned"] == pytest.approx([0.2, 0.1])
    assert transfer_panels([*scratch, *tuned], [])[0]["aside"] == ""
    # their own table adds nothing, whatever its version
    lines = ["model,split,seed,fold,train_fraction,data,target,n_train,mae,folds,members,epochs"]
    for one in (*scratch, *tuned):
        name = "best fine-tuned" if one.tuned else "best"
        seed, mae = one.content["settings"]["seed"], one.content["metrics"]["work_function"]["test"]["mae"]
        lines.append(f"{name},random,{seed},0,0.2,d,work_function,96,{mae},0,1,40")
    for table in (lines, [line.rsplit(",", 3)[0] for line in lines]):
        (tmp_path / "t.csv").write_text("\n".join(table) + "\n")
        rows = find_trainings([tmp_path / "t.csv"])[1]
        (panel,) = transfer_panels([*scratch, *tuned], rows)
        assert (panel["aside"], panel["curves"]["from scratch"][0]["runs"]) == ("", 2)
    # a table of trainings with other epochs is not averaged with them either
    (tmp_path / "t.csv").write_text("\n".join([lines[0], *(x[:-2] + "2" for x in lines[1:3])]) + "\n")
    (panel,) = transfer_panels([*scratch, *tuned], find_trainings([tmp_path / "t.csv"])[1])
    assert panel["aside"].startswith("2 trainings")


def test_shapes_are_not_averaged_over_trainings_of_other_settings(made, mgsurf, tmp_path):
    from model.training.checked_json import read_json, write_json

    shutil.copytree(made / "without", tmp_path / "longer")
    (file,) = (tmp_path / "longer").rglob("run.json")
    content = read_json(file)
    content["settings"]["epochs"] = 9
    write_json(file, content)
    arguments = ["--only", "6a", "-q", "--store", made / "store.sqlite", "-o", "out"]
    done = mgsurf("figures", made / "without", tmp_path / "longer", *arguments)
    assert done.returncode == 1
    assert "compound:MgCa: 1 training of other settings" in done.stderr
    assert (tmp_path / "out" / "figure_6a.png").is_file()


def test_screened_compounds_are_those_of_the_latest_settings_and_model(made, mgsurf, tmp_path):
    uri = f"sqlite:///{tmp_path / 'screened.sqlite'}"
    with open_store(uri) as store:
        for number, (formula, model, settings) in enumerate(
            [("MgZn2", "v1", {"draws": 9}), ("MgAg", "v2", {"draws": 9}), ("MgCu2", "", {"draws": 9}),
             ("Mg2Ni", "v2", {"draws": 7})][::-1]
        ):  # fmt: skip
            found = ScreeningRecord(
                id=str(number), label=formula, formula=formula, model=model, work_function=4.0 + number / 10,
                potential=-2.0, cations=["Mg2+", "Ag+"], **{**COMMON, "settings": settings},
            )  # fmt: skip
            if formula == "MgZn2":
                found = found.model_copy(update={"screened_at": found.screened_at.replace(year=2020)})
            keep_screenings(store, [found])
        assert [r.formula for r in latest_screenings(store)] == ["MgAg", "MgCu2"]
    done = mgsurf(
        "figures", "--only", "6b", "-q", "--style", "paper", "--store", tmp_path / "screened.sqlite"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mgsurf_figures" / "figure_6b.pdf").read_bytes().startswith(b"%PDF")
    rows = table(tmp_path / "mgsurf_figures" / "figure_6b.csv")
    assert [r["formula"] for r in rows] == ["MgAg", "MgCu2"]
    assert math.isclose(float(rows[0]["potential"]), -2)
