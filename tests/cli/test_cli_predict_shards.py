"""mgsurf predict --shard I/N: Parquet files of shards under one manifest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.evaluation import prediction
from model.evaluation.prediction import predict_in_chunks
from stores.connections import open_store
from stores.errors import InputError
from stores.labelled import add_labels
from tests.model.crystals import slabs_of
from tests.model.test_dataset import label
from workflows.cli import predict_shards
from workflows.cli.app import app
from workflows.flows.learning import prediction_shards

MODEL = Path(__file__).parents[1] / "model" / "data" / "old_run"


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MGSURF_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MGSURF_MODEL", raising=False)
        yield


@pytest.fixture
def slabs(tmp_path, monkeypatch):
    """Store of imported slabs, and a folder and a file of the same."""
    monkeypatch.chdir(tmp_path)
    cuts = [(f, cut.structure) for f in ("MgAg", "MgZn2") for cut in slabs_of(f)]
    with open_store("s.sqlite") as store:
        add_labels(store, [label(s, f"{i}", surface_energy=0.1) for i, (_, s) in enumerate(cuts)])
    (tmp_path / "slabs").mkdir()
    for i, (_, structure) in enumerate(cuts):
        structure.to(str(tmp_path / "slabs" / f"{i:02}.vasp"), fmt="poscar")
    return len(cuts)


def predict(*arguments, capsys=None):
    command = ["predict", *map(str, arguments), "--model", str(MODEL), "--workers", "1", "-q"]
    status = app(command, standalone_mode=False)
    return status, None if capsys is None else capsys.readouterr().out


def rows_in(folder):
    return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("source", ["s.sqlite", "slabs"])
def test_shards_together_hold_what_one_call_predicts(slabs, tmp_path, capsys, source):
    expected = {one["name"]: one for one in json.loads(predict(source, "--json", capsys=capsys)[1])}
    for number, left in ((2, [1, 3]), (3, [1]), (1, [])):
        status, text = predict(source, "--shard", f"{number}/3", "-o", "out", "--json", capsys=capsys)
        assert status == 0 and json.loads(text)["missing"] == left
    found = rows_in(tmp_path / "out")
    assert len(found) == len(expected) == slabs
    for row in found:
        one = expected[row["name"]]
        assert row["surface_energy"] == pytest.approx(one["surface_energy"]["value"], rel=1e-5)
        assert row["work_function_sigma"] == pytest.approx(one["work_function"]["sigma"], rel=1e-5)
        assert (row["formula"], row["n_atoms"], row["problem"]) == (one["formula"], one["n_atoms"], None)


def test_a_complete_shard_is_not_predicted_again(slabs, tmp_path, monkeypatch):
    predict("s.sqlite", "-o", "out")
    (path,) = (tmp_path / "out").glob("*.parquet")
    before = path.stat().st_mtime_ns
    predict("s.sqlite", "--shard", "1/1", "-o", "out")
    assert path.stat().st_mtime_ns == before
    predict("s.sqlite", "-o", "out", "--overwrite")
    assert path.stat().st_mtime_ns > before
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"is damaged .*--overwrite"):
        predict("s.sqlite", "-o", "out")


def test_an_interrupted_shard_leaves_no_file(slabs, tmp_path, monkeypatch):
    def broken(*_):
        yield {"name": "a"}
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict_shards, "_problem_rows", broken)
        assert predict("s.sqlite", "-o", "out")[0] == 130
    assert list((tmp_path / "out").glob("*.parquet*")) == []
    assert predict("s.sqlite", "-o", "out")[0] == 0 and len(rows_in(tmp_path / "out")) == slabs


KILLED = """
import os, signal, sys
from model.evaluation import prediction
from workflows.cli.app import app
from workflows.flows.learning import prediction_shards

prediction_shards.PART_INPUTS = 7
whole = prediction.predict_in_chunks
calls = []

