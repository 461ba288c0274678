from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from stores.connections import open_store
from stores.labelled import LabelRecord, add_labels, source_fingerprint

HEAVY = {"torch", "pymatgen", "numpy", "matplotlib", "jobflow", "maggma"}


@pytest.fixture
def mgsurf(mgsurf_here):
    return lambda *arguments: mgsurf_here(*arguments, env={"COLUMNS": "160"})


@pytest.fixture
def store(filled, tmp_path):
    """Path of a copy of the store with eight surfaces."""
    return shutil.copy(filled, tmp_path / "mgsurf.sqlite")


@pytest.fixture
def made(store, mgsurf):
    done = mgsurf("snapshot", "create", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_snapshot_is_made_once(made, mgsurf, store):
    assert made["new"]
    assert {head["name"] for head in made["heads"]} == {"surface_energy", "work_function"}
    again = mgsurf("snapshot", "create")
    assert made["id"] in again.stdout and "the store had it already" in again.stdout
    assert "work function" in again.stdout
    listed = mgsurf("snapshot", "list").stdout
    assert listed.count(made["id"][:12]) == 1
    (only,) = json.loads(mgsurf("snapshot", "list", "--json").stdout)
    assert (only["id"], only["n_records"], only["models"]) == (made["id"], made["n_records"], [])


def test_what_changed_is_shown_with_old_and_new_values(made, mgsurf, store):
    with open_store(str(store)) as opened:
        one, two, *_ = [
            record
            for record in opened.surfaces(sort={"id": 1})
            if record.verdicts.work_function.status == "accepted"
        ]
        opened.add([one.model_copy(update={"work_function": 4.5}), two.model_copy(update={"id": "fresh"})])
        opened.remove({"id": two.id})
    table = mgsurf("snapshot", "diff", made["id"][:8]).stdout
    assert f"{one.work_function:.3f} -> 4.500" in table
    assert "1 added, 1 removed, 1 changed" in table
    difference = json.loads(mgsurf("snapshot", "diff", made["id"][:8], "now", "--json").stdout)
    assert [item["record_id"] for item in difference["added"]] == ["fresh"]
    assert [item["record_id"] for item in difference["removed"]] == [two.id]
    assert difference["changed"][0]["old"]["work_function"] == one.work_function
    assert difference["changed"][0]["new"]["work_function"] == 4.5

    later = json.loads(mgsurf("snapshot", "create", "--json").stdout)["id"]
    between = mgsurf("snapshot", "diff", made["id"], later)
    assert "1 added, 1 removed, 1 changed" in between.stdout
    assert "hold the same" in mgsurf("snapshot", "diff", later).stdout
    shown = mgsurf("snapshot", "show", made["id"][:8]).stdout
    assert "1 new record, 1 changed, 1 gone" in shown
    assert f"kept in the snapshot for training: {two.id}" in shown
    since = json.loads(mgsurf("snapshot", "show", made["id"], "--json").stdout)["since"]
    assert since["added"] == ["fresh"] and since["deleted"] == [two.id]


def test_several_methods_are_chosen_or_kept_apart(made, mgsurf, refused, store):
    with open_store(str(store)) as opened:
        record = next(opened.surfaces())
        add_labels(
            opened,
            [
                LabelRecord(
                    id="theirs",
                    source="others",
                    source_id="a",
                    method_fingerprint=source_fingerprint("others"),
                    formula=record.formula,
                    chemsys=record.chemsys,
                    composition=record.composition,
                    n_atoms=record.n_atoms,
                    compound=record.formula,
                    slab=record.slab,
                    geometry="as_cut",
                    targets={"surface_energy": 0.05},
                )
            ],
        )
    line = refused("snapshot", "create")
    assert "surface_energy come from several methods" in line and "--method" in line
    assert "1 of other methods, which do not count" in mgsurf("snapshot", "show", made["id"]).stdout
    chosen = json.loads(mgsurf("snapshot", "create", "--method", "imported-others", "--json").stdout)
    assert (chosen["n_records"], len(chosen["heads"])) == (1, 1)
    apart = mgsurf("snapshot", "create", "--separate")
    assert "surface energy (imported-others)" in apart.stdout


def test_mistakes_are_one_line(refused, mgsurf, store, tmp_path):
    assert "has no snapshots; make one with mgsurf snapshot create" in refused("snapshot", "show", "3fa9")
    assert mgsurf("snapshot", "list").stdout.startswith("no snapshots")
    assert mgsurf("models", "list").stdout.startswith("no models")
    mgsurf("snapshot", "create")
    assert "'zz' is not there" in refused("snapshot", "show", "zz")
    assert "'zz' is not there" in refused("snapshot", "diff", "zz")
    assert "no labels band_gap" in refused("snapshot", "create", "--target", "band_gap")
    assert "There is no store" in refused("snapshot", "create", "--store", "absent.sqlite")
    assert not (tmp_path / "absent.sqlite").exists()
    with open_store(f"sqlite:///{tmp_path}/empty.sqlite"):
        pass
    assert "no labelled slabs" in refused("snapshot", "create", "--store", "empty.sqlite")
    assert "has no champion" in refused("models", "show")
    assert "has no model v3" in refused("models", "promote", "v3")
    assert "has no champion" in refused("models", "rollback")


def test_looking_at_models_needs_no_torch(environment, store, tmp_path):
    script = (
        "import sys, json, workflows.cli.app as app\n"
        "for line in sys.argv[1:]:\n"
        "    try: app.main(line.split())\n"
        "    except SystemExit as end: assert end.code == 0, line\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "models list", "snapshot create", "snapshot list"],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert not HEAVY & set(json.loads(done.stderr.strip().splitlines()[-1]))
