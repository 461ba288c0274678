from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stderr, redirect_stdout

import pytest

pytest.importorskip("torch")

from model.evaluation.calibration import Calibration
from model.training.ensemble_files import save_ensemble
from stores.connections import open_store
from tests.cli.in_process import command
from tests.model.untrained import untrained
from workflows.cli.app import app

CAMPAIGN = """\
name: suggested
compounds:
  - {formula: Mg}
  - {formula: MgAg, prototype: B2}
  - {formula: Mg3Ag, prototype: L1_2}
engine:
  name: tests.engines.pair_engine:PairEngine
store: sqlite:///results.sqlite
work_dir: runs
"""
N_SLABS = 7 + 5 + 5

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def suggest(tmp_path, monkeypatch):
    """Run `mgsurf suggest` in an empty folder with a campaign and a model in mgsurf_model/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    save_ensemble(untrained(), tmp_path / "mgsurf_model" / "model")

    def run(*arguments, campaign="campaign.yaml"):
        return command("suggest", *([campaign] if campaign else []), *arguments)

    return run


@pytest.fixture
def refused(suggest):
    """One line that a wrong call ends with."""

    def run(*arguments, code=2, **options):
        done = suggest(*arguments, **options)
        assert done.returncode == code, done.stderr
        (line,) = done.stderr.strip().splitlines()
        return line

    return run


def surfaces(folder):
    with open_store(f"sqlite:///{folder}/results.sqlite") as store:
        return list(store.query({}, ["id", "formula", "miller_index", "termination_key"]))


def keys(slabs):
    return {(slab["formula"], tuple(slab["miller_index"]), slab["termination_key"]) for slab in slabs}


def test_a_table_says_what_to_compute_and_why(suggest):
    done = suggest("-n", 6)
    assert done.returncode == 0, done.stderr
    assert "γ" in done.stdout
    assert done.stdout.count("±") == 12
    assert "× as far from known" in " ".join(done.stdout.split())
    assert f"6 of {N_SLABS} candidates" in done.stdout
    assert "strategy diverse" in done.stdout
    assert "core-hours are an order of magnitude" in done.stdout
    assert "cut from an estimated lattice" in done.stderr


@pytest.mark.parametrize("strategy", ["random", "uncertain", "diverse", "improvement"])
def test_json_holds_everything(suggest, strategy):
    done = suggest("-n", 5, "--strategy", strategy, "--json", "--per-cost")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["strategy"] == strategy
    assert answer["candidates"] == N_SLABS
    assert answer["model"].startswith("folder-")
    assert [one["rank"] for one in answer["chosen"]] == [1, 2, 3, 4, 5]
    assert len({one["id"] for one in answer["chosen"]}) == 5
    for one in answer["chosen"]:
        assert one["work_function"]["sigma"] > 0
        assert one["core_hours"] > 0
        assert one["distance"] >= 0
        assert one["reason"]
        assert len(one["kpoints"]) == 3
    assert answer["core_hours"] == pytest.approx(sum(one["core_hours"] for one in answer["chosen"]), rel=1e-3)


def test_csv_has_a_line_for_each_slab(suggest):
    done = suggest("-n", 4, "--csv", "--strategy", "uncertain")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 4
    assert {"formula", "plane", "surface_energy_sigma", "reason", "core_hours"} <= set(rows[0])


def test_predictions_are_kept_and_torch_is_not_needed_again(suggest, monkeypatch, tmp_path):
    first = json.loads(suggest("-n", 5, "--strategy", "uncertain", "--json").stdout)
    monkeypatch.setattr("workflows.cli.suggest.require_network", lambda *_: pytest.fail("torch is loaded"))
    again = json.loads(suggest("-n", 5, "--strategy", "uncertain", "--json").stdout)
    assert again == first
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    # another model predicts again
    save_ensemble(untrained(seed=7), tmp_path / "other")
    other = json.loads(suggest("-n", 5, "--strategy", "uncertain", "--json", "--model", "other").stdout)
    assert other["model"] != first["model"]
    assert other["chosen"][0]["work_function"] != first["chosen"][0]["work_function"]


def test_the_store_alone_is_enough_once_slabs_were_cut(suggest):
    named = json.loads(suggest("-n", 5, "--json").stdout)["chosen"]
    alone = json.loads(suggest("-n", 5, "--json", "--store", "results.sqlite", campaign=None).stdout)[
        "chosen"
    ]
    assert [one["id"] for one in alone] == [one["id"] for one in named]


def test_the_champion_is_the_model_unless_another_is_named(suggest, tmp_path):
    from stores.learning.model_card import ModelFacts
    from stores.learning.registry import ModelRegistry

    files = {p.name: p.read_bytes() for p in (tmp_path / "mgsurf_model" / "model").iterdir()}
    facts = ModelFacts(label="test", targets=("surface_energy", "work_function"), elements=("Ag", "Mg"))
    with open_store(f"sqlite:///{tmp_path}/results.sqlite") as store:
        registry = ModelRegistry(store)
        card, _ = registry.add(facts, files)
        registry.promote(card.version)
    assert json.loads(suggest("-n", 2, "--json").stdout)["model"] == "v1"
    named = json.loads(suggest("-n", 2, "--json", "--model", "mgsurf_model").stdout)
    assert named["model"].startswith("folder-")
    assert "v7" in suggest("--model", "v7").stderr
    # folders that have such names do not stand in for versions
    for name in ("v1", "v7", "champion"):
        save_ensemble(untrained(seed=7), tmp_path / name)
        (tmp_path / name / "run.json").write_text('{"snapshot": "no such"}')
    assert json.loads(suggest("-n", 2, "--json").stdout)["model"] == "v1"
    assert json.loads(suggest("-n", 2, "--json", "--model", "v1").stdout)["model"] == "v1"
    assert json.loads(suggest("-n", 2, "--json", "--model", "./v1").stdout)["model"].startswith("folder-")
    line = suggest("--model", "v7").stderr.strip()
    assert "has no model v7" in line
    assert line.endswith("for the folder write ./v7")


def test_uncertainty_is_not_looked_for_where_the_model_never_learns(suggest, tmp_path):
    """MgAg trains, MgPd validates, Mg3Ca is held out; by another split all of them may train."""
    from stores.learning.model_card import ModelFacts
    from stores.learning.registry import ModelRegistry

    text = CAMPAIGN.replace("{formula: Mg}", "{formula: MgPd, prototype: B2}").replace("Mg3Ag", "Mg3Ca")
    (tmp_path / "parts.yaml").write_text(text)
    files = {p.name: p.read_bytes() for p in (tmp_path / "mgsurf_model" / "model").iterdir()}
    facts = {"label": "test", "targets": ("surface_energy", "work_function"), "elements": ("Ag", "Mg")}
    with open_store(f"sqlite:///{tmp_path}/results.sqlite") as store:
        registry = ModelRegistry(store)
        card, _ = registry.add(ModelFacts(**facts, config={"split": "holdout"}), files)
        registry.promote(card.version)

    def formulas(*arguments):
        done = suggest("-n", 99, "--json", *arguments, campaign="parts.yaml")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        left = answer["candidates"] - len(answer["chosen"])
        hopeless = f"the chance of the remaining {left} to beat the best known values is below 0.5 %"
        assert any(hopeless in note for note in answer["notes"]) is (left > 0)
        assert left == 0 or "improvement" in arguments
        assert not any(one["reason"].startswith("0 % chance") for one in answer["chosen"])
        return {one["formula"] for one in answer["chosen"]}, " ".join(answer["notes"])

    everything = {"MgAg", "MgPd", "Mg3Ca"}
    for strategy in ("uncertain", "diverse"):
        found, notes = formulas("--strategy", strategy)
        assert found == {"MgAg"}
        assert "10 candidates are left out: their compounds validate or are held out" in notes
        assert formulas("--strategy", strategy, "--any-part")[0] == everything
    for arguments in (["random"], ["improvement"], ["diverse", "--model", "mgsurf_model"]):
        found, notes = formulas("--strategy", *arguments)
        assert found == everything or (arguments == ["improvement"] and found - {"MgAg"})
        assert "held out" not in notes
    # nothing is left that could teach it
    (tmp_path / "parts.yaml").write_text(
        text.replace("{formula: MgAg, prototype: B2}", "{formula: MgCu, prototype: B2}")
    )
    assert formulas("--strategy", "diverse")[0] == set()


def test_run_computes_exactly_these_slabs_and_they_are_no_candidates_then(suggest, tmp_path):
    answer = json.loads(suggest("-n", 3, "--strategy", "uncertain", "--json").stdout)["chosen"]
    done = suggest("-n", 3, "--strategy", "uncertain", "--run", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    found = surfaces(tmp_path)
    assert keys(found) == keys(answer)
    assert not list((tmp_path / "runs").glob("*.suggested.json"))
    after = suggest("-n", 99, "--json")
    rest = json.loads(after.stdout)
    assert len(rest["chosen"]) == N_SLABS - 3
    assert not {one["id"] for one in rest["chosen"]} & {s["id"] for s in found}
    # what belongs to a relaxed bulk is cut from it now
    relaxed = {one["formula"] for one in answer}
    assert all(one["lattice_is_guess"] == (one["formula"] not in {*relaxed, "Mg"}) for one in rest["chosen"])
    assert "3 slabs of the campaign were computed before" in after.stderr
    assert f"{N_SLABS - 3} instead of 99" in after.stderr
    assert "calibrated" in rest["cost"]


def test_an_interrupted_batch_resumes(suggest, tmp_path, monkeypatch):
    answer = json.loads(suggest("-n", 2, "--strategy", "uncertain", "--json").stdout)["chosen"]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("workflows.execution.local.run_local", stop)
        done = suggest("-n", 2, "--strategy", "uncertain", "--run", "--quiet")
        assert done.returncode == 130
    # with other options, the batch comes first
    done = suggest("-n", 9, "--strategy", "random", "--run", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "resuming an interrupted batch: 2 of its slabs are left" in done.stderr
    wanted = {(one["formula"], tuple(one["miller_index"]), one["termination_key"]) for one in answer}
    assert {
        (s["formula"], tuple(s["miller_index"]), s["termination_key"]) for s in surfaces(tmp_path)
    } == wanted


def test_a_batch_is_done_though_the_reader_of_its_table_is_gone(suggest, tmp_path):
    with (tmp_path / "closed").open("w") as closed:

        class Pipe(io.StringIO):
            """Whose reader leaves when the slabs are computed."""

            def write(self, text):
                if surfaces(tmp_path):
                    raise BrokenPipeError
                return super().write(text)

            def fileno(self):  # rich replaces it
                return closed.fileno()

        with redirect_stdout(Pipe()), redirect_stderr(io.StringIO()), pytest.raises(SystemExit):
            app(["suggest", "campaign.yaml", "-n", "1", "--run", "--quiet"], standalone_mode=False)
    assert len(surfaces(tmp_path)) == 1
    assert not list((tmp_path / "runs").glob("*.suggested.json"))


def test_a_damaged_batch_is_one_line(suggest, refused, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "suggested.suggested.json").write_text("{")
    assert "--fresh chooses a new one" in refused("-n", 1, "--run")
    done = suggest("-n", 1, "--strategy", "random", "--run", "--fresh", "--quiet")
    assert done.returncode == 0, done.stderr
    assert len(surfaces(tmp_path)) == 1


def test_a_budget_is_kept(suggest):
    everything = json.loads(suggest("-n", 99, "--json").stdout)
    half = everything["core_hours"] / 2
    some = json.loads(suggest("-n", 99, "--json", "--budget", half).stdout)
    assert 0 < some["core_hours"] <= half
    none = suggest("--budget", 1e-9)
    assert none.returncode == 0
    assert "the cheapest takes" in none.stderr


def test_elements_that_the_model_never_saw_are_reported(suggest, tmp_path):
    text = CAMPAIGN.replace("{formula: MgAg, prototype: B2}", "{formula: MgPd, prototype: B2}")
    (tmp_path / "other.yaml").write_text(text)
    done = suggest("-n", 99, campaign="other.yaml")
    assert "5 of 17 hold elements that the model never saw: Pd" in done.stderr
    assert "Pd not in the training set" in " ".join(done.stdout.split())


def test_what_cannot_be_computed_is_left_out(suggest, tmp_path):
    ternary = "t\n1\n4 0 0\n0 4 0\n0 0 4\nMg Ag Cu\n1 1 1\nDirect\n0 0 0\n.5 .5 0\n.5 0 .5\n"
    (tmp_path / "ternary.vasp").write_text(ternary)
    text = CAMPAIGN.replace("{formula: MgAg, prototype: B2}", "{file: ternary.vasp}")
    (tmp_path / "other.yaml").write_text(text)
    done = suggest("-n", 99, campaign="other.yaml")
    assert done.returncode == 0
    assert "left out: other.yaml:4: compounds[2]" in done.stderr
    assert "more than two elements" in done.stderr


def test_labels_of_another_method_are_reported(suggest, tmp_path):
    """The front is made of values of the model's method alone."""
    from tests.stores.test_labels import record

    with open_store(f"sqlite:///{tmp_path}/results.sqlite") as store:
        from stores.labelled import add_labels

        add_labels(store, [record("a", surface_energy=0.03, work_function=4.0)])
    done = suggest("-n", 2, "--strategy", "improvement")
    assert done.returncode == 0, done.stderr
    assert "the model learned from imported-source" in done.stderr