def third_is_killed(*arguments, **more):
    for lot in whole(*arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield lot

prediction.predict_in_chunks = third_is_killed
app(["predict", *sys.argv[1:], "--workers", "1", "-q"], standalone_mode=False)
"""


def test_a_killed_shard_resumes_after_its_finished_parts(slabs, tmp_path, monkeypatch):
    source = "s.sqlite"
    monkeypatch.setattr(prediction_shards, "PART_INPUTS", 7)
    predict(source, "-o", "whole")
    command = [sys.executable, "-c", KILLED, source, "--model", str(MODEL), "-o", "out"]
    root = Path(__file__).parents[2]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert rows_in(tmp_path / "out") == []
    requested = []

    def counted(ensemble, candidates, **more):
        listed = list(candidates)
        requested.extend(listed)
        return predict_in_chunks(ensemble, listed, **more)

    monkeypatch.setattr(prediction, "predict_in_chunks", counted)
    parts = sorted((tmp_path / "out").glob(".predictions-*/*.parquet"))
    assert len(parts) == 2
    parts[1].write_bytes(parts[1].read_bytes()[:100])  # what is damaged is made again
    assert predict(source, "-o", "out")[0] == 0
    assert len(requested) == slabs - 7
    assert rows_in(tmp_path / "out") == rows_in(tmp_path / "whole")
    assert not list((tmp_path / "out").glob(".predictions-*.parts-*"))


def test_overwrite_makes_the_parts_of_an_interrupted_shard_again(slabs, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_shards, "PART_INPUTS", 7)
    requested = []

    def third_is_interrupted(ensemble, candidates, **more):
        requested.append(list(candidates))
        if len(requested) == 3:
            raise KeyboardInterrupt
        return predict_in_chunks(ensemble, requested[-1], **more)

    monkeypatch.setattr(prediction, "predict_in_chunks", third_is_interrupted)
    assert predict("slabs", "-o", "out")[0] == 130
    assert len(list((tmp_path / "out").glob(".predictions-*/*.parquet"))) == 2
    requested[:] = [[]] * 3
    predict("slabs", "-o", "out", "--overwrite")
    assert sum(map(len, requested)) == len(rows_in(tmp_path / "out")) == slabs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["s.sqlite", "--shard", "1/3", "-o", "out"], "another number of shards"),
        (["slabs", "--shard", "1/2", "-o", "out"], "other inputs"),
        (["s.sqlite", "--shard", "1/2"], "--output FOLDER"),
        (["s.sqlite", "--shard", "3/2", "-o", "out"], "I from 1 to N"),
        (["s.sqlite", "--shard", "0/2", "-o", "out"], "I from 1 to N"),
        (["s.sqlite", "--csv", "-o", "out"], "without --csv"),
        (["--formula", "MgAg", "--prototype", "B2", "-o", "out"], "slab files, folders and stores"),
        (["none.vasp", "-o", "out"], "no such file"),
    ],
)
def test_what_does_not_fit_is_refused(slabs, tmp_path, arguments, words):
    (tmp_path / "out").mkdir()
    manifest = {"format": "mgsurf predictions 1", "model": "x", "shards": 2}
    if words in ("another number of shards", "other inputs"):
        predict("s.sqlite", "--shard", "1/2", "-o", "out")
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    with pytest.raises(InputError, match=words):
        predict(*arguments)
    if words == "other inputs":  # another model
        (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest | {"model": "v7"}))
        with pytest.raises(InputError, match="another model"):
            predict("s.sqlite", "--shard", "1/2", "-o", "out")
        predict("s.sqlite", "--shard", "2/2", "-o", "out", "--overwrite")
        assert [file.name for file in (tmp_path / "out").glob("*.parquet")] == ["predictions-2-of-2.parquet"]


def test_problems_are_rows_with_the_reason(slabs, tmp_path, capsys):
    (tmp_path / "slabs" / "99.vasp").write_text("no structure\n")
    status, _ = predict("slabs", "-o", "out", capsys=capsys)
    assert status == 1
    (row,) = [row for row in rows_in(tmp_path / "out") if row["problem"]]
    assert row["name"].endswith("99.vasp") and row["surface_energy"] is None
    assert len(rows_in(tmp_path / "out")) == slabs + 1


def test_structures_of_one_file_are_divided(slabs, tmp_path, capsys):
    from ase.io import write
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = [AseAtomsAdaptor.get_atoms(cut.structure) for cut in slabs_of("MgAg")]
    write(tmp_path / "many.xyz", atoms, format="extxyz")
    for number in (1, 2):
        assert predict("many.xyz", "--shard", f"{number}/2", "-o", "out", capsys=capsys)[0] == 0
    names = [row["name"] for row in rows_in(tmp_path / "out")]
    assert len(names) == len(set(names)) == len(atoms)


def test_duckdb_reads_the_files(slabs, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    for number in (1, 2):
        predict("s.sqlite", "--shard", f"{number}/2", "-o", "out")
    query = "SELECT count(*), avg(surface_energy) FROM 'out/*.parquet' WHERE problem IS NULL"
    ((n, mean),) = duckdb.sql(query).fetchall()
    assert n == slabs
    assert mean == pytest.approx(sum(r["surface_energy"] for r in rows_in(tmp_path / "out")) / n)


def test_compositions_of_a_store_are_no_slabs(slabs, tmp_path, capsys):
    (tmp_path / "alloys.csv").write_text("alloy,hardness\nMg65Cu25Y10,3\n")
    for store in ("s.sqlite", "only.sqlite"):
        app(["import", "alloys.csv", "--targets", "hardness", "--store", store], standalone_mode=False)
    capsys.readouterr()
    status, text = predict("s.sqlite", "--json", capsys=capsys)
    assert (status, len(json.loads(text))) == (0, slabs)
    status, text = predict("s.sqlite", "-o", "out", "--json", capsys=capsys)
    assert (status, json.loads(text)["rows"]) == (0, slabs)
    with pytest.raises(InputError, match="holds no slabs"):
        predict("only.sqlite")
    with pytest.raises(InputError, match="holds no slabs"):
        predict("only.sqlite", "-o", "none")
    assert not (tmp_path / "none").exists()
