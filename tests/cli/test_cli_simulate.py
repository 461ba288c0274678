from __future__ import annotations

import csv
import json

import pytest

from model.selection import simulation
from stores.connections import open_store
from tests.cli.test_cli_learning import add, command
from tests.model.small_dataset import PARTNERS

ASKED = ["simulate", "--strategy", "random", "--strategy", "diverse", "--seeds", "2", "--start", "8",
         "--batch", "6", "--preset", "surface", "--epochs", "1"]  # fmt: skip

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    path = tmp_path_factory.mktemp("labelled") / "labels.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        add(store, PARTNERS[:5])
    return path


@pytest.fixture
def mgsurf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("model.selection.simulation.LEAST_STEPS", 2)
    return command


def test_curves_are_printed_written_and_drawn_and_nothing_is_done_twice(labelled, mgsurf, tmp_path):
    done = mgsurf(*ASKED, "--store", labelled, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "held out" in done.stdout
    assert "random's error with" in done.stdout
    answer = json.loads((tmp_path / "out" / "simulation.json").read_text())
    random = next(s for s in answer["savings"] if (s["strategy"], s["error"]) == ("random", "score"))
    assert 0 < random["ratio"] <= 1  # below one where noise lets an earlier round stay below the mark
    assert len(random["ratios"]) == 2
    with (tmp_path / "out" / "simulation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["strategy"] for row in rows} == {"random", "diverse"}
    assert {"slabs", "share", "work_function_mae", "surface_energy_mae", "score"} <= set(rows[0])
    assert (tmp_path / "out" / "simulation.png").stat().st_size > 10_000
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("round-*.json")}
    again = mgsurf(*ASKED, "--store", labelled, "-o", "out", "--json")
    assert json.loads(again.stdout) == answer
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_an_interrupted_simulation_resumes_to_the_same_numbers(labelled, mgsurf, tmp_path, monkeypatch):
    arguments = ["simulate", "--strategy", "random", "--seeds", "1", "--start", "8", "--batch", "6",
                 "--preset", "surface", "--epochs", "1", "--store", labelled]  # fmt: skip
    first = tmp_path / "stopped" / "random" / "seed-0" / "round-0.json"

    def stop(*arguments):
        if first.exists():
            raise KeyboardInterrupt
        return train(*arguments)

    train = simulation.train_on_revealed
    with monkeypatch.context() as patch:
        patch.setattr(simulation, "train_on_revealed", stop)
        assert mgsurf(*arguments, "-o", "stopped").returncode == 130
    written = first.stat().st_mtime_ns
    done = mgsurf(*arguments, "-o", "stopped", "--json")
    whole = mgsurf(*arguments, "-o", "whole", "--json")
    assert done.returncode == whole.returncode == 0, done.stderr
    assert json.loads(done.stdout)["curves"] == json.loads(whole.stdout)["curves"]
    assert first.stat().st_mtime_ns == written


def test_mistakes_are_one_line(refused_here, labelled, tmp_path):
    assert "'luck' is unknown" in refused_here("simulate", "--strategy", "luck", "--store", labelled)
    assert "no preset 'x'" in refused_here("simulate", "--preset", "x", "--store", labelled)
    assert "--until 2" in refused_here("simulate", "--until", "2", "--store", labelled)
    assert "--start 900" in refused_here("simulate", "--start", "900", "--store", labelled)
    assert "no store" in refused_here("simulate", "--store", "absent.sqlite")
    (tmp_path / "file").write_text("")
    assert "is a file" in refused_here("simulate", "--store", labelled, "-o", "file")