def test_random_needs_no_model(suggest, tmp_path):
    (tmp_path / "mgsurf_model").rename(tmp_path / "away")
    done = suggest("-n", 3, "--strategy", "random")
    assert done.returncode == 0, done.stderr
    assert "drawn at random (seed 0)" in " ".join(done.stdout.split())
    assert "±" not in done.stdout


def test_without_a_model_one_line_says_what_to_do(refused, tmp_path):
    (tmp_path / "mgsurf_model").rename(tmp_path / "away")
    line = refused("-n", 3)
    assert "no model found" in line
    assert "mgsurf train" in line
    assert "holds no trained model" in refused("--model", "absent")
    (tmp_path / "empty").mkdir()
    assert "holds no trained model" in refused("--model", "empty")


def test_a_model_that_tells_no_differences_is_refused(refused, suggest, tmp_path):
    save_ensemble(untrained(1, calibration=Calibration(0.0, 0.0, 1e-4, 1.0, 5)), tmp_path / "flat")
    line = refused("--strategy", "uncertain", "--model", "flat")
    assert "equally uncertain" in line
    assert "--members 5" in line
    save_ensemble(untrained(1, calibration=Calibration(0.0, 0.0, 1.0, float("inf"), 0)), tmp_path / "none")
    assert "has no uncertainty" in refused("--strategy", "improvement", "--model", "none")
    assert suggest("--strategy", "random", "--model", "flat").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--strategy", "luck"), "random, uncertain, diverse, improvement"),
        (("--json", "--csv"), "exclude each other"),
        (("--run", "--submit"), "exclude each other"),
        (("--run", "--json"), "only print"),
        (("--budget", "0"), "buy nothing"),
        (("--project", "x"), "--submit"),
        (("--maximise", "work_function"), "--strategy improvement"),
        (("--strategy", "improvement", "--maximise", "colour"), "does not predict 'colour'"),
    ],
)
def test_slips_are_one_line(refused, arguments, words):
    assert words in refused(*arguments)


def test_run_needs_a_campaign(refused):
    assert "need the campaign" in refused("--run", campaign=None)


def test_a_store_without_candidates(refused, tmp_path):
    assert "There is no store" in refused("--store", "absent.sqlite", campaign=None)
    with open_store(f"sqlite:///{tmp_path}/results.sqlite"):
        pass
    assert "name a campaign" in refused("--store", "results.sqlite", campaign=None)


def test_no_candidates_left(suggest, refused, tmp_path):
    (tmp_path / "small.yaml").write_text(
        "name: small\ncompounds:\n  - {formula: Mg, facets: ['(0001)']}\n"
        "engine: {name: 'tests.engines.pair_engine:PairEngine'}\n"
        "store: sqlite:///results.sqlite\nwork_dir: runs\n"
    )
    assert suggest("--strategy", "random", "--run", "--quiet", campaign="small.yaml").returncode == 0
    line = refused(campaign="small.yaml")
    assert "no candidates left: 1 slabs of the campaign were computed before" in line
