from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from pymatgen.io.vasp import Poscar

from stores.connections import open_store
from stores.labelled import LabelRecord, add_labels, source_fingerprint
from tests.cli.in_process import command
from tests.model.small_dataset import PARTNERS, crystal, labels_of, slabs, small_dataset

pytest.importorskip("torch")

TARGETS = ("surface_energy", "work_function")

pytestmark = pytest.mark.usefixtures("own_cache")


def add(store, partners, source="tests", targets=TARGETS, shift=0.0):
    """Add ten labelled slabs of each partner; equal ones stay as they are."""
    records = []
    graphs = {entry.record_id: entry.graph for entry in small_dataset()}
    for partner in partners:
        for mg_rich in (False, True):
            formula = f"Mg3{partner}" if mg_rich else f"Mg{partner}"
            for number, structure in enumerate(slabs(partner, mg_rich)):
                values = labels_of(graphs[f"{formula}-{number}"])
                composition = {str(e): int(n) for e, n in structure.composition.items()}
                records.append(
                    LabelRecord(
                        id=f"{source}-{formula}-{number}",
                        source=source,
                        source_id=f"{formula}-{number}",
                        method_fingerprint=source_fingerprint(source),
                        formula=formula,
                        chemsys="-".join(sorted(composition)),
                        composition=composition,
                        n_atoms=len(structure),
                        compound=formula,
                        slab=structure,
                        geometry="as_cut",
                        targets={name: values[name] + shift for name in targets},
                    )
                )
    add_labels(store, records)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Path of a store with forty labelled slabs of four chemical systems. Read only."""
    path = tmp_path_factory.mktemp("labelled") / "labels.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        add(store, PARTNERS[:4])
    return path


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """A tiny network."""
    path = tmp_path_factory.mktemp("params") / "best.json"
    tiny = {"network.embedding": 8, "network.hidden": 8, "network.convolutions": 1}
    path.write_text(json.dumps({"params": tiny}))
    return path


@pytest.fixture
def mgsurf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return command


@pytest.fixture(scope="module")
def trained(labelled, params, tmp_path_factory):
    """Folder of a trained model, and what it printed."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    done = command(
        "train", "--preset", "sem-cgcnn", "--epochs", 2, "--json", "--store", labelled, "--params", params,
        "--members", 2, "-o", folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_training_tells_errors_of_every_target_and_part(trained):
    folder, answer = trained
    for target in TARGETS:
        for part in ("train", "val", "test"):
            assert {"mae", "rmse", "r2"} <= set(answer["targets"][target][part])
            assert answer["targets"][target][part]["mae"] > 0
    assert answer["sizes"] == {"train": 24, "val": 8, "test": 8}
    assert answer["epochs"] == [2, 2]
    for name in ("report.html", "parity.png", "predictions.csv", "split.csv", "run.json"):
        assert (folder / name).stat().st_size > 0


def test_the_same_command_again_trains_nothing(trained, labelled, params, mgsurf):
    folder, answer = trained
    again = mgsurf(
        "train", "--preset", "sem-cgcnn", "--epochs", 2, "--store", labelled, "--params", params,
        "--members", 2, "-o", folder,
    )  # fmt: skip
    assert again.returncode == 0
    assert "trained before" in again.stderr
    assert "work function (eV)" in again.stdout
    refused = mgsurf("train", "--epochs", 3, "--store", labelled, "-o", folder)
    assert refused.returncode == 2
    assert "--overwrite" in refused.stderr
    assert answer["seconds"] == json.loads((folder / "run.json").read_text())["seconds"]


