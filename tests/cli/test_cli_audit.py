"""`mgsurf audit`: what it prints, writes, excludes and accepts again."""

from __future__ import annotations

import csv
import io
import json

import pytest

from stores.connections import open_store
from stores.labelled import add_labels
from tests.model.d03_series import cuts, series, units
from workflows.cli.app import app

PARTNERS = ("La", "Ce", "Y", "Lu")


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Path of a store where the bulk energy of Mg3La is 0.3 eV too high."""
    path = tmp_path_factory.mktemp("audit") / "s.sqlite"
    records = series(PARTNERS)
    for record in records:
        if record.formula == "Mg3La" or record.id.startswith("La"):
            record.targets["surface_energy"] -= 0.3 * units(record)
    with open_store(str(path)) as store:
        add_labels(store, records)
    return path


@pytest.fixture
def audit(labelled, capsys, monkeypatch):
    """Run `mgsurf audit` in this process; return what it printed."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments, command="audit"):
        options = [command, *map(str, arguments), "--store", str(labelled)]
        assert app(options, standalone_mode=False) == 0
        return capsys.readouterr().out

    return run


def test_table_figure_and_machine_readable_output(audit, tmp_path):
    shown = audit("--output", tmp_path / "audit.png")
    assert max(map(len, shown.split("\n28 slabs")[0].splitlines())) <= 80
    assert "Mg3La" in shown
    assert "1 faulty, 0 suspect" in shown
    assert (tmp_path / "audit.png").read_bytes()[:4] == b"\x89PNG"
    (finding,) = json.loads(audit("--json"))["findings"]
    assert (finding["formula"], finding["check"], finding["level"]) == ("Mg3La", "bulk-energy", "faulty")
    assert finding["bulk_energy_error"] == pytest.approx(0.3, abs=0.03)
    assert len(finding["records"]) == len(cuts())
    (row,) = csv.DictReader(io.StringIO(audit("--csv")))
    assert float(row["size"]) == pytest.approx(finding["size"])


def test_rejected_labels_are_kept_out_stated_and_accepted_again(audit, refused_here, labelled):
    n = len(cuts())
    assert f"{n} surface_energy" in audit("--reject")
    assert json.loads(audit("--json", command="status"))["excluded"] == {"surface_energy": n}
    assert f"{n} surface_energy" in audit("create", command="snapshot")
    listed = json.loads(audit("--excluded", "--json"))
    assert len(listed) == n
    assert all("bulk energy 0." in value["reason"] for value in listed)
    assert json.loads(audit("--json"))["findings"] == []  # nothing of Mg3La is left to look at
    assert f"{n} surface_energy" in audit("--accept", "Mg3La")
    assert "no label of Mg3La is excluded" in refused_here("audit", "--accept", "Mg3La", "--store", labelled)
    assert json.loads(audit("--json", command="status"))["excluded"] == {}


@pytest.mark.parametrize("options", [("--reject", "--excluded"), ("--accept", "all", "--reject")])
def test_options_that_would_be_ignored_are_refused(refused_here, labelled, options):
    assert "exclude each other" in refused_here("audit", *options, "--store", labelled)