def test_slabs_of_a_folder_are_predicted_as_csv(trained, mgsurf, tmp_path):
    folder = tmp_path / "slabs"
    folder.mkdir()
    for number, structure in enumerate(slabs("Ag", False)[:3]):
        Poscar(structure, sort_structure=True).write_file(folder / f"{number}.vasp")
    done = mgsurf("predict", folder, "--model", trained[0], "--csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    # the crystal of a file is not known: the formula is the slab's
    assert [row["formula"] for row in rows] == ["Mg3Ag4", "Mg4Ag3", "MgAg"]
    for row in rows:
        assert (
            float(row["work_function_low"]) < float(row["work_function"]) < float(row["work_function_high"])
        )
        assert float(row["surface_energy_sigma"]) > 0

    (folder / "9.vasp").write_text("nothing of use\n")
    some = mgsurf("predict", folder, "--model", trained[0], "--csv")
    assert some.returncode == 1
    assert len(some.stdout.splitlines()) == 4
    assert "9.vasp" in some.stderr


def test_a_crystal_is_cut_first(trained, mgsurf, tmp_path):
    crystal("Pd", False).to(filename=str(tmp_path / "MgPd.cif"))
    done = mgsurf("predict", "--bulk", "MgPd.cif", "--max-index", 1, "--model", trained[0], "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 5  # B2 up to (111)
    assert {one["plane"] for one in found} == {"(100)", "(110)", "(111)"}
    for one in found:
        assert "Pd not in the training set" in one["warnings"]
        assert not one["lattice_is_guess"]
        assert one["work_function"]["low"] < one["work_function"]["value"]


def test_a_prototypes_lattice_is_called_a_guess(trained, mgsurf):
    done = mgsurf("predict", "--formula", "MgAg", "--prototype", "B2", "--model", trained[0])
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "estimated lattice" in shown
    assert "±" in shown
    assert re.search(r"calibrated on \d+ validation slabs", shown)


def test_a_store_is_predicted(trained, labelled, filled, mgsurf, monkeypatch):
    done = mgsurf("predict", filled, "--model", trained[0], "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 8
    monkeypatch.setenv("MGSURF_MODEL", str(trained[0]))
    imported = mgsurf("predict", f"sqlite:///{labelled}", "--json")
    found = {one["name"]: one for one in json.loads(imported.stdout)}
    assert len(found) == 40
    # the very numbers whose errors and intervals the training reports
    for row in csv.DictReader((trained[0] / "predictions.csv").open()):
        for target in TARGETS:
            one = found[row["record_id"]][target]
            assert one["value"] == pytest.approx(float(row[f"{target}_predicted"]), rel=1e-5)
            assert one["sigma"] == pytest.approx(float(row[f"{target}_sigma"]), rel=1e-4)


def test_the_ablation_writes_a_table_beside_the_papers_and_resumes(labelled, mgsurf, tmp_path):
    arguments = ["ablate", "--preset", "stl-surface-energy", "--preset", "sem-cgcnn", "--epochs", 1,
                 "--store", labelled, "-o", "out"]  # fmt: skip
    first = mgsurf(*arguments, "--seeds", 1)
    assert first.returncode == 0, first.stderr
    table = (tmp_path / "out" / "ablation.md").read_text()
    assert "[0.0053]" in table
    assert "[0.118]" in table
    assert "| sem-cgcnn " in table
    assert "[0.0053]" in first.stdout and "sem-cgcnn" in first.stdout
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("run.json")}
    more = mgsurf(*arguments, "--seeds", 2, "--json")
    assert [row["runs"] for row in json.loads(more.stdout)["rows"]] == [2, 2]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "±" in (tmp_path / "out" / "ablation.md").read_text()
    with (tmp_path / "out" / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["seed"], row["target"]) for row in rows] == [
        ("stl-surface-energy", "0", "surface_energy"),
        ("sem-cgcnn", "0", "surface_energy"),
        ("sem-cgcnn", "0", "work_function"),
        ("stl-surface-energy", "1", "surface_energy"),
        ("sem-cgcnn", "1", "surface_energy"),
        ("sem-cgcnn", "1", "work_function"),
    ]
    mean = json.loads(more.stdout)["rows"][0]["targets"]["surface_energy"]["mae"]["mean"]
    assert (float(rows[0]["mae"]) + float(rows[3]["mae"])) / 2 == pytest.approx(mean)


def test_advice_compares_alone_with_together_and_resumes(labelled, mgsurf, tmp_path):
    arguments = ["ablate", "--advise", "--epochs", 1, "--strategy", "equal", "--store", labelled, "-o", "out"]
    first = mgsurf(*arguments, "--seeds", 1)
    assert first.returncode == 0, first.stderr
    assert "3 trainings" in first.stderr and "undecided, 1 of at least 3 pairs" in first.stdout
    done = mgsurf(*arguments, "--seeds", 2, "--strategy", "pcgrad", "--json")
    assert "8 trainings (3 finished)" in done.stderr
    found = json.loads(done.stdout)
    assert [(o["target"], o["strategy"], o["pairs"]) for o in found["options"]] == [
        (target, strategy, 2) for target in TARGETS for strategy in ("alone", "equal", "pcgrad")
    ]
    assert {v["target"]: v["verdict"] for v in found["verdicts"]} == dict.fromkeys(TARGETS, "undecided")
    assert [(a["strategy"], len(a["degrees"])) for a in found["angles"]] == [("equal", 2), ("pcgrad", 2)]
    folder = tmp_path / "out"
    assert {"advice.json", "advice.md", "advice.csv", "advice.png"} <= {
        path.name for path in folder.iterdir()
    }
    with (folder / "advice.csv").open() as file:
        rows = list(csv.DictReader(file))
    alone = [float(row["test"]) for row in rows if row["strategy"] == "alone" and row["target"] == TARGETS[0]]
    assert found["options"][0]["test"]["mean"] == pytest.approx(sum(alone) / 2)
    assert len(rows) == 2 * 6 and {row["targets"] for row in rows} == {*TARGETS, " ".join(TARGETS)}


def test_advice_refuses_what_it_cannot_compare(labelled, refused_here):
    advise = ["ablate", "--advise", "--store", labelled, "-o", "out"]
    assert "two or more with --targets" in refused_here(*advise, "--targets", "work_function")
    assert "pcgrad" in refused_here(*advise, "--strategy", "pcgard")
    assert "--members" in refused_here(*advise, "--members", 2)
    assert "--train-fraction" in refused_here(*advise, "--train-fraction", 0.5, "--train-fraction", 1)
    assert "--advise" in refused_here("ablate", "--strategy", "equal", "--store", labelled)


def test_a_left_out_compound_is_compared_with_dft(labelled, mgsurf, tmp_path):
    arguments = [
        "ablate", "--preset", "stl-surface-energy", "--preset", "stl-work-function", "--epochs", 1,
        "--seeds", 2, "--split", "compound:MgAg", "--wulff", "--store", labelled, "-o", "out", "-q",
    ]  # fmt: skip
    done = mgsurf(*arguments)
    folder = tmp_path / "out" / "wulff"
    with (folder / "facets.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["formula"], row["model"]) for row in rows} == {("MgAg", "stl-surface-energy")}
    assert [row["facet"] for row in rows] == ["(100)", "(110)", "(111)"]
    assert {path.name for path in folder.iterdir()} == {
        "facets.csv", "comparison.json", "MgAg_221_stl-surface-energy.png", "MgAg_221_stl-surface-energy.svg"
    }  # fmt: skip
    (found,) = json.loads((folder / "comparison.json").read_text())
    assert len(found["slabs"]) == 5 and found["spacegroup_symbol"] == "Pm-3m"
    # the average of both seeds
    each = []
    for seed in (0, 1):
        path = (
            tmp_path
            / "out"
            / "compound-MgAg"
            / "stl-surface-energy"
            / f"seed-{seed}-epochs-1"
            / "predictions.csv"
        )
        with path.open() as file:
            each.append({r["record_id"]: float(r["surface_energy_predicted"]) for r in csv.DictReader(file)})
    for slab in found["slabs"]:
        mean = sum(one[f"tests-{slab['slab']}"] for one in each) / 2
        assert slab["surface_energy_predicted"] == pytest.approx(mean)
    assert "MgAg Pm-3m" in done.stdout and "mean absolute error over 5 slabs" in done.stdout
    # a model of the work function alone gives no shape, which one line reports
    assert done.returncode == 1 and done.stderr.count("predicts no surface energy") == 1
    assert json.loads(mgsurf(*arguments, "--json").stdout)["wulff"] == [found]


@pytest.mark.parametrize(
    "more", [["--split", "random"], ["--split", "element"], ["--split", "compound:MgAg", "--folds", 3]]
)
def test_only_what_was_left_out_is_compared(labelled, mgsurf, tmp_path, more):
    done = mgsurf("ablate", "--wulff", "--store", labelled, "-o", "out", *more)
    assert done.returncode == 2 and "--split compound:MgCo2" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_a_pretrained_model_has_seen_is_not_compared(trained, labelled, mgsurf, tmp_path):
    folder, _ = trained
    with (folder / "predictions.csv").open() as file:
        seen = next(row["formula"] for row in csv.DictReader(file) if row["part"] == "train")
    arguments = ["ablate", "--from", folder, "--epochs", 1, "--seeds", 1, "--split", f"compound:{seen}",
                 "--wulff", "--store", labelled, "-o", "out", "-q"]  # fmt: skip
    done = mgsurf(*arguments, "--json")
    assert [one["model"] for one in json.loads(done.stdout)["wulff"]] == ["sem-cgcnn"]  # from scratch only
    assert done.returncode == 1 and f"{seen}: sem-cgcnn fine-tuned was trained on slabs of it" in done.stderr
    moved = tmp_path / "elsewhere" / "model"
    shutil.copytree(folder / "model", moved)
    arguments[2], arguments[-2] = moved, "other"
    refused = mgsurf(*arguments)
    assert refused.returncode == 2 and "predictions.csv" in refused.stderr
    assert not (tmp_path / "other").exists()


def test_the_search_is_written_and_its_settings_can_be_trained(labelled, mgsurf, tmp_path):
    pytest.importorskip("optuna")
    arguments = ["tune", "--preset", "surface", "--epochs", 1, "--store", labelled, "-o", "search"]
    done = mgsurf(*arguments, "--trials", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"] == 2
    assert len((tmp_path / "search" / "trials.csv").read_text().splitlines()) == 3
    other = mgsurf("tune", "--preset", "mtl", "--trials", 1, "--store", labelled, "-o", "search")
    assert other.returncode == 2
    assert "another folder" in other.stderr
    run = mgsurf("train", "--preset", "surface", "--epochs", 1, "--store", labelled,
                 "--params", "search/best.json", "--json")  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "mgsurf_model" / "model" / "manifest.json").is_file()


def test_ctrl_c_leaves_a_training_that_resumes(labelled, params, environment, tmp_path, mgsurf):
    arguments = ["train", "--epochs", "400", "--quiet", "--store", labelled, "--params", params, "-o", "run"]
    state = tmp_path / "run" / "training" / "member-0" / "history.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "workflows.cli.app", *map(str, arguments)], cwd=tmp_path, env=environment,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip().splitlines() == [
        "mgsurf: interrupted; what is finished is kept, the same command resumes there"
    ]
    known = len(state.read_text().splitlines())
    assert 0 < known < 400
    # fewer epochs are another training, which must not silently take the place of this one
    refused = mgsurf("train", "--epochs", 2, "--store", labelled, "--params", params, "-o", "run")
    assert refused.returncode == 2
    assert "other settings" in refused.stderr


def test_unknown_names_are_one_line(refused_here, labelled):
    assert "no preset 'sem'" in refused_here("train", "--preset", "sem", "--store", labelled)
    assert "--split by_luck: unknown" in refused_here("train", "--split", "by_luck", "--store", labelled)
    assert "at most 64" in refused_here("train", "--processes", 65, "--store", labelled)
    assert "--processes" in refused_here("train", "--processes", 0, "--store", labelled)
    assert "holds no labels" not in refused_here("ablate", "--preset", "nothing", "--store", labelled)


def test_stores_that_cannot_be_learned_from_are_one_line(refused_here, tmp_path, labelled):
    assert "no store" in refused_here("train", "--store", "absent.sqlite")
    with open_store(f"sqlite:///{tmp_path}/empty.sqlite"):
        pass
    assert "no labelled slabs" in refused_here("train", "--store", "empty.sqlite")
    with open_store(f"sqlite:///{tmp_path}/energies.sqlite") as store:
        add(store, PARTNERS[:1], targets=("surface_energy",))
    assert "work_function" in refused_here("train", "--store", "energies.sqlite")
    line = refused_here("train", "--preset", "stl-surface-energy", "--store", "energies.sqlite")
    assert "too few" in line
    with open_store(f"sqlite:///{tmp_path}/two.sqlite") as store:
        add(store, PARTNERS[:1])
        add(store, PARTNERS[:1], source="others")
    assert "--method" in refused_here("train", "--store", "two.sqlite")
    assert "is not there" in refused_here("train", "--store", labelled, "--method", "vasp")


def test_bad_files_are_one_line(refused_here, tmp_path, labelled, trained):
    (tmp_path / "file").write_text("")
    assert "is a file" in refused_here("train", "--store", labelled, "-o", "file")
    (tmp_path / "odd.json").write_text("[]")
    assert "holds no settings" in refused_here("train", "--params", "odd.json", "--store", labelled)
    assert "cannot be read" in refused_here("train", "--params", "absent.json", "--store", labelled)
    Poscar(slabs("Ag", False)[0]).write_file(tmp_path / "slab.vasp")
    assert "holds no trained model" in refused_here("predict", "slab.vasp", "--model", "absent")

    broken = tmp_path / "broken"
    shutil.copytree(trained[0], broken)
    whole = (broken / "model" / "member-0.pt").read_bytes()
    (broken / "model" / "member-0.pt").write_bytes(whole[:1000])
    assert "member-0.pt: is damaged" in refused_here("predict", "slab.vasp", "--model", broken)
    (tmp_path / "bad.vasp").write_text("nothing\n")
    assert "bad.vasp" in refused_here("predict", "bad.vasp", "--model", trained[0])
    assert "empty" in refused_here("predict", "", "--model", trained[0])
    for more in ((), ("--output", "shards")):
        assert "check the path" in refused_here("predict", "M" * 300, "--model", trained[0], *more)
    for option, value in (("--balance", "Fe"), ("--composition-unit", "wt%")):
        assert option in refused_here("predict", "slab.vasp", "--model", trained[0], option, value)
    Poscar(crystal("Ag", False)).write_file(tmp_path / "bulk.vasp")
    assert "No vacuum" in refused_here("predict", "bulk.vasp", "--model", trained[0])
    Poscar(Poscar.from_file("slab.vasp").structure * (1, 1, 2)).write_file(tmp_path / "two.vasp")
    assert "2 slabs in one cell" in refused_here("predict", "two.vasp", "--model", trained[0])
    message = refused_here("predict", "--bulk", "slab.vasp", "--model", trained[0])
    assert "slab.vasp is not a bulk crystal" in message and "A along c" in message
    assert "does not exist" in refused_here("predict", "absent.vasp", "--model", trained[0])


def test_what_is_to_be_predicted_must_be_said_once(refused_here):
    assert "choose what to predict" in refused_here("predict")
    assert "not both" in refused_here("predict", "slab.vasp", "--bulk", "crystal.cif")
    assert "exclude each other" in refused_here("predict", "slab.vasp", "--json", "--csv")


def test_without_torch_one_line_says_how_to_get_it(environment, tmp_path):
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from workflows.cli.app import app\n"
        "from workflows.cli.app import ending\n"
        "for command in (['train'], ['predict', 'slab.vasp'], ['ablate'], ['tune']):\n"
        "    try: app(command, standalone_mode=False)\n"
        "    except Exception as error: print(*ending(error).lines, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all("whl/cpu" in line and "-e '.[model]'" in line for line in lines)
